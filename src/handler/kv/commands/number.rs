//! Numbers as words of a command.

use crate::handler::kv::engine::Failure;
use crate::handler::kv::request;

pub(super) fn integer(word: &[u8]) -> Result<i64, Failure> {
    request::integer(word).ok_or(Failure::NOT_AN_INTEGER)
}

/// A number with a fraction, as `strtold` reads one: not NaN, and no spaces around it.
pub(super) fn float(word: &[u8]) -> Result<f64, Failure> {
    let text = std::str::from_utf8(word).map_err(|_| Failure::NOT_A_FLOAT)?;
    text.parse().ok().filter(|number: &f64| !number.is_nan()).ok_or(Failure::NOT_A_FLOAT)
}

/// The sum of two numbers with fractions, as digits. In decimal if both fit, so that 0.1 and 0.2 make 0.3; Redis gets the
/// same from an 80-bit number that is rounded to 17 places.
pub(super) fn add_floats(one: &[u8], other: &[u8]) -> Result<String, Failure> {
    let (float_one, float_other) = (float(one)?, float(other)?);
    if let (Some(one), Some(other)) = (fixed(one), fixed(other))
        && let Some(sum) = one.checked_add(other)
    {
        return Ok(show_fixed(sum));
    }
    let sum = float_one + float_other;
    if !sum.is_finite() {
        return Err(Failure::new("ERR increment would produce NaN or Infinity"));
    }
    Ok(format!("{sum}"))
}

/// Places after the point.
const PLACES: usize = 17;

/// A decimal number as a multiple of 10⁻¹⁷, if it is one.
fn fixed(word: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(word).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > PLACES
        || whole.len() > PLACES
        || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    let number: i128 = format!("{whole}{fraction:0<PLACES$}").parse().ok()?;
    Some(if negative { -number } else { number })
}

fn show_fixed(number: i128) -> String {
    let one = 10_i128.pow(PLACES as u32);
    let (sign, number) = (if number < 0 { "-" } else { "" }, number.abs());
    let shown = format!("{sign}{}.{:0PLACES$}", number / one, number % one);
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Two places in a value of `length` bytes, the end included; negative ones count from the end. Empty: nothing is there.
pub(super) fn range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_start = |place: i64| if place < 0 { (length + place).max(0) } else { place };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if start > end || length == 0 { 0..0 } else { start as usize..end as usize + 1 }
}
