//! [`Socket`]: what a client's own thread and all others share of its connection: the descriptor, its flags and counters.
//!
//! A message is *accepted* when the kernel has taken it, and *has left* when the kernel has sent it. What was accepted
//! and has not left is bounded by [`MAX_UNSENT`], for every client.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, connect_unspec, recv, send, sendmsg};
use socket2::SockRef;

use crate::farewell::{FarewellFn, FarewellReason};
use crate::panics;
use crate::progress::MIN_PROGRESS;
use crate::waker::Wakeup;

mod drain_state;
mod waiting;

pub(crate) use drain_state::DrainState;

/// At most about this many bytes that have not left wait in the kernel for each client (`TCP_NOTSENT_LOWAT`); without
/// this bound it would hold megabytes, and wake a sender too late to see that its client reads. Set on the listener,
/// from which every client's socket inherits it.
pub(crate) const MAX_UNSENT: u32 = 32 * 1024;

/// A timeout as a socket is given it: the kernel takes zero for "no timeout".
pub(crate) fn socket_timeout(length: Duration) -> Duration {
    length.max(Duration::from_millis(1))
}

/// A client's socket: one descriptor for both directions, closed when the last holder lets go.
pub(crate) struct Socket {
    stream: TcpStream,
    /// Whether a message is being sent: set before its first byte, cleared after its last. Only the thread that sets it
    /// may send. It stays set when a message was cut short, since what follows would be taken for the rest of it.
    is_sending: AtomicBool,
    /// Whether the client's thread waits for input, or is about to.
    waiting: AtomicBool,
    /// Whether the input was ended from this side.
    input_ended: AtomicBool,
    /// Whether the output was ended by the handler, while the input goes on.
    output_ended: AtomicBool,
    is_cut: AtomicBool,
    drain: DrainState,
    own_farewell: Mutex<Option<FarewellFn>>,
    /// Present if other threads may wake the client's own thread.
    wakeup: OnceLock<Arc<Wakeup>>,
    bytes_received: AtomicU64,
    bytes_accepted: AtomicU64,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Arc<Socket> {
        Arc::new(Socket {
            stream,
            is_sending: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            input_ended: AtomicBool::new(false),
            output_ended: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            drain: DrainState::default(),
            own_farewell: Mutex::default(),
            wakeup: OnceLock::new(),
            bytes_received: AtomicU64::new(0),
            bytes_accepted: AtomicU64::new(0),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    pub(crate) fn drain_state(&self) -> &DrainState {
        &self.drain
    }

    /// Bytes received so far. A number for people: it orders nothing.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.bytes_received.load(Ordering::Relaxed)
    }

    /// Bytes accepted by the kernel so far.
    pub(crate) fn bytes_accepted(&self) -> u64 {
        self.bytes_accepted.load(Ordering::Relaxed)
    }
}

/// Receiving.
impl Socket {
    /// Appends what has arrived to `buffer`, as much as its spare capacity holds. Waits for the first byte, for the timeout
    /// that was set. Returns how many bytes were appended; 0 at the end of the input.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has come, `Interrupted` by a signal, and the socket's own.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.receive_with(buffer, RecvFlags::empty())
    }

    /// As [`receive`](Socket::receive), but never waits.
    ///
    /// # Errors
    ///
    /// As [`receive`](Socket::receive).
    pub(crate) fn try_receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.receive_with(buffer, RecvFlags::DONTWAIT)
    }

    fn receive_with(&self, buffer: &mut Vec<u8>, flags: RecvFlags) -> io::Result<usize> {
        let (count, _) = recv(&self.stream, spare_capacity(buffer), flags)?;
        self.bytes_received.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    pub(crate) fn set_receive_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// How many bytes have arrived and are not received yet.
    pub(crate) fn arrived(&self) -> usize {
        rustix::io::ioctl_fionread(&self.stream).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
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

    /// Ends the input: a thread that waits for it sees the end at once. From then on Linux answers what the peer sends
    /// after our own end with a reset, which costs the peer what it has not been sent yet. So nothing should be on its
    /// way to it: see [`report_when_all_left`](Socket::report_when_all_left).
    pub(crate) fn end_input(&self) {
        // Release: the thread that sees the end of the input sees who ended it.
        self.input_ended.store(true, Ordering::Release);
        let _ = self.stream.shutdown(Shutdown::Read);
        // A thread that pauses does not look at its input any more once the peer has ended it.
        if let Some(wakeup) = self.wakeup() {
            wakeup.interrupt();
        }
    }

    pub(crate) fn input_was_ended(&self) -> bool {
        self.input_ended.load(Ordering::Acquire)
    }

    /// Whether the peer has sent its last, and all of it was received.
    pub(crate) fn peer_has_ended(&self) -> bool {
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.is_ok_and(|(_, count)| count == 0)
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

/// Sending.
impl Socket {
    /// Whether a message may begin: not when another one is incomplete.
    pub(crate) fn begin_sending(&self) -> bool {
        // Acquire and release: the next message is sent after the one before.
        !self.is_sending.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_sending(&self) {
        self.is_sending.store(false, Ordering::Release);
    }

    /// Sends what the kernel accepts of these parts at this moment. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing, `Interrupted` by a signal, and the socket's own.
    pub(crate) fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let count = match parts {
            [part] => send(&self.stream, part, flags)?,
            parts => sendmsg(&self.stream, parts, &mut SendAncillaryBuffer::default(), flags)?,
        };
        self.bytes_accepted.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    /// As [`try_send`](Socket::try_send), but has the kernel accept what it can hold: for the rest of a message and for a
    /// farewell, behind what a client that does not read has waiting already. How many bytes were accepted.
    pub(crate) fn send_last(&self, bytes: &[u8]) -> usize {
        let accepted = self.try_send(&[IoSlice::new(bytes)]).unwrap_or(0);
        let rest = bytes.get(accepted..).unwrap_or_default();
        if rest.is_empty() {
            return accepted;
        }
        self.bound_unsent(u32::MAX);
        accepted + self.try_send(&[IoSlice::new(rest)]).unwrap_or(0)
    }

    /// From now on `poll` calls the socket writable only when all of the output has left for the peer.
    pub(crate) fn report_when_all_left(&self) {
        self.bound_unsent(1);
    }

    /// Waits until all of the output has left for the peer, and throws away what it sends meanwhile. Gives up, and
    /// returns false, when the peer takes less than [`MIN_PROGRESS`] within the timeout.
    pub(crate) fn wait_until_all_left(&self, timeout: Duration) -> bool {
        if self.has_all_left() {
            return true;
        }
        // On the heap: the compiler would make room for an array in the frame that every idle client's thread has.
        let mut scratch = vec![0; 4096];
        let mut events = PollFlags::IN | PollFlags::OUT;
        // The kernel reports a socket as writable when less than half of the bound is unsent. So bounds that fall in steps of
        // the least progress show whether the peer makes it. The first one is above what the kernel accepts.
        let step = MIN_PROGRESS as u32;
        let mut thresholds = (0..4 * MAX_UNSENT / step).rev().map(|steps| steps * step);
        thresholds.all(|unsent| {
            self.bound_unsent((2 * unsent).max(1));
            self.is_writable_by(Instant::now() + timeout, &mut events, &mut scratch)
        })
    }

    /// One step of [`wait_until_all_left`](Socket::wait_until_all_left). Also true when the peer is gone.
    fn is_writable_by(&self, deadline: Instant, events: &mut PollFlags, scratch: &mut [u8]) -> bool {
        loop {
            let Ok(ready) = self.wait(*events, Some(deadline)) else { return true };
            if ready.intersects(PollFlags::OUT | PollFlags::ERR | PollFlags::HUP) {
                return true;
            }
            if ready.contains(PollFlags::IN) && self.drop_input(scratch) == Arrived::End {
                // An end would be ready again and again.
                *events = PollFlags::OUT;
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Whether all of the output has left for the peer. Asks the kernel only if it is worth asking: what a client has
    /// been sent in all may be too little to matter.
    pub(crate) fn has_all_left(&self) -> bool {
        if self.bytes_accepted() <= MIN_PROGRESS as u64 {
            return true;
        }
        self.report_when_all_left();
        self.wait(PollFlags::OUT, Some(Instant::now())).is_ok_and(|ready| !ready.is_empty())
    }

    fn bound_unsent(&self, bytes: u32) {
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes);
    }
}

/// Ending.
impl Socket {
    /// Ends the output: the peer reads what was sent, and then the end.
    pub(crate) fn end_output(&self) {
        self.output_ended.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn output_was_ended(&self) -> bool {
        self.output_ended.load(Ordering::Relaxed)
    }

    /// What this client is to be told in place of the handler's own farewell, in whichever thread that happens.
    pub(crate) fn set_farewell(&self, farewell: FarewellFn) {
        *panics::lock_ignoring_poison(&self.own_farewell) = Some(farewell);
    }

    /// What this client is to be told for `reason`, if that was set for it.
    pub(crate) fn own_farewell(&self, reason: FarewellReason) -> Option<Cow<'static, [u8]>> {
        // Cloned, so that the farewell's own code doesn't run under the lock.
        let farewell = panics::lock_ignoring_poison(&self.own_farewell).clone();
        farewell.map(|farewell| farewell(reason))
    }

    /// Sends a farewell, after which nothing can be sent. Never waits. Returns whether the client knows that all is
    /// complete. It doesn't in the middle of a message, and if it has left no room for the farewell.
    pub(crate) fn send_farewell(&self, farewell: &[u8]) -> bool {
        self.output_was_ended() || (self.begin_sending() && self.send_last(farewell) == farewell.len())
    }

    /// Ends both directions from another thread than the client's own. Never waits.
    pub(crate) fn cut(&self, farewell: &[u8]) {
        // Release: the thread that is woken by the end sees that it was cut.
        self.is_cut.store(true, Ordering::Release);
        if self.send_farewell(farewell) {
            let _ = self.stream.shutdown(Shutdown::Both);
        } else {
            self.reset();
        }
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Makes the close reset the connection and throw away what has not left. So what was cut in the middle does not
    /// look complete, and the kernel keeps nothing for a peer that does not read.
    pub(crate) fn reset_on_close(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Resets the connection now, whoever else holds the socket, and wakes them.
    fn reset(&self) {
        self.reset_on_close();
        // Disconnecting (connect(2), AF_UNSPEC) sends the reset at once. Linux 6.1 to 6.6 refuse that while a thread waits
        // on the socket: then its end wakes that thread, which resets the connection by closing it.
        if connect_unspec(&self.stream).is_err() {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
