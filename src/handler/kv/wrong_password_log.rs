//! The log of wrong passwords: a line for each, so that a program like fail2ban can block the address. The rate of
//! lines is limited; a count stands for the rest.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::warn;

use crate::panics::lock;

/// The most lines in a second, for all clients together.
const MAX_LINES_PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Shared by all clients of a store.
#[derive(Default)]
pub(super) struct WrongPasswordLog {
    throttle: Mutex<Throttle>,
}

#[derive(Default)]
struct Throttle {
    second_started_at: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl WrongPasswordLog {
    /// Logs that a client has given a wrong password.
    pub(super) fn log(&self, id: u64, peer: SocketAddr) {
        let suppressed = lock(&self.throttle).admit(Instant::now());
        match suppressed {
            None => {}
            Some(0) => warn!("wrong password id={id} peer={peer}"),
            Some(suppressed) => warn!("wrong password id={id} peer={peer} ({suppressed} more were not logged)"),
        }
    }
}

impl Throttle {
    /// Returns how many lines were suppressed before this one, or `None` if this one must be suppressed too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.second_started_at.is_none_or(|started_at| now.duration_since(started_at) >= SECOND) {
            self.second_started_at = Some(now);
            self.lines = 0;
        }
        if self.lines == MAX_LINES_PER_SECOND {
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
    fn ten_lines_a_second_are_logged_and_the_others_counted() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..MAX_LINES_PER_SECOND {
            assert_eq!(throttle.admit(now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(throttle.admit(now), None);
        }
        assert_eq!(throttle.admit(now + SECOND), Some(7));
        assert_eq!(throttle.admit(now + SECOND), Some(0));
    }
}
