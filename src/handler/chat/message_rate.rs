//! Flood control: a token bucket that limits how fast a client's lines are processed.

use std::time::{Duration, Instant};

/// How fast a client may send lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRate {
    /// Lines per second in the long run; 0 means no limit.
    pub per_second: u32,
    /// Lines at once after a pause.
    pub burst: u32,
}

impl Default for MessageRate {
    fn default() -> MessageRate {
        MessageRate { per_second: 10, burst: 20 }
    }
}

/// One client's tokens. Instead of their number, it stores the time at which the bucket will be full: each missing token
/// makes that time one refill later.
pub(super) struct TokenBucket {
    /// How long it takes to refill one token, which pays for one line. Zero means no limit.
    refill: Duration,
    /// How long it takes to refill an empty bucket.
    capacity: Duration,
    /// When the bucket will be full again, or became full.
    full_at: Instant,
}

impl TokenBucket {
    pub(super) fn new(rate: MessageRate) -> TokenBucket {
        let refill = Duration::from_secs(1).checked_div(rate.per_second).unwrap_or_default();
        TokenBucket { refill, capacity: refill * rate.burst.max(1), full_at: Instant::now() }
    }

    /// Takes one token at the time `now`.
    ///
    /// # Errors
    ///
    /// There is no token. The error is the time at which there will be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if self.refill.is_zero() {
            return Ok(());
        }
        let full_at = self.full_at.max(now) + self.refill;
        if full_at > now + self.capacity {
            return Err(full_at - self.capacity);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_lines_pass_at_the_rate() {
        let mut bucket = TokenBucket::new(MessageRate { per_second: 50, burst: 5 });
        let start = Instant::now();
        let mut now = start;
        for number in 0..15u32 {
            while let Err(until) = bucket.take(now) {
                assert!(until <= now + Duration::from_millis(20));
                now = until;
            }
            let earliest = Duration::from_millis(20) * number.saturating_sub(5);
            assert!(now - start >= earliest, "line {number} after {:?}", now - start);
        }
    }

    #[test]
    fn rate_zero_means_no_limit() {
        let mut bucket = TokenBucket::new(MessageRate { per_second: 0, burst: 0 });
        assert!((0..100_000).all(|_| bucket.take(Instant::now()).is_ok()));
    }
}
