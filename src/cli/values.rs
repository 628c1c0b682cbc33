//! How the values of options are written: addresses, numbers, times and sizes, and what is said of one that is wrong.

use std::net::SocketAddr;
use std::time::Duration;

/// `host:port`, `address:port` or `[v6]:port`; whether the host exists is seen when it is bound.
pub(super) fn address(text: &str) -> Result<String, String> {
    const RIGHT: &str = "write HOST:PORT, as in 127.0.0.1:17007, localhost:0 or [::1]:17007";
    let Some((host, port)) = text.rsplit_once(':') else { return Err(format!("there is no port; {RIGHT}")) };
    if host.is_empty() {
        return Err("there is no host; 127.0.0.1 serves this machine, 0.0.0.0 or [::] every network".to_owned());
    }
    if host.starts_with('[') && !host.ends_with(']') {
        return Err(format!("there is no port; {RIGHT}"));
    }
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{port:?} is no port; {RIGHT}"));
    }
    if port.parse::<u16>().is_err() {
        return Err(format!("port {port} does not exist, the highest is 65535"));
    }
    if host.starts_with('[') {
        return match text.parse::<SocketAddr>() {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(format!("{host} is no IPv6 address; {RIGHT}")),
        };
    }
    if host.contains(':') {
        return Err(format!("an IPv6 address needs brackets; {RIGHT}"));
    }
    Ok(text.to_owned())
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("nobody could be served; allow at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a whole number, as in 1024".to_owned()),
    }
}

/// The library allows no longer times.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text).ok_or("write 250ms, 10s, 5m or 2h; a bare number is seconds")?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        _ => return Err(format!("there is no unit {unit:?}; use ms, s, m or h")),
    };
    let length = number.checked_mul(millis).map(Duration::from_millis);
    length.filter(|length| *length <= LONGEST).ok_or_else(|| "that is more than a year".to_owned())
}

pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("this limit can't be switched off; write a time longer than 0".to_owned()),
        length => Ok(length),
    }
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        0 => Err("write at least 1".to_owned()),
        bytes if bytes <= 1 << 30 => Ok(bytes),
        _ => Err("that is more than 1GiB".to_owned()),
    }
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = number_and_unit(text).ok_or("write 64KiB or 1MiB; a bare number is bytes")?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("there is no unit {unit:?}; use KiB, MiB or GiB")),
    };
    let bytes = number.checked_mul(factor).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "that is more than there can be".to_owned())
}

/// `64KiB` is 64 and `KiB`. `None` if there is no number that fits.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, millis) in
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("7", 7_000), ("0", 0)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1.5s", "10 parsecs", "5M", "99999999999999999999", "9999999h", "31536000001ms"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(some_time("0s").is_err());
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("64KiB", 65_536), ("1MiB", 1_048_576), ("1GiB", 1 << 30), ("17", 17), ("17B", 17)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "0", "0KiB", "64kb", "2GiB", "18446744073709551616", "18014398509481984KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        for text in ["127.0.0.1:17007", "localhost:0", "[::1]:0", "[fe80::1%1]:7", "0.0.0.0:65535"] {
            assert_eq!(address(text), Ok(text.to_owned()));
        }
        for text in
            ["", "17007", "127.0.0.1", ":17007", "::1:17007", "[::1]", "[nonsense]:1", "localhost:http", "h:65536"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
