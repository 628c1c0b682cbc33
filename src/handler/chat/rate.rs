//! Flood control: how many lines a client may have acted on, and when (a token bucket).

use std::time::{Duration, Instant};

/// How many lines a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, in a second; 0: as many as they like.
    pub per_second: u32,
    /// At once, after a silence.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { per_second: 10, burst: 20 }
    }
}

/// What one client may still send.
pub(super) struct Bucket {
    /// How long it takes to earn a line; zero: no limit.
    each: Duration,
    burst: Duration,
    /// When the bucket is, or was, full.
    full_at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Bucket {
        let each = Duration::from_secs(1).checked_div(rate.per_second).unwrap_or_default();
        Bucket { each, burst: each * rate.burst.max(1), full_at: Instant::now() }
    }

    /// Takes one line out, or tells when there will be one.
    ///
    /// # Errors
    ///
    /// Not before this time.
    pub(super) fn take(&mut self) -> Result<(), Instant> {
        if self.each.is_zero() {
            return Ok(());
        }
        let now = Instant::now();
        let full_at = self.full_at.max(now) + self.each;
        if full_at > now + self.burst {
            return Err(full_at - self.burst);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_each_line_at_its_time() {
        let mut bucket = Bucket::new(Rate { per_second: 50, burst: 5 });
        let start = Instant::now();
        for number in 0..15u32 {
            while let Err(until) = bucket.take() {
                assert!(until <= Instant::now() + Duration::from_millis(20));
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            let earliest = Duration::from_millis(20) * number.saturating_sub(5);
            assert!(start.elapsed() >= earliest, "line {number} after {:?}", start.elapsed());
        }
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::new(Rate { per_second: 0, burst: 0 });
        assert!((0..100_000).all(|_| bucket.take().is_ok()));
    }
}
