//! Numbers with fractions, as Redis adds them on x86-64: in C's `long double`, which is binary and has 64 bits of
//! precision.
//!
//! No type of Rust has them, so they are computed from whole numbers here. The same digits come out, also those that
//! nobody would have written: 5000 and 0.1 make 5000.10000000000000009.

use super::big::Big;

/// A number that is not infinite, as `mantissa` × 2^`exponent`. Unless it is 0, the upper bit of the mantissa is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extended {
    is_negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// What a word may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Finite(Extended),
    Infinite,
}

/// Redis takes no longer word for a number (`MAX_LONG_DOUBLE_CHARS`), in bytes.
const LONGEST: usize = 5 * 1024;

/// The places of the upper bit of the largest numbers and the smallest ones. What is smaller than these is refused, not
/// taken for 0. (The smallest ones have fewer bits in C. No digit that is shown depends on them.)
const LARGEST: i32 = 16383;
const SMALLEST: i32 = -16446;

/// More than the decimal places of the largest number and the smallest one.
const MOST_PLACES: i64 = 5000;

/// Places after the point.
const PLACES: usize = 17;

impl Extended {
    const ZERO: Extended = Extended { is_negative: false, mantissa: 0, exponent: 0 };

    /// The nearest number, the even one of two that are as near: `big` × 2^`exponent`, and a little more if it
    /// `is_inexact` (then it has more bits than are kept). `None`: it is too large, or too small.
    fn nearest(is_negative: bool, big: &Big, exponent: i32, is_inexact: bool) -> Option<Extended> {
        let length = big.bit_length();
        if length == 0 {
            return Some(Extended::ZERO);
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
        let is_in_range = (SMALLEST..=LARGEST).contains(&(exponent + 63));
        is_in_range.then_some(Extended { is_negative, mantissa, exponent })
    }

    /// `None`: the sum is too large.
    pub(super) fn plus(self, other: Extended) -> Option<Extended> {
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { other } else { self });
        }
        let size = |number: &Extended| (number.exponent, number.mantissa);
        let (large, small) = if size(&self) >= size(&other) { (self, other) } else { (other, self) };
        // With 63 bits of room below the larger one. If the smaller one does not fit in there, its last bit stands for
        // all that is lost: it decides on which side of a half the sum is.
        let distance = large.exponent.abs_diff(small.exponent);
        let whole = u128::from(small.mantissa) << 63;
        let shifted = whole.checked_shr(distance).unwrap_or(0);
        let lost = u128::from(shifted.checked_shl(distance).unwrap_or(0) != whole);
        let (one, other) = (u128::from(large.mantissa) << 63, shifted | lost);
        let sum = if large.is_negative == small.is_negative { one + other } else { one - other };
        Extended::nearest(large.is_negative, &Big::from(sum), large.exponent - 63, false)
    }

    /// `%.17Lf` without the zeros at its end, and without the sign of 0.
    pub(super) fn show(self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let Ok(right) = u32::try_from(-i64::from(self.exponent)) else {
            let mut big = Big::from(u128::from(self.mantissa));
            big.shift_left(self.exponent.unsigned_abs() as usize);
            return format!("{sign}{}", big.digits());
        };
        // It has 64 + 57 bits.
        let one = 10_u128.pow(PLACES as u32);
        let scaled = u128::from(self.mantissa) * one;
        let mut places = scaled.checked_shr(right).unwrap_or(0);
        let rest = scaled - places.checked_shl(right).unwrap_or(0);
        let half = right.checked_sub(1).and_then(|right| 1_u128.checked_shl(right)).unwrap_or(u128::MAX);
        places += u128::from(rest > half || rest == half && places % 2 == 1);
        if places == 0 {
            return "0".into();
        }
        let shown = format!("{sign}{}.{:0PLACES$}", places / one, places % one);
        shown.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Reads a number as `strtold` does, with an exponent and in hexadecimal too. `None`: it is none, or NaN, or has too
/// many places.
pub(super) fn parse(word: &[u8]) -> Option<Parsed> {
    let text = std::str::from_utf8(word).ok().filter(|text| text.len() < LONGEST)?;
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("infinity") {
        return Some(Parsed::Infinite);
    }
    let (radix, mark, text) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (16, ['p', 'P'], rest),
        None => (10, ['e', 'E'], text),
    };
    let (digits, exponent) = match text.split_once(mark) {
        Some((digits, exponent)) => (digits, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut big = Big::default();
    for digit in whole.chars().chain(fraction.chars()) {
        big.multiply_and_add(radix, digit.to_digit(radix)?);
    }
    let places = fraction.len() as i64;
    let number = if big.bit_length() == 0 {
        Some(Extended::ZERO)
    } else if radix == 16 {
        let exponent = i32::try_from(exponent - 4 * places).ok()?;
        Extended::nearest(is_negative, &big, exponent, false)
    } else {
        let length = digits.trim_start_matches(['0', '.']).len() as i64;
        nearest_decimal(is_negative, big, exponent - places, length)
    };
    number.map(Parsed::Finite)
}

/// Digits, perhaps after a sign. What is far too large is cut.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(i64::MAX).min(1_000_000);
    Some(if text.starts_with('-') { -size } else { size })
}

/// `big`, which has about `length` digits, × 10^`exponent`.
fn nearest_decimal(is_negative: bool, mut big: Big, exponent: i64, length: i64) -> Option<Extended> {
    if exponent + length > MOST_PLACES || exponent + length < -MOST_PLACES {
        return None;
    }
    let powers = usize::try_from(exponent.abs()).ok()?;
    if exponent >= 0 {
        big.multiply_by_power(10, powers);
        return Extended::nearest(is_negative, &big, 0, false);
    }
    // 10^n is 5^n, by which is divided, and 2^n. A power of 5 takes less than 7/3 bits; more than 64 are to be left.
    let room = powers * 7 / 3 + 66;
    big.shift_left(room);
    let is_inexact = big.divide_by_power(5, powers);
    Extended::nearest(is_negative, &big, -i32::try_from(room + powers).ok()?, is_inexact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, other: &str) -> String {
        let [one, other] = [one, other].map(|word| match parse(word.as_bytes()) {
            Some(Parsed::Finite(number)) => number,
            parsed => panic!("{word} is {parsed:?}"),
        });
        one.plus(other).unwrap().show()
    }

    #[test]
    fn sums_have_the_digits_that_redis_7_shows() {
        for (one, other, shown) in [
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
            assert_eq!(sum(one, other), shown, "{one} + {other}");
            assert_eq!(sum(other, one), shown, "{other} + {one}");
        }
    }

    #[test]
    fn what_is_no_number_or_has_too_many_places_is_refused() {
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
        assert_eq!(parse(&[b'1'; LONGEST]), None);
        assert!(parse(b"1e4932").is_some() && parse(b"1e-4940").is_some() && parse(b"0e99999").is_some());
    }
}
