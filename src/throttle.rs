//! Limits the rate of log lines that a peer can cause. The next line has the number of those that were suppressed.

use std::mem;
use std::time::{Duration, Instant};

/// The most lines of one kind in each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRate {
    pub(crate) lines: u32,
    pub(crate) interval: Duration,
}

/// Limits the rate of one kind of log line.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: LogRate,
    /// When the first line of the current interval was written.
    interval_began: Option<Instant>,
    /// How many lines were written in the current interval.
    written: u32,
    /// How many lines were suppressed since [`admit`](Throttle::admit) or [`take_suppressed`](Throttle::take_suppressed) last returned
    /// their number.
    suppressed: u64,
}

impl Throttle {
    pub(crate) fn new(rate: LogRate) -> Throttle {
        Throttle { rate, interval_began: None, written: 0, suppressed: 0 }
    }

    /// Returns how many lines were suppressed before this one, or `None` if this one must be suppressed too. There is no timer
    /// that reports the lines suppressed last, so the owner calls [`take_suppressed`](Throttle::take_suppressed) in the end.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let has_passed = |began| now.saturating_duration_since(began) >= self.rate.interval;
        if self.interval_began.is_none_or(has_passed) {
            self.interval_began = Some(now);
            self.written = 0;
        }
        if self.written >= self.rate.lines {
            self.suppressed += 1;
            return None;
        }
        self.written += 1;
        Some(self.take_suppressed())
    }

    /// Returns how many lines were suppressed, and counts from 0 again.
    pub(crate) fn take_suppressed(&mut self) -> u64 {
        mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_writes_a_few_lines_and_the_next_line_has_the_count_of_the_others() {
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
    fn suppressed_lines_are_counted_only_once() {
        let start = Instant::now();
        let mut throttle = Throttle::new(LogRate { lines: 1, interval: Duration::from_secs(5) });
        assert_eq!(throttle.admit(start), Some(0));
        (0..412).for_each(|_| assert_eq!(throttle.admit(start), None));
        assert_eq!((throttle.take_suppressed(), throttle.take_suppressed()), (412, 0));
    }
}
