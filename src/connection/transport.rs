//! The way of a client's bytes to and from its socket. All socket I/O of a conversation is here.
//!
//! A [`Socket`] is what a client's thread and the server both hold: the server ends it from outside. A [`Transport`]
//! is the thread's own side, with the timeouts.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The shortest timeout that a socket is given; the kernel takes zero for "no timeout".
const SHORTEST: Duration = Duration::from_millis(1);

/// A client's socket: one descriptor for both directions, closed when the last holder lets go.
pub(crate) struct Socket {
    stream: TcpStream,
    /// Whether a message is being sent: set before its first byte, taken back after its last. Whoever sets it may
    /// speak. It stays set when a message was cut short, since what follows would be taken for the rest of it.
    speaking: AtomicBool,
    cut: AtomicBool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Arc<Socket> {
        Arc::new(Socket { stream, speaking: AtomicBool::new(false), cut: AtomicBool::new(false) })
    }

    pub(super) fn begin_message(&self) -> bool {
        !self.speaking.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_message(&self) {
        self.speaking.store(false, Ordering::Release);
    }

    /// Ends the input: a thread that waits for it sees the end at once.
    pub(crate) fn end_input(&self) {
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Ends the output: the peer reads what was sent, and then the end.
    pub(crate) fn end_output(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Says last words from another thread than the client's own, and ends both directions. Never waits.
    pub(crate) fn cut(&self, words: &[u8]) {
        self.cut.store(true, Ordering::Release);
        self.say_last(words);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub(super) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Says last words, and whether it could: not in the middle of a message, and not to a client that does not
    /// read. Never waits. Nothing can be said afterwards.
    pub(crate) fn say_last(&self, words: &[u8]) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.begin_message() && send(&self.stream, words, flags).is_ok_and(|sent| sent == words.len())
    }

    /// Throws away what has arrived, a few buffers of it at the most, so that a peer that sends without end leaves a
    /// turn to others.
    pub(crate) fn drop_input(&self, scratch: &mut [u8]) -> Arrived {
        let mut total = 0;
        for _ in 0..8 {
            match recv(&self.stream, &mut *scratch, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Arrived::End,
                Ok((_, count)) => total += count,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
                Err(_) => return Arrived::End,
            }
        }
        Arrived::Bytes(total)
    }

    /// Makes the close throw away what the peer has not taken, and reset the connection. Otherwise the kernel would
    /// keep it for minutes, for a peer that does not read.
    pub(super) fn abort_on_close(&self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What [`Socket::drop_input`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// This many bytes, and more may follow.
    Bytes(usize),
    /// The peer has sent its last, or is gone.
    End,
}

/// Reads and writes with timeouts that are the socket's own (`SO_RCVTIMEO`, `SO_SNDTIMEO`): one system call each, and
/// one more only when the timeout is another one than before.
pub(super) struct Transport {
    socket: Arc<Socket>,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
}

impl Transport {
    pub(super) fn new(socket: Arc<Socket>) -> Transport {
        Transport { socket, receive_timeout: None, send_timeout: None }
    }

    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Appends what has arrived to `buffer`, as much as its spare capacity holds; waits for the first byte. 0: the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the timeout, `Interrupted` by a signal, and the socket's own.
    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|length| length.max(SHORTEST));
        if timeout != self.receive_timeout {
            self.socket.stream.set_read_timeout(timeout)?;
            self.receive_timeout = timeout;
        }
        let (count, _) = recv(&self.socket.stream, spare_capacity(buffer), RecvFlags::empty())?;
        Ok(count)
    }

    /// Sends what the system takes of `bytes` within the timeout: all of it, unless the peer does not read.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the timeout if nothing was taken, `Interrupted` by a signal, and the socket's own.
    pub(super) fn send(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        let timeout = Some(timeout.max(SHORTEST));
        if timeout != self.send_timeout {
            self.socket.stream.set_write_timeout(timeout)?;
            self.send_timeout = timeout;
        }
        (&self.socket.stream).write(bytes)
    }

    /// How many bytes have arrived and are not received yet.
    pub(super) fn arrived(&self) -> usize {
        rustix::io::ioctl_fionread(&self.socket.stream).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
    }
}
