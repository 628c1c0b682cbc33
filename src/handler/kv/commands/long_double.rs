//! C's `long double` on x86-64, a binary floating-point type with 64 bits of precision, in which Redis adds fractions.
//!
//! Rust has no such type, so its sums are computed from integers here. They have the same digits as Redis's, including
//! the surprising ones: 5000 + 0.1 is 5000.10000000000000009.

use super::big_uint::BigUint;

/// A finite number, `mantissa` × 2^`exponent`. The highest bit of the mantissa is set unless the number is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LongDouble {
    is_negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// A parsed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Finite(LongDouble),
    Infinite,
}

/// Words of this length or more are refused, as in Redis (`MAX_LONG_DOUBLE_CHARS`). In bytes.
const MAX_LENGTH: usize = 5 * 1024;

/// The range of exponents of the highest bit. Smaller numbers are refused rather than rounded to 0. (In C the smallest
/// numbers have fewer bits of precision. That affects no printed digit.)
const MAX_EXPONENT: i32 = 16383;
const MIN_EXPONENT: i32 = -16446;

/// Above the decimal exponents of the largest and the smallest number.
const MAX_DECIMAL_EXPONENT: i64 = 5000;

/// Digits printed after the decimal point.
const FRACTION_DIGITS: usize = 17;

impl LongDouble {
    const ZERO: LongDouble = LongDouble { is_negative: false, mantissa: 0, exponent: 0 };

    /// Rounds `big` × 2^`exponent` to the nearest number, ties to even. `is_inexact` says that the true number is
    /// slightly larger; `big` must then have more than 64 bits. Returns `None` if the number is out of range.
    fn nearest(is_negative: bool, big: &BigUint, exponent: i32, is_inexact: bool) -> Option<LongDouble> {
        let length = big.bit_length();
        if length == 0 {
            return Some(LongDouble::ZERO);
        }
        let dropped = length.saturating_sub(64);
        let mut exponent = exponent + i32::try_from(length).ok()? - 64;
        let mut mantissa = big.bits_from(dropped);
        if dropped == 0 {
            mantissa <<= 64 - length;
        } else if big.bit(dropped - 1) && (is_inexact || mantissa % 2 == 1 || big.has_bits_below(dropped - 1)) {
            mantissa = mantissa.wrapping_add(1);
            if mantissa == 0 {
                (mantissa, exponent) = (1 << 63, exponent + 1);
            }
        }
        let is_in_range = (MIN_EXPONENT..=MAX_EXPONENT).contains(&(exponent + 63));
        is_in_range.then_some(LongDouble { is_negative, mantissa, exponent })
    }

    /// Returns `None` if the sum is too large.
    pub(super) fn plus(self, other: LongDouble) -> Option<LongDouble> {
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { other } else { self });
        }
        let magnitude = |number: &LongDouble| (number.exponent, number.mantissa);
        let (large, small) = if magnitude(&self) >= magnitude(&other) { (self, other) } else { (other, self) };
        // The larger number gets 63 extra bits below it. Bits of the smaller number that lie still lower are lost. The
        // lowest bit then records that there were some (a sticky bit), so that the sum is rounded to the right side.
        let distance = large.exponent.abs_diff(small.exponent);
        let unshifted = u128::from(small.mantissa) << 63;
        let shifted = unshifted.checked_shr(distance).unwrap_or(0);
        let sticky = u128::from(shifted.checked_shl(distance).unwrap_or(0) != unshifted);
        let (large_bits, small_bits) = (u128::from(large.mantissa) << 63, shifted | sticky);
        let is_same_sign = large.is_negative == small.is_negative;
        let sum = if is_same_sign { large_bits + small_bits } else { large_bits - small_bits };
        LongDouble::nearest(large.is_negative, &BigUint::from(sum), large.exponent - 63, false)
    }

    /// Formats as C's `%.17Lf`, without trailing zeros and without the sign of 0.
    pub(super) fn to_decimal(self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let Ok(shift) = u32::try_from(-i64::from(self.exponent)) else {
            let mut big = BigUint::from(u128::from(self.mantissa));
            big.shift_left(self.exponent.unsigned_abs() as usize);
            return format!("{sign}{}", big.into_decimal());
        };
        // 64 + 57 bits fit into 128.
        let one = 10_u128.pow(FRACTION_DIGITS as u32);
        let scaled = u128::from(self.mantissa) * one;
        let mut rounded = scaled.checked_shr(shift).unwrap_or(0);
        let rest = scaled - rounded.checked_shl(shift).unwrap_or(0);
        let half = shift.checked_sub(1).and_then(|shift| 1_u128.checked_shl(shift)).unwrap_or(u128::MAX);
        rounded += u128::from(rest > half || rest == half && rounded % 2 == 1);
        if rounded == 0 {
            return "0".into();
        }
        let digits = format!("{sign}{}.{:0FRACTION_DIGITS$}", rounded / one, rounded % one);
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Parses a number as `strtold` does, including exponents and hexadecimal. Returns `None` for anything else, for NaN,
/// and for a finite number that is out of range.
pub(super) fn parse(word: &[u8]) -> Option<Parsed> {
    let text = std::str::from_utf8(word).ok().filter(|text| text.len() < MAX_LENGTH)?;
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("infinity") {
        return Some(Parsed::Infinite);
    }
    let (radix, exponent_mark, text) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (16, ['p', 'P'], rest),
        None => (10, ['e', 'E'], text),
    };
    let (digits, exponent) = match text.split_once(exponent_mark) {
        Some((digits, exponent)) => (digits, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut big = BigUint::default();
    for digit in whole.chars().chain(fraction.chars()) {
        big.multiply_and_add(radix, digit.to_digit(radix)?);
    }
    let fraction_digits = fraction.len() as i64;
    let number = if big.bit_length() == 0 {
        Some(LongDouble::ZERO)
    } else if radix == 16 {
        let exponent = i32::try_from(exponent - 4 * fraction_digits).ok()?;
        LongDouble::nearest(is_negative, &big, exponent, false)
    } else {
        let length = digits.trim_start_matches(['0', '.']).len() as i64;
        nearest_decimal(is_negative, big, exponent - fraction_digits, length)
    };
    number.map(Parsed::Finite)
}

/// Parses digits with an optional sign. Exponents that are far out of range are clamped.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(i64::MAX).min(1_000_000);
    Some(if text.starts_with('-') { -size } else { size })
}

/// `big`, which has about `length` digits, × 10^`exponent`.
fn nearest_decimal(is_negative: bool, mut big: BigUint, exponent: i64, length: i64) -> Option<LongDouble> {
    if exponent + length > MAX_DECIMAL_EXPONENT || exponent + length < -MAX_DECIMAL_EXPONENT {
        return None;
    }
    let powers = usize::try_from(exponent.abs()).ok()?;
    if exponent >= 0 {
        big.multiply_by_power(10, powers);
        return LongDouble::nearest(is_negative, &big, 0, false);
    }
    // To divide by 10^n, divide by 5^n and subtract n from the binary exponent. Each factor of 5 removes less than 7/3
    // bits, and the quotient must keep more than 64.
    let extra_bits = powers * 7 / 3 + 66;
    big.shift_left(extra_bits);
    let is_inexact = big.divide_by_power(5, powers);
    LongDouble::nearest(is_negative, &big, -i32::try_from(extra_bits + powers).ok()?, is_inexact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let [left, right] = [left, right].map(|word| match parse(word.as_bytes()) {
            Some(Parsed::Finite(number)) => number,
            parsed => panic!("{word} is {parsed:?}"),
        });
        left.plus(right).unwrap().to_decimal()
    }

    #[test]
    fn sums_have_the_same_digits_as_in_redis_7() {
        for (left, right, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "200", "5200"),
            ("5000", "0.1", "5000.10000000000000009"),
            ("0", "-7760.0169600108465762", "-7760.01696001084657617"),
            ("0", "4e-18", "0"),
            ("-1", "1", "0"),
            ("0", "-1e-30", "0"),
            ("0", "0x10", "16"),
            ("0x.8p1", "-0X1P-1", "0.5"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "3", "18446744073709551620"),
            ("1e30", "0", "1000000000000000000024696061952"),
            ("1e30", "1e-4900", "1000000000000000000024696061952"),
        ] {
            assert_eq!(sum(left, right), expected, "{left} + {right}");
            assert_eq!(sum(right, left), expected, "{right} + {left}");
        }
    }

    #[test]
    fn invalid_and_out_of_range_numbers_are_refused() {
        for word in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "0x",
            "0x1p",
            "1.2.3",
            " 1",
            "1 ",
            "1_0",
            "nan",
            "infinit",
            "1e4933",
            "1e-4960",
            "1e99999999999999999999",
            "٣",
        ] {
            assert_eq!(parse(word.as_bytes()), None, "{word}");
        }
        assert_eq!(parse(b"-INF"), Some(Parsed::Infinite));
        assert_eq!(parse(&[b'1'; MAX_LENGTH]), None);
        assert!(parse(b"1e4932").is_some() && parse(b"1e-4940").is_some() && parse(b"0e99999").is_some());
    }
}
