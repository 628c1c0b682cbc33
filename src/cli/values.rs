//! Parses the values of options: numbers, times, sizes and rates. The errors say how to write them.

use std::num::IntErrorKind;
use std::time::Duration;

use acceptd::handler::chat::{ChatOptions, MessageRate};

/// The longest time that the library allows.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

const TIME_HINT: &str = "write 250ms, 10s, 1m30s, 2h or 1d; a bare number is seconds";
const SIZE_HINT: &str = "write 64KiB, 64K or 1MiB; a bare number is bytes";

/// The most digits of a fraction, so that no number overflows.
const MAX_FRACTION_DIGITS: usize = 9;

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("nobody could be served; allow at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err("that number is too large".to_owned()),
        Err(_) => Err("write a whole number of 1 or more, as in 1024".to_owned()),
    }
}

pub(super) fn backlog(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("write a whole number from 1 to 65535".to_owned()),
    }
}

/// How many times a flag counts. On the command line it has no value; in the environment it has one.
pub(super) fn flag_count(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(1),
        "false" | "no" | "off" => Ok(0),
        number => number.parse().map_err(|_| "write 1 for yes, 0 for no, or 2 or 3 for more of it".to_owned()),
    }
}

/// A length of time: numbers with units, as in `1m30s`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut millis = 0;
    loop {
        let amount = next_amount(&mut rest).map_err(|error| error.message(TIME_HINT))?;
        let is_bare = amount.unit.is_empty() && amount.text.len() == text.trim_end().len();
        millis += amount.multiplied_by(match amount.unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            "" if is_bare => 1000,
            "" => return Err(format!("{} has no unit; {TIME_HINT}", amount.text)),
            unit => return Err(format!("there is no unit {unit:?}; use ms, s, m, h or d")),
        });
        if millis > MAX_TIME.as_millis() {
            return Err("that is more than a year".to_owned());
        }
        if rest.is_empty() {
            return u64::try_from(millis).map(Duration::from_millis).map_err(|_| "that is more than a year".to_owned());
        }
    }
}

/// A time longer than zero.
pub(super) fn nonzero_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("this limit can't be switched off; write a time longer than 0".to_owned()),
        length => Ok(length),
    }
}

/// A size that can be a limit for one client: from 1 byte to 1 GiB.
pub(super) fn size(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        0 => Err("write at least 1".to_owned()),
        bytes if bytes <= 1 << 30 => Ok(bytes),
        _ => Err("that is more than 1GiB".to_owned()),
    }
}

/// A number of bytes. `K`, `KB` and `KiB` are all 1,024.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let mut rest = text;
    let amount = next_amount(&mut rest).map_err(|error| error.message(SIZE_HINT))?;
    if !rest.is_empty() {
        return Err(SIZE_HINT.to_owned());
    }
    let factor = match amount.unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(format!("there is no unit {:?}; use KiB, MiB, GiB or TiB", amount.unit)),
    };
    usize::try_from(amount.multiplied_by(factor)).map_err(|_| "that is more than there can be".to_owned())
}

/// Lines a second, a slash, and the burst. Without a slash, the burst is the default one.
pub(super) fn message_rate(text: &str) -> Result<MessageRate, String> {
    const HINT: &str = "write 10/20 for 10 lines a second after a burst of 20, or 0 for no limit";
    let default_burst = ChatOptions::default().rate.burst;
    let (per_second, burst) = match text.split_once('/') {
        Some((per_second, burst)) => (per_second, burst.parse().ok()),
        None => (text, Some(default_burst)),
    };
    match (per_second.parse(), burst) {
        (Ok(1_000_001..), _) => Err("at most 1000000 lines a second can be set".to_owned()),
        (_, Some(0 | 10_001..)) => Err("the burst, after the slash, is from 1 to 10000".to_owned()),
        (Ok(per_second), Some(burst)) => Ok(MessageRate { per_second, burst }),
        _ => Err(HINT.to_owned()),
    }
}

/// A number with a unit, such as `1.5 s`.
struct Amount<'t> {
    text: &'t str,
    whole: u64,
    fraction: &'t str,
    unit: &'t str,
}

impl Amount<'_> {
    /// The number times `factor`, rounded down.
    fn multiplied_by(&self, factor: u128) -> u128 {
        // An empty fraction is zero. Another one can be parsed, because it has at most `MAX_FRACTION_DIGITS` digits.
        let fraction = self.fraction.parse().unwrap_or(0);
        let scale = self.fraction.chars().fold(1, |scale: u128, _| scale * 10);
        u128::from(self.whole) * factor + fraction * factor / scale
    }
}

/// Why a text does not begin with an amount.
enum AmountError {
    NoNumber,
    TooLarge,
    TooPrecise,
}

impl AmountError {
    /// The message for the user. `hint` says how to write the value.
    fn message(&self, hint: &str) -> String {
        match self {
            AmountError::NoNumber => hint.to_owned(),
            AmountError::TooLarge => "that number is too large".to_owned(),
            AmountError::TooPrecise => format!("at most {MAX_FRACTION_DIGITS} digits may follow the point"),
        }
    }
}

/// Takes one amount, such as `64KiB` or `1.5 s`, from the beginning of `rest`.
fn next_amount<'t>(rest: &mut &'t str) -> Result<Amount<'t>, AmountError> {
    let is_digit = |character: char| character.is_ascii_digit();
    let text = *rest;
    let (whole, mut after) = split_before(text, |character| !is_digit(character));
    let mut fraction = "";
    if let Some(digits) = after.strip_prefix('.') {
        (fraction, after) = split_before(digits, |character| !is_digit(character));
        if fraction.is_empty() {
            return Err(AmountError::NoNumber);
        }
    }
    if fraction.len() > MAX_FRACTION_DIGITS {
        return Err(AmountError::TooPrecise);
    }
    let whole = whole.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => AmountError::TooLarge,
        _ => AmountError::NoNumber,
    })?;
    let (unit, after) = split_before(after.trim_start(), is_digit);
    let text = text.strip_suffix(after).unwrap_or(text);
    *rest = after;
    Ok(Amount { text: text.trim_end(), whole, fraction, unit: unit.trim_end() })
}

/// Splits a text before the first character for which `is_end` is true.
fn split_before(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("7", 7_000),
            ("0", 0),
            ("10 s", 10_000),
            ("1.5s", 1_500),
            ("1.5", 1_500),
            ("1m30s", 90_000),
            ("1h 30m 0.25s", 5_400_250),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert!(nonzero_time("0s").is_err());
    }

    #[test]
    fn the_error_for_a_wrong_time_says_what_is_wrong() {
        for (text, hint) in [
            ("", "write 250ms"),
            ("s", "write 250ms"),
            ("soon", "write 250ms"),
            ("-1", "write 250ms"),
            ("1.s", "write 250ms"),
            (".5s", "write 250ms"),
            ("1m30", "30 has no unit"),
            ("1m 2 3s", "2 has no unit"),
            ("10 parsecs", "no unit \"parsecs\""),
            ("5M", "no unit \"M\""),
            ("1.0000000001s", "at most 9 digits"),
            ("99999999999999999999", "too large"),
            ("9999999h", "more than a year"),
            ("31536000001ms", "more than a year"),
            ("365d1ms", "more than a year"),
        ] {
            let message = time(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    #[test]
    fn sizes_are_parsed() {
        for (text, bytes) in [
            ("17", 17),
            ("17B", 17),
            ("64KiB", 65_536),
            ("64K", 65_536),
            ("64kb", 65_536),
            ("64k", 65_536),
            ("1MiB", 1_048_576),
            ("1.5M", 1_572_864),
            ("1G", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(bytes("1TiB"), Ok(1 << 40));
    }

    #[test]
    fn the_error_for_a_wrong_size_says_what_is_wrong() {
        for (text, hint) in [
            ("", "write 64KiB"),
            ("KiB", "write 64KiB"),
            ("-1", "write 64KiB"),
            ("1K2K", "write 64KiB"),
            ("0", "at least 1"),
            ("0KiB", "at least 1"),
            ("64XB", "no unit \"XB\""),
            ("2GiB", "more than 1GiB"),
            ("18446744073709551616", "too large"),
            ("18014398509481984KiB", "more than there can be"),
        ] {
            let message = size(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    #[test]
    fn the_error_for_a_wrong_number_says_what_is_wrong() {
        assert!(at_least_one("99999999999999999999999").unwrap_err().contains("too large"));
        assert!(at_least_one("-1").unwrap_err().contains("1 or more"));
        assert!(at_least_one("0").unwrap_err().contains("at least 1"));
        assert_eq!(at_least_one("7"), Ok(7));
        for text in ["0", "65536", "-1", "many"] {
            assert!(backlog(text).unwrap_err().contains("from 1 to 65535"), "{text}");
        }
    }

    #[test]
    fn a_rate_without_a_burst_gets_the_default_burst() {
        let rate_of = |text| message_rate(text).map(|rate| (rate.per_second, rate.burst));
        assert_eq!(rate_of("10"), Ok((10, 20)));
        assert_eq!(rate_of("5/7"), Ok((5, 7)));
        assert_eq!(rate_of("0"), Ok((0, 20)));
        for (text, hint) in [
            ("", "write 10/20"),
            ("-1", "write 10/20"),
            ("10/", "write 10/20"),
            ("10/x", "write 10/20"),
            ("10/0", "from 1 to 10000"),
            ("10/10001", "from 1 to 10000"),
            ("1000001/5", "at most 1000000"),
        ] {
            let message = rate_of(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    #[test]
    fn a_flag_in_the_environment_has_a_value() {
        for (text, count) in [("1", 1), ("0", 0), ("3", 3), ("true", 1), ("YES", 1), ("off", 0)] {
            assert_eq!(flag_count(text), Ok(count), "{text}");
        }
        assert!(flag_count("loud").unwrap_err().contains("write 1"));
    }
}
