//! The way of a client's bytes to and from its socket. All socket I/O of a conversation is here.
//!
//! A [`Socket`] is what a client's thread and the server both hold: the server ends it from outside. A [`Transport`]
//! is the thread's own side, with the timeouts.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::SockRef;

use crate::bell::wait_for;
use crate::outbox::{Closed, End, Outbox, Owner};

/// A timeout as a socket is given it: the kernel takes zero for "no timeout".
pub(crate) fn socket_timeout(length: Duration) -> Duration {
    length.max(Duration::from_millis(1))
}

/// At most this many bytes that a client with an outbox does not take wait in the kernel, which would hold megabytes.
const UNSENT_AT_MOST: u32 = 32 * 1024;

/// A client's socket: one descriptor for both directions, closed when the last holder lets go.
pub(crate) struct Socket {
    stream: TcpStream,
    /// Whether a reply is being sent: set before its first byte, taken back after its last. Whoever sets it may speak.
    /// It stays set when a reply was cut short, since what follows would be taken for the rest of it.
    speaking: AtomicBool,
    /// Whether the client's thread waits for input, or is about to.
    waiting: AtomicBool,
    /// Whether the input was ended from this side.
    input_ended: AtomicBool,
    cut: AtomicBool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Arc<Socket> {
        let no = || AtomicBool::new(false);
        Arc::new(Socket { stream, speaking: no(), waiting: no(), input_ended: no(), cut: no() })
    }

    /// Whether a reply may begin: not when another is not complete.
    pub(crate) fn begin_reply(&self) -> bool {
        !self.speaking.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_reply(&self) {
        self.speaking.store(false, Ordering::Release);
    }

    /// Takes note that the client's thread is about to wait for input, or has stopped to. Sequentially consistent, as
    /// is the flag of [`Shutdown`](crate::Shutdown): a thread that does not see a drain begin is seen waiting by it.
    pub(super) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether the client's thread waits for input and for nothing else: all that others have sent to it is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_waiting() && !self.speaking.load(Ordering::Acquire)
    }

    /// Ends the input: a thread that waits for it sees the end at once. From then on Linux answers what the peer sends
    /// after our own end with a reset, which costs the peer what it has not been sent yet. So nothing should be on its
    /// way to it: see [`report_when_sent`](Socket::report_when_sent).
    pub(crate) fn end_input(&self) {
        self.input_ended.store(true, Ordering::Release);
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    pub(super) fn input_was_ended(&self) -> bool {
        self.input_ended.load(Ordering::Acquire)
    }

    /// Whether the peer has sent its last, and all of it was received.
    pub(super) fn peer_has_ended(&self) -> bool {
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.is_ok_and(|(_, count)| count == 0)
    }

    /// From now on `poll` calls the socket writable only when all of the output has left for the peer.
    pub(crate) fn report_when_sent(&self) {
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(1);
    }

    /// Waits until all of the output has left for the peer, and throws away what it sends meanwhile.
    pub(super) fn wait_until_sent(&self, deadline: Instant) {
        self.report_when_sent();
        // On the heap: the compiler would make room for an array in the frame that every idle client's thread stands
        // on.
        let mut scratch = vec![0; 4096];
        loop {
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN | PollFlags::OUT)];
            let waited = wait_for(&mut fds, Some(deadline));
            let sent = fds.iter().any(|fd| fd.revents().intersects(PollFlags::OUT | PollFlags::ERR | PollFlags::HUP));
            let gone = self.drop_input(&mut scratch) == Arrived::End;
            if sent || gone || waited.is_err() || Instant::now() >= deadline {
                return;
            }
        }
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

    /// Says last words, and whether it could: not in the middle of a reply, and not to a client that does not read.
    /// Never waits. Nothing can be said afterwards.
    pub(crate) fn say_last(&self, words: &[u8]) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.begin_reply() && send(&self.stream, words, flags).is_ok_and(|sent| sent == words.len())
    }

    /// Sends what the system takes of these parts at this moment.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing, `Interrupted` by a signal, and the socket's own.
    pub(crate) fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if let [part] = parts {
            return Ok(send(&self.stream, part, flags)?);
        }
        Ok(sendmsg(&self.stream, parts, &mut SendAncillaryBuffer::default(), flags)?)
    }

    /// From now on the system takes only a part of what it could hold for a peer that does not read.
    pub(crate) fn keep_room_for_last_words(&self) {
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(UNSENT_AT_MOST);
    }

    /// From now on the system takes what it can hold.
    pub(crate) fn make_room_for_last_words(&self) {
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(u32::MAX);
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
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
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
    /// If others send to this client too.
    owner: Option<Owner>,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
}

impl Transport {
    /// For a socket that was accepted with these timeouts: it has them from its listener.
    pub(super) fn new(socket: Arc<Socket>, receive_timeout: Option<Duration>, send_timeout: Duration) -> Transport {
        let send_timeout = Some(socket_timeout(send_timeout));
        let receive_timeout = receive_timeout.map(socket_timeout);
        Transport { socket, owner: None, receive_timeout, send_timeout }
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
        if let Some(owner) = &self.owner {
            let deadline = timeout.map(|timeout| Instant::now() + timeout);
            while !owner.wait(PollFlags::IN, deadline)?.is_empty() {
                match recv(&self.socket.stream, spare_capacity(buffer), RecvFlags::DONTWAIT) {
                    Err(rustix::io::Errno::AGAIN) => {}
                    outcome => return Ok(outcome?.0),
                }
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        let timeout = timeout.map(socket_timeout);
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
        let timeout = Some(socket_timeout(timeout));
        if timeout != self.send_timeout {
            self.socket.stream.set_write_timeout(timeout)?;
            self.send_timeout = timeout;
        }
        (&self.socket.stream).write(bytes)
    }

    /// Waits until a reply may begin: when what others have sent is complete.
    ///
    /// # Errors
    ///
    /// `TimedOut` after the timeout, `ConnectionAborted` if nothing more can be said, and why others' bytes failed.
    pub(super) fn begin_reply(&self, timeout: Duration) -> io::Result<()> {
        self.wait_for_others(timeout)?;
        if self.socket.begin_reply() { Ok(()) } else { Err(ErrorKind::ConnectionAborted.into()) }
    }

    pub(super) fn end_reply(&self) {
        self.socket.end_reply();
        if let Some(owner) = &self.owner {
            owner.release();
        }
    }

    /// Waits until what others have sent is complete, and keeps them from sending more.
    ///
    /// # Errors
    ///
    /// As [`begin_reply`](Transport::begin_reply).
    pub(super) fn wait_for_others(&self, timeout: Duration) -> io::Result<()> {
        self.owner.as_ref().map_or(Ok(()), |owner| owner.claim(Instant::now() + timeout))
    }

    /// Waits until the socket shows one of these signs, or that the client is gone: which it shows, none of them if the
    /// deadline was first.
    ///
    /// # Errors
    ///
    /// The system's, or why others' bytes failed.
    pub(super) fn wait(&self, signs: PollFlags, deadline: Instant) -> io::Result<PollFlags> {
        if let Some(owner) = &self.owner {
            return owner.wait(signs, Some(deadline));
        }
        let mut fds = [PollFd::new(&self.socket, signs)];
        wait_for(&mut fds, Some(deadline))?;
        let [shown] = fds.map(|fd| fd.revents());
        Ok(shown)
    }

    /// The way in for others.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(super) fn outbox(&mut self, limit: usize, patience: Duration) -> io::Result<Outbox> {
        let owner = match self.owner.take() {
            Some(owner) => owner,
            None => Owner::new(Arc::clone(&self.socket), limit, patience)?,
        };
        Ok(self.owner.insert(owner).outbox().clone())
    }

    /// Why others can send nothing more, if so.
    pub(super) fn end_of_outbox(&self) -> Option<End> {
        self.owner.as_ref().and_then(Owner::end)
    }

    /// Keeps others from sending.
    pub(super) fn close_outbox(&mut self) -> Closed {
        self.owner.take().map_or(Closed::default(), |owner| owner.close())
    }

    /// How many bytes have arrived and are not received yet.
    pub(super) fn arrived(&self) -> usize {
        rustix::io::ioctl_fionread(&self.socket.stream).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
    }
}
