//! Lines of the log that a peer can cause: at most a few of each kind in a while, then the number of those suppressed.

use std::mem;
use std::time::{Duration, Instant};

/// How many lines of a kind are written, in how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRate {
    pub(crate) lines: u32,
    pub(crate) interval: Duration,
}

/// What has been written of one kind of line.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: LogRate,
    /// When the first line of this interval was written.
    began: Option<Instant>,
    written: u32,
    suppressed: u64,
}

impl Throttle {
    pub(crate) fn new(rate: LogRate) -> Throttle {
        Throttle { rate, began: None, written: 0, suppressed: 0 }
    }

    /// Returns how many lines were suppressed before this one, or `None` if this one has to be suppressed, too. There is no
    /// timer, so the owner asks for the last count in the end: [`suppressed`](Throttle::suppressed).
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let is_over = |began| now.saturating_duration_since(began) >= self.rate.interval;
        if self.began.is_none_or(is_over) {
            self.began = Some(now);
            self.written = 0;
        }
        if self.written >= self.rate.lines {
            self.suppressed += 1;
            return None;
        }
        self.written += 1;
        Some(self.suppressed())
    }

    /// How many were suppressed since it was last told.
    pub(crate) fn suppressed(&mut self) -> u64 {
        mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_few_lines_and_the_next_interval_begins_with_its_count() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut throttle = Throttle::new(LogRate { lines: 3, interval: Duration::from_secs(1) });
        for millis in [0, 1, 999] {
            assert_eq!(throttle.admit(after(millis)), Some(0));
        }
        assert_eq!((throttle.admit(after(999)), throttle.admit(after(999))), (None, None));
        assert_eq!(throttle.admit(after(1000)), Some(2));
        assert_eq!(throttle.admit(after(1500)), Some(0));
        assert_eq!(throttle.admit(after(5000)), Some(0));
    }

    #[test]
    fn what_is_suppressed_when_a_burst_ends_can_be_asked_for_once() {
        let start = Instant::now();
        let mut throttle = Throttle::new(LogRate { lines: 1, interval: Duration::from_secs(5) });
        assert_eq!(throttle.admit(start), Some(0));
        (0..412).for_each(|_| assert_eq!(throttle.admit(start), None));
        assert_eq!((throttle.suppressed(), throttle.suppressed()), (412, 0));
    }
}
