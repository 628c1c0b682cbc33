//! Numbers as words of a command.

use super::float::{self, Parsed};
use crate::handler::kv::engine::Failure;
use crate::handler::kv::request;

pub(super) fn integer(word: &[u8]) -> Result<i64, Failure> {
    request::integer(word).ok_or(Failure::NOT_AN_INTEGER)
}

/// The sum of two numbers with fractions, as digits.
pub(super) fn add_floats(one: &[u8], other: &[u8]) -> Result<String, Failure> {
    let parse = |word| float::parse(word).ok_or(Failure::NOT_A_FLOAT);
    let sum = match (parse(one)?, parse(other)?) {
        (Parsed::Finite(one), Parsed::Finite(other)) => one.plus(other),
        _ => None,
    };
    Ok(sum.ok_or(Failure::new("ERR increment would produce NaN or Infinity"))?.show())
}

/// Two places in a value of `length` bytes, the end included; negative ones count from the end. Empty: nothing is
/// there.
pub(super) fn range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_start = |place: i64| if place < 0 { (length + place).max(0) } else { place };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if start > end || length == 0 { 0..0 } else { start as usize..end as usize + 1 }
}
