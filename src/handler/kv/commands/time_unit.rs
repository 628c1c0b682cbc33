//! The units in which commands take expiry times.

use super::is;
use crate::handler::kv::keyspace::CommandError;

/// Seconds or milliseconds, from now or since 1970.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeUnit {
    millis: i64,
    is_absolute: bool,
}

impl TimeUnit {
    pub(super) const SECONDS: TimeUnit = TimeUnit { millis: 1000, is_absolute: false };
    pub(super) const MILLIS: TimeUnit = TimeUnit { millis: 1, is_absolute: false };
    pub(super) const UNIX_SECONDS: TimeUnit = TimeUnit { millis: 1000, is_absolute: true };
    pub(super) const UNIX_MILLIS: TimeUnit = TimeUnit { millis: 1, is_absolute: true };

    /// The unit that an option of SET or GETEX stands for.
    pub(super) fn from_option(option: &[u8]) -> Option<TimeUnit> {
        let units = [
            ("EX", TimeUnit::SECONDS),
            ("PX", TimeUnit::MILLIS),
            ("EXAT", TimeUnit::UNIX_SECONDS),
            ("PXAT", TimeUnit::UNIX_MILLIS),
        ];
        units.into_iter().find(|(name, _)| is(option, name)).map(|(_, unit)| unit)
    }

    /// The time in milliseconds since 1970. It may lie in the past.
    pub(super) fn expiry_time(self, command: &str, number: i64, now: u64) -> Result<i64, CommandError> {
        let start = if self.is_absolute { 0 } else { now as i64 };
        let time = number.checked_mul(self.millis).and_then(|millis| millis.checked_add(start));
        time.ok_or_else(|| invalid_expire(command))
    }

    /// Like [`expiry_time`](TimeUnit::expiry_time), for commands that refuse zero and negative numbers.
    pub(super) fn positive_expiry_time(self, command: &str, number: i64, now: u64) -> Result<u64, CommandError> {
        if number <= 0 {
            return Err(invalid_expire(command));
        }
        Ok(self.expiry_time(command, number, now)? as u64)
    }
}

fn invalid_expire(command: &str) -> CommandError {
    CommandError(format!("ERR invalid expire time in '{command}' command").into())
}
