//! The log of wrong passwords: a line for each, so that a program like fail2ban can block the address. The rate of
//! lines is limited. The next line has the number of those that were suppressed.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::warn;

use crate::panics::lock_ignoring_poison;
use crate::throttle::{LogRate, Throttle};

/// The most lines, for all clients together.
const RATE: LogRate = LogRate { lines: 10, interval: Duration::from_secs(1) };

/// Shared by all clients of a store.
pub(super) struct WrongPasswordLog {
    throttle: Mutex<Throttle>,
}

impl Default for WrongPasswordLog {
    fn default() -> WrongPasswordLog {
        WrongPasswordLog { throttle: Mutex::new(Throttle::new(RATE)) }
    }
}

impl WrongPasswordLog {
    /// Logs that a client has given a wrong password.
    pub(super) fn log(&self, id: u64, peer: SocketAddr) {
        let suppressed = lock_ignoring_poison(&self.throttle).admit(Instant::now());
        match suppressed {
            None => {}
            Some(0) => warn!("wrong password id={id} peer={peer}"),
            Some(suppressed) => warn!("wrong password id={id} peer={peer} ({suppressed} more were not logged)"),
        }
    }
}

impl Drop for WrongPasswordLog {
    /// Logs how many lines were suppressed since the last one.
    fn drop(&mut self) {
        match lock_ignoring_poison(&self.throttle).take_suppressed() {
            0 => {}
            suppressed => warn!("{suppressed} more wrong passwords were not logged"),
        }
    }
}
