//! [`EventFd`]: wakes a thread that waits in `poll` (eventfd(2)).
//!
//! Notifying never blocks and may happen any number of times; the waiting thread sees it once. A wait without a deadline
//! costs nothing until then, so an idle server sleeps and polls no flag.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

pub(crate) struct EventFd {
    fd: OwnedFd,
    /// Whether it is readable, or about to be. Saves most system calls of an event that is notified often.
    notified: AtomicBool,
}

impl EventFd {
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub(crate) fn new() -> io::Result<EventFd> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(EventFd { fd, notified: AtomicBool::new(false) })
    }

    pub(crate) fn notify(&self) {
        // Release: the thread that clears the event sees what was written before. Acquire: see `clear`.
        if !self.notified.swap(true, Ordering::AcqRel) {
            // Can't fail: the counter is read after each addition, so it never reaches its limit.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// Makes the event unreadable again. Call this when `poll` says that the event is readable, and look at the state
    /// that it stands for afterwards.
    pub(crate) fn clear(&self) {
        // The order matters. A `notify` between the two lines does not write, but its caller has changed the state before,
        // and the swap makes that visible to this thread.
        let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
        self.notified.swap(false, Ordering::AcqRel);
    }

    /// Waits until the event is notified, or until the deadline (`None`: without end). After an error, too early.
    pub(crate) fn wait(&self, deadline: impl Into<Option<Instant>>) {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        if let Ok(1) = wait_for(&mut fds, deadline.into()) {
            self.clear();
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `poll(2)` with a deadline in place of a length. Returns how many descriptors are ready: 0 at the deadline. A signal may
/// end the wait early, also with 0, so callers check what they wait for and wait again.
///
/// # Errors
///
/// The kernel is out of memory, or there are more descriptors than RLIMIT_NOFILE.
pub(crate) fn wait_for(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    match poll(fds, timespec_until(deadline).as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        outcome => Ok(outcome?),
    }
}

/// The time until `deadline`, in the kernel's form. `None` is for ever.
pub(crate) fn timespec_until(deadline: Option<Instant>) -> Option<Timespec> {
    let length = deadline?.saturating_duration_since(Instant::now());
    let tv_sec = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    Some(Timespec { tv_sec, tv_nsec: length.subsec_nanos().into() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(10);

    #[test]
    fn many_notifications_are_seen_once_and_none_is_lost() {
        let event = EventFd::new().unwrap();
        for _ in 0..100_000 {
            event.notify();
        }
        let start = Instant::now();
        event.wait(start + LATE);
        assert!(start.elapsed() < LATE, "a notification before the wait is seen");
        let start = Instant::now();
        event.wait(start + SOON);
        assert!(start.elapsed() >= SOON, "it is seen once");
        event.notify();
        let start = Instant::now();
        event.wait(start + LATE);
        assert!(start.elapsed() < LATE, "a cleared event can be notified again");
    }
}
