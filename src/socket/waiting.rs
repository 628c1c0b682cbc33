//! How a client's own thread waits for its socket, and how other threads end that wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::Socket;
use crate::event_fd::{EventFd, wait_for};
use crate::waker::Wakeup;

/// Waiting.
impl Socket {
    /// Waits until the socket is ready for one of `events`, or the peer is gone. Returns the events that
    /// occurred; none at the deadline or after a signal.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn wait(&self, events: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(&self.stream, events)];
        wait_for(&mut fds, deadline)?;
        let [ready] = fds.map(|fd| fd.revents());
        Ok(ready)
    }

    /// As [`wait`](Socket::wait), and until the wakeup's event is notified. Clears the event.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn wait_with(
        &self,
        wakeup: &Wakeup,
        events: PollFlags,
        deadline: Option<Instant>,
    ) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(&self.stream, events), PollFd::new(wakeup, PollFlags::IN)];
        wait_for(&mut fds, deadline)?;
        let [ready, notified] = fds.map(|fd| fd.revents());
        if !notified.is_empty() {
            wakeup.event().clear();
        }
        Ok(ready)
    }

    /// Waits until the output of one of these sockets has all left, the event is notified, or the deadline is over. Takes the
    /// sockets out whose output has left. For sockets that [report that](Socket::report_when_all_left).
    pub(crate) fn take_all_left(
        sockets: &mut Vec<Arc<Socket>>,
        event: &EventFd,
        deadline: Instant,
    ) -> Vec<Arc<Socket>> {
        let mut fds: Vec<_> = sockets.iter().map(|socket| PollFd::new(&socket.stream, PollFlags::OUT)).collect();
        fds.push(PollFd::new(event, PollFlags::IN));
        // After an error the caller looks again, until its deadline.
        let _ = wait_for(&mut fds, Some(deadline));
        let mut is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if is_ready.pop() == Some(true) {
            event.clear();
        }
        let mut is_ready = is_ready.into_iter();
        sockets.extract_if(.., |_| is_ready.next() == Some(true)).collect()
    }

    /// What the client's own thread polls beside this socket, if others may wake it.
    pub(crate) fn wakeup(&self) -> Option<&Arc<Wakeup>> {
        self.wakeup.get()
    }

    /// The same, made if there is none yet. Only the client's own thread calls this.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub(crate) fn make_wakeup(&self) -> io::Result<&Arc<Wakeup>> {
        match self.wakeup.get() {
            Some(wakeup) => Ok(wakeup),
            None => {
                let wakeup = Wakeup::new()?;
                Ok(self.wakeup.get_or_init(|| wakeup))
            }
        }
    }
}

/// What other threads need to know and to do.
impl Socket {
    /// Notes that the client's thread is about to wait for input, or no longer does. Sequentially consistent, as the
    /// flag of [`Shutdown`](crate::Shutdown) is: a thread that does not see a drain begin is seen waiting by the drain.
    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether a drain has to end the input. A thread that doesn't wait notices the drain by itself, and a guard may keep the
    /// input open.
    pub(crate) fn waits_for_drain(&self) -> bool {
        self.is_waiting() && !self.drain.keeps_reading()
    }

    /// Ends the input if a drain has to.
    pub(crate) fn end_input_for_drain(&self) {
        if self.waits_for_drain() {
            self.end_input();
        }
    }

    /// Begins a drain of this connection alone: wakes its handler if that keeps its input open, or else ends the input.
    pub(crate) fn begin_drain(&self) {
        self.wake_for_drain();
        self.end_input_for_drain();
    }

    /// Wakes a handler that keeps its input open in the drain that begins, if it can be woken.
    pub(crate) fn wake_for_drain(&self) {
        if let Some(wakeup) = self.wakeup().filter(|_| self.drain.keeps_reading()) {
            wakeup.wake();
        }
    }

    /// Whether the client's thread waits for input and for nothing else: no message to it is incomplete.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_waiting() && !self.is_sending.load(Ordering::Acquire)
    }

    /// Has the client's own thread close the connection when it waits next. For a socket with a wakeup, such as one with an
    /// outbox.
    pub(crate) fn close_for(&self, reason: String) {
        self.drain.request_close(reason);
        if let Some(wakeup) = self.wakeup() {
            wakeup.interrupt();
        }
    }
}
