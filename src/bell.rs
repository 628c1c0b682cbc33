//! A bell wakes a thread that waits in `poll`: it is an eventfd, which becomes readable when the bell is rung.
//!
//! Ringing never blocks and may happen any number of times; whoever waits hears it once. A wait without a deadline
//! costs nothing until then, which is what lets an idle server sleep instead of looking at a flag every so often.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

pub(crate) struct Bell {
    event: OwnedFd,
    /// Whether it is readable, or about to be: saves a bell that rings often most of its system calls.
    rung: AtomicBool,
}

impl Bell {
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub(crate) fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell { event, rung: AtomicBool::new(false) })
    }

    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Can't fail: the counter is read whenever it was added to.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Takes one ring back. Call it when `poll` says that the bell is readable, and then look at what it was rung for.
    pub(crate) fn hush(&self) {
        // In this order: a ring in between adds nothing to the counter, but what it was rung for is seen by who has hushed.
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Waits until the bell is rung, or the deadline is there.
    pub(crate) fn wait(&self, deadline: Instant) {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        if let Ok(1) = wait_for(&mut fds, Some(deadline)) {
            self.hush();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// `poll(2)` with a point in time instead of a length: how many descriptors are ready, 0 at the deadline. It may also
/// be 0 too early, after a signal: callers look at what they wait for, and wait again.
///
/// # Errors
///
/// The kernel is out of memory, or more descriptors than RLIMIT_NOFILE were given.
pub(crate) fn wait_for(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    match poll(fds, timespec_until(deadline).as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        outcome => Ok(outcome?),
    }
}

/// How long it is until then, as the kernel wants to know it. `None` is for ever.
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
    fn many_rings_are_heard_once_and_none_is_lost() {
        let bell = Bell::new().unwrap();
        for _ in 0..100_000 {
            bell.ring();
        }
        let start = Instant::now();
        bell.wait(start + LATE);
        assert!(start.elapsed() < LATE, "a ring before the wait is heard");
        let start = Instant::now();
        bell.wait(start + SOON);
        assert!(start.elapsed() >= SOON, "it is heard once");
        bell.ring();
        let start = Instant::now();
        bell.wait(start + LATE);
        assert!(start.elapsed() < LATE, "a hushed bell rings again");
    }
}
