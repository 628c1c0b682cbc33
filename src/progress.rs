//! [`Progress`]: whether a client takes what it is sent.
//!
//! What counts is how much the client takes, and only the time spent waiting for it: a handler that computes between two
//! writes costs its client nothing.

use std::time::{Duration, Instant};

/// A client that takes less than this within the write timeout, of more that waits for it, is late. The kernel tells
/// of room in a client's socket in steps of some KiB, so a smaller amount could not be told from nothing.
pub(crate) const MIN_PROGRESS: usize = 4 * 1024;

/// A stopwatch that starts anew whenever the client has taken enough.
#[derive(Debug)]
pub(crate) struct Progress {
    timeout: Duration,
    waited: Duration,
    taken: usize,
}

impl Progress {
    pub(crate) fn new(timeout: Duration) -> Progress {
        Progress { timeout, waited: Duration::ZERO, taken: 0 }
    }

    /// Until when to wait for the client, if the wait begins at `now`.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        now + self.timeout.saturating_sub(self.waited)
    }

    pub(crate) fn note_waited(&mut self, time: Duration) {
        self.waited += time;
    }

    pub(crate) fn note_taken(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= MIN_PROGRESS {
            self.restart();
        }
    }

    /// Nothing waits for the client any more.
    pub(crate) fn restart(&mut self) {
        (self.waited, self.taken) = (Duration::ZERO, 0);
    }

    /// Whether the client has had its time. Look once more at what it takes before you give up: this thread may have
    /// been stopped for long.
    pub(crate) fn is_late(&self) -> bool {
        self.waited >= self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_client_that_takes_nothing_is_late_after_the_timeout_that_was_spent_waiting() {
        let mut progress = Progress::new(TIMEOUT);
        progress.note_waited(TIMEOUT / 2);
        assert!(!progress.is_late());
        let now = Instant::now();
        assert_eq!(progress.deadline(now), now + TIMEOUT / 2);
        progress.note_waited(TIMEOUT / 2);
        assert!(progress.is_late());
        assert_eq!(progress.deadline(now), now);
    }

    #[test]
    fn the_time_starts_anew_when_enough_was_taken_and_not_before() {
        let mut progress = Progress::new(TIMEOUT);
        progress.note_waited(TIMEOUT);
        progress.note_taken(MIN_PROGRESS - 1);
        assert!(progress.is_late());
        progress.note_taken(1);
        assert!(!progress.is_late());
        progress.note_waited(TIMEOUT);
        assert!(progress.is_late(), "what was taken before counts once");
    }
}
