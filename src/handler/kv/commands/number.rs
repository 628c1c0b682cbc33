//! Numbers in the words of a command: integers, decimal fractions and index ranges.

use super::long_double::{self, Parsed};
use crate::handler::kv::keyspace::CommandError;
use crate::handler::kv::request;

/// Parses a command's integer.
pub(super) fn integer(word: &[u8]) -> Result<i64, CommandError> {
    request::parse_integer(word).ok_or(CommandError::NOT_AN_INTEGER)
}

/// The sum of two decimal numbers, in decimal.
pub(super) fn add_floats(left: &[u8], right: &[u8]) -> Result<String, CommandError> {
    let parse = |word| long_double::parse(word).ok_or(CommandError::NOT_A_FLOAT);
    let sum = match (parse(left)?, parse(right)?) {
        (Parsed::Finite(left), Parsed::Finite(right)) => left.plus(right),
        _ => None,
    };
    Ok(sum.ok_or(CommandError::new("ERR increment would produce NaN or Infinity"))?.to_decimal())
}

/// The bytes from `start` to `end`, both included, of a value of `length` bytes. Negative indices count from the end.
/// The range is empty if it lies outside the value.
pub(super) fn range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_start = |index: i64| if index < 0 { (length + index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if start > end || length == 0 { 0..0 } else { start as usize..end as usize + 1 }
}
