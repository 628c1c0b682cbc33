//! The log of wrong passwords: a line for each, so that a program like fail2ban can act on the address; of many, some
//! lines a second and a count.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::warn;

use crate::panics::lock;

/// Lines in a second at the most, whoever causes them.
const LINES_PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Shared by all clients of a store.
#[derive(Default)]
pub(super) struct WrongPasswords {
    throttle: Mutex<Throttle>,
}

#[derive(Default)]
struct Throttle {
    second_began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl WrongPasswords {
    /// Somebody has given a wrong password.
    pub(super) fn log(&self, id: u64, peer: SocketAddr) {
        let admitted = lock(&self.throttle).admit(Instant::now());
        match admitted {
            None => {}
            Some(0) => warn!("wrong password id={id} peer={peer}"),
            Some(suppressed) => warn!("wrong password id={id} peer={peer} ({suppressed} more were not logged)"),
        }
    }
}

impl Throttle {
    /// Whether a line may be logged now, and how many were suppressed before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.second_began.is_none_or(|began| now.duration_since(began) >= SECOND) {
            self.second_began = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_in_a_second_ten_are_logged_and_the_others_counted() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(throttle.admit(now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(throttle.admit(now), None);
        }
        assert_eq!(throttle.admit(now + SECOND), Some(7));
        assert_eq!(throttle.admit(now + SECOND), Some(0));
    }
}
