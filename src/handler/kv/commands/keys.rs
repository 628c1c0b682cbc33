//! Commands that work on keys and their expiry times, and do not look at the values.

use super::number::integer;
use super::pattern::{check_length, matches};
use super::time_unit::TimeUnit;
use super::{is, word};
use crate::handler::kv::keyspace::{CommandError, CommandResult, Keyspace};
use crate::handler::kv::reply::Replies;

pub(super) fn del(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let mut count = 0;
    for key in words.iter().skip(1) {
        count += i64::from(keyspace.remove(key)?);
    }
    replies.integer(count);
    Ok(())
}

pub(super) fn exists(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let mut count = 0;
    for key in words.iter().skip(1) {
        count += i64::from(keyspace.entry(key)?.is_some());
    }
    replies.integer(count);
    Ok(())
}

pub(super) fn type_of(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let exists = keyspace.entry(word(words, 1))?.is_some();
    replies.simple(if exists { "string" } else { "none" });
    Ok(())
}

pub(super) fn dbsize(keyspace: &mut dyn Keyspace, _: &[&[u8]], replies: &mut Replies) -> CommandResult {
    replies.integer(keyspace.len()? as i64);
    Ok(())
}

pub(super) fn flush(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    match words {
        [_] => {}
        [_, option] if is(option, "SYNC") || is(option, "ASYNC") => {}
        _ => return Err(CommandError::SYNTAX),
    }
    keyspace.clear()?;
    replies.ok();
    Ok(())
}

pub(super) fn keys(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let pattern = check_length(word(words, 1))?;
    let mut found = Vec::new();
    keyspace.for_each_key(&mut |key| {
        if matches(pattern, key) {
            found.push(key.to_vec());
        }
    })?;
    replies.array(found.len());
    found.iter().for_each(|key| replies.bulk(key));
    Ok(())
}

pub(super) fn scan(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let cursor = parse_cursor(word(words, 1)).ok_or(CommandError::new("ERR invalid cursor"))?;
    let (mut pattern, mut count, mut includes_strings) = (None, 10, true);
    for option in words.get(2..).unwrap_or_default().chunks(2) {
        match option {
            [name, value] if is(name, "MATCH") => pattern = Some(check_length(value)?),
            [name, value] if is(name, "COUNT") => {
                count = integer(value)?;
                if count < 1 {
                    return Err(CommandError::SYNTAX);
                }
            }
            [name, value] if is(name, "TYPE") => includes_strings = is(value, "string"),
            _ => return Err(CommandError::SYNTAX),
        }
    }
    let mut found = Vec::new();
    let next = keyspace.scan(cursor, usize::try_from(count).unwrap_or(usize::MAX), &mut |key| {
        if includes_strings && pattern.is_none_or(|pattern| matches(pattern, key)) {
            found.push(key.to_vec());
        }
    })?;
    replies.array(2);
    replies.bulk(next.to_string().as_bytes());
    replies.array(found.len());
    found.iter().for_each(|key| replies.bulk(key));
    Ok(())
}

/// Reads a cursor as `strtoul` does: an empty word is 0, and a negative number wraps around.
fn parse_cursor(word: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(word).ok()?;
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // A second sign is an error, although Rust would take it as part of the number.
    let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    Some(if text.starts_with('-') { number.wrapping_neg() } else { number })
}

pub(super) fn randomkey(keyspace: &mut dyn Keyspace, _: &[&[u8]], replies: &mut Replies) -> CommandResult {
    use std::hash::{BuildHasher, RandomState};
    // Takes the first key after a random hash, or the first of all if there is none.
    for from in [RandomState::new().hash_one(0), 0] {
        let mut found = None;
        keyspace.scan(from, 1, &mut |key| found = Some(key.to_vec()))?;
        if let Some(key) = found {
            replies.bulk(&key);
            return Ok(());
        }
    }
    replies.nil();
    Ok(())
}

pub(super) fn rename(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    rename_key(keyspace, word(words, 1), word(words, 2))?;
    replies.ok();
    Ok(())
}

pub(super) fn renamenx(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let (from, to) = (word(words, 1), word(words, 2));
    if keyspace.entry(from)?.is_none() {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let is_free = keyspace.entry(to)?.is_none();
    if is_free {
        rename_key(keyspace, from, to)?;
    }
    replies.integer(i64::from(is_free));
    Ok(())
}

fn rename_key(keyspace: &mut dyn Keyspace, from: &[u8], to: &[u8]) -> CommandResult {
    let entry = keyspace.entry(from)?.ok_or(CommandError::NO_SUCH_KEY)?;
    if from == to {
        return Ok(());
    }
    let (value, expires_at) = (entry.value.into_owned(), entry.expires_at);
    keyspace.remove(from)?;
    keyspace.put(to, &value, expires_at)
}

/// Checks the number of a database. Only 0 exists.
pub(in crate::handler::kv) fn check_database(word: &[u8]) -> CommandResult {
    match integer(word)? {
        0 => Ok(()),
        // Redis has another error for numbers above 32 bits.
        number if i32::try_from(number).is_err() => {
            Err(CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647"))
        }
        _ => Err(CommandError::new("ERR DB index is out of range")),
    }
}

pub(super) fn copy(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let (from, to) = (word(words, 1), word(words, 2));
    let mut replace = false;
    let mut options = words.get(3..).unwrap_or_default().iter();
    while let Some(option) = options.next() {
        if is(option, "REPLACE") {
            replace = true;
        } else if is(option, "DB") {
            check_database(options.next().ok_or(CommandError::SYNTAX)?)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    if from == to {
        return Err(CommandError::new("ERR source and destination objects are the same"));
    }
    let Some(entry) = keyspace.entry(from)? else {
        replies.integer(0);
        return Ok(());
    };
    let (value, expires_at) = (entry.value.into_owned(), entry.expires_at);
    if keyspace.entry(to)?.is_some() && !replace {
        replies.integer(0);
        return Ok(());
    }
    keyspace.put(to, &value, expires_at)?;
    replies.integer(1);
    Ok(())
}

pub(super) fn expire(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    expire_with(keyspace, words, TimeUnit::SECONDS, "expire", replies)
}

pub(super) fn pexpire(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    expire_with(keyspace, words, TimeUnit::MILLIS, "pexpire", replies)
}

pub(super) fn expireat(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    expire_with(keyspace, words, TimeUnit::UNIX_SECONDS, "expireat", replies)
}

pub(super) fn pexpireat(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    expire_with(keyspace, words, TimeUnit::UNIX_MILLIS, "pexpireat", replies)
}

/// NX, XX, GT and LT: when a new expiry time may replace the current one.
#[derive(Default)]
struct ExpireConditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl ExpireConditions {
    fn parse(words: &[&[u8]]) -> Result<ExpireConditions, CommandError> {
        let mut conditions = ExpireConditions::default();
        for option in words {
            let condition = if is(option, "NX") {
                &mut conditions.nx
            } else if is(option, "XX") {
                &mut conditions.xx
            } else if is(option, "GT") {
                &mut conditions.gt
            } else if is(option, "LT") {
                &mut conditions.lt
            } else {
                let option = String::from_utf8_lossy(option);
                let option = option.trim_end_matches(['\r', '\n']);
                return Err(CommandError(format!("ERR Unsupported option {option}").into()));
            };
            *condition = true;
        }
        let ExpireConditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(CommandError::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if gt && lt {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn allow(&self, current: Option<u64>, new: i64) -> bool {
        // A key without an expiry time counts as one that expires later than any other.
        match current.and_then(|current| i64::try_from(current).ok()) {
            None => !self.xx && !self.gt,
            Some(current) => !self.nx && (!self.gt || new > current) && (!self.lt || new < current),
        }
    }
}

/// Does the work of EXPIRE and its variants.
fn expire_with(
    keyspace: &mut dyn Keyspace,
    words: &[&[u8]],
    unit: TimeUnit,
    command: &str,
    replies: &mut Replies,
) -> CommandResult {
    let key = word(words, 1);
    let conditions = ExpireConditions::parse(words.get(3..).unwrap_or_default())?;
    let expires_at = unit.expiry_time(command, integer(word(words, 2))?, keyspace.now())?;
    let Some(entry) = keyspace.entry(key)?.filter(|entry| conditions.allow(entry.expires_at, expires_at)) else {
        replies.integer(0);
        return Ok(());
    };
    drop(entry);
    if expires_at <= keyspace.now() as i64 {
        keyspace.remove(key)?;
    } else {
        keyspace.set_expiry(key, Some(expires_at as u64))?;
    }
    replies.integer(1);
    Ok(())
}

pub(super) fn persist(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let has_expiry = keyspace.entry(word(words, 1))?.is_some_and(|entry| entry.expires_at.is_some());
    if has_expiry {
        keyspace.set_expiry(word(words, 1), None)?;
    }
    replies.integer(i64::from(has_expiry));
    Ok(())
}

pub(super) fn ttl(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let now = keyspace.now();
    // Rounded to the nearest second, as in Redis.
    reply_expiry(keyspace, words, replies, |expires_at| (expires_at - now + 500) / 1000)
}

pub(super) fn pttl(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let now = keyspace.now();
    reply_expiry(keyspace, words, replies, |expires_at| expires_at - now)
}

pub(super) fn expiretime(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    reply_expiry(keyspace, words, replies, |expires_at| (expires_at + 500) / 1000)
}

pub(super) fn pexpiretime(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    reply_expiry(keyspace, words, replies, |expires_at| expires_at)
}

/// Replies with the expiry time, -1 if the key has none, or -2 if there is no such key.
fn reply_expiry(
    keyspace: &dyn Keyspace,
    words: &[&[u8]],
    replies: &mut Replies,
    convert: impl Fn(u64) -> u64,
) -> CommandResult {
    let number = match keyspace.entry(word(words, 1))? {
        None => -2,
        Some(entry) => entry.expires_at.map_or(-1, |expires_at| convert(expires_at) as i64),
    };
    replies.integer(number);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ExpireConditions, parse_cursor};

    #[test]
    fn cursors_are_read_as_strtoul_reads_them() {
        for (word, number) in [("", 0), ("5", 5), ("+5", 5), ("-1", u64::MAX), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse_cursor(word.as_bytes()), Some(number), "{word}");
        }
        for word in ["-", "+", "-+1", "1x", " 1", "18446744073709551616"] {
            assert_eq!(parse_cursor(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn the_latest_possible_expiry_time_still_counts_as_one() {
        let last = Some(i64::MAX as u64);
        let allows = |option: &[u8], old, new| ExpireConditions::parse(&[option]).unwrap().allow(old, new);
        assert!(!allows(b"NX", last, 1) && allows(b"XX", last, 1) && allows(b"LT", last, 1) && !allows(b"GT", last, 1));
        assert!(allows(b"NX", None, 1) && !allows(b"XX", None, 1) && !allows(b"GT", None, 1));
        assert!(allows(b"LT", None, i64::MAX), "no expiry time counts as later than the latest one");
    }
}
