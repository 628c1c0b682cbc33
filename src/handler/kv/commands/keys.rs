//! Commands about keys, whatever their values are.

use super::number::integer;
use super::pattern::{checked, matches};
use super::strings::Unit;
use super::{is, word};
use crate::handler::kv::engine::{Failure, Keyspace};
use crate::handler::kv::reply::Replies;

type Outcome = Result<(), Failure>;

pub(super) fn del(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let mut count = 0;
    for key in words.iter().skip(1) {
        count += i64::from(keyspace.remove(key)?);
    }
    replies.integer(count);
    Ok(())
}

pub(super) fn exists(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let mut count = 0;
    for key in words.iter().skip(1) {
        count += i64::from(keyspace.entry(key)?.is_some());
    }
    replies.integer(count);
    Ok(())
}

pub(super) fn type_of(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let exists = keyspace.entry(word(words, 1))?.is_some();
    replies.simple(if exists { "string" } else { "none" });
    Ok(())
}

pub(super) fn dbsize(keyspace: &mut dyn Keyspace, _: &[&[u8]], replies: &mut Replies) -> Outcome {
    replies.integer(keyspace.len()? as i64);
    Ok(())
}

pub(super) fn flush(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    match words {
        [_] => {}
        [_, option] if is(option, "SYNC") || is(option, "ASYNC") => {}
        _ => return Err(Failure::SYNTAX),
    }
    keyspace.clear()?;
    replies.ok();
    Ok(())
}

pub(super) fn keys(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let pattern = checked(word(words, 1))?;
    let mut found = Vec::new();
    keyspace.walk(0, usize::MAX, &mut |key| {
        if matches(pattern, key) {
            found.push(key.to_vec());
        }
    })?;
    replies.array(found.len());
    found.iter().for_each(|key| replies.bulk(key));
    Ok(())
}

pub(super) fn scan(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let cursor = cursor(word(words, 1)).ok_or(Failure::new("ERR invalid cursor"))?;
    let (mut pattern, mut count, mut wants_strings) = (None, 10, true);
    for option in words.get(2..).unwrap_or_default().chunks(2) {
        match option {
            [name, value] if is(name, "MATCH") => pattern = Some(checked(value)?),
            [name, value] if is(name, "COUNT") => {
                count = integer(value)?;
                if count < 1 {
                    return Err(Failure::SYNTAX);
                }
            }
            [name, value] if is(name, "TYPE") => wants_strings = is(value, "string"),
            _ => return Err(Failure::SYNTAX),
        }
    }
    let mut found = Vec::new();
    let next = keyspace.walk(cursor, usize::try_from(count).unwrap_or(usize::MAX), &mut |key| {
        if wants_strings && pattern.is_none_or(|pattern| matches(pattern, key)) {
            found.push(key.to_vec());
        }
    })?;
    replies.array(2);
    replies.bulk(next.to_string().as_bytes());
    replies.array(found.len());
    found.iter().for_each(|key| replies.bulk(key));
    Ok(())
}

/// A cursor as `strtoul` reads one: nothing is 0, and a negative number begins at the other end.
fn cursor(word: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(word).ok()?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text.is_empty() {
        return Some(0);
    }
    let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    Some(if text.starts_with('-') { number.wrapping_neg() } else { number })
}

pub(super) fn randomkey(keyspace: &mut dyn Keyspace, _: &[&[u8]], replies: &mut Replies) -> Outcome {
    use std::hash::{BuildHasher, RandomState};
    // From a random place on, and from the beginning if nothing is there.
    for from in [RandomState::new().hash_one(0), 0] {
        let mut found = None;
        keyspace.walk(from, 1, &mut |key| found = Some(key.to_vec()))?;
        if let Some(key) = found {
            replies.bulk(&key);
            return Ok(());
        }
    }
    replies.nil();
    Ok(())
}

pub(super) fn rename(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    move_to(keyspace, word(words, 1), word(words, 2))?;
    replies.ok();
    Ok(())
}

pub(super) fn renamenx(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let (from, to) = (word(words, 1), word(words, 2));
    if keyspace.entry(from)?.is_none() {
        return Err(Failure::NO_SUCH_KEY);
    }
    let is_free = keyspace.entry(to)?.is_none();
    if is_free {
        move_to(keyspace, from, to)?;
    }
    replies.integer(i64::from(is_free));
    Ok(())
}

fn move_to(keyspace: &mut dyn Keyspace, from: &[u8], to: &[u8]) -> Outcome {
    let entry = keyspace.entry(from)?.ok_or(Failure::NO_SUCH_KEY)?;
    if from == to {
        return Ok(());
    }
    let (value, expires) = (entry.value.into_owned(), entry.expires);
    keyspace.remove(from)?;
    keyspace.put(to, &value, expires)
}

/// Whether a word is the number of a database. There is one.
pub(in crate::handler::kv) fn database(word: &[u8]) -> Outcome {
    match integer(word)? {
        0 => Ok(()),
        // It may be a 32-bit number, says Redis.
        number if i32::try_from(number).is_err() => {
            Err(Failure::new("ERR value is out of range, value must between -2147483648 and 2147483647"))
        }
        _ => Err(Failure::new("ERR DB index is out of range")),
    }
}

pub(super) fn copy(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let (from, to) = (word(words, 1), word(words, 2));
    let mut replaces = false;
    let mut options = words.get(3..).unwrap_or_default().iter();
    while let Some(option) = options.next() {
        if is(option, "REPLACE") {
            replaces = true;
        } else if is(option, "DB") {
            database(options.next().ok_or(Failure::SYNTAX)?)?;
        } else {
            return Err(Failure::SYNTAX);
        }
    }
    if from == to {
        return Err(Failure::new("ERR source and destination objects are the same"));
    }
    let Some(entry) = keyspace.entry(from)? else {
        replies.integer(0);
        return Ok(());
    };
    let (value, expires) = (entry.value.into_owned(), entry.expires);
    if keyspace.entry(to)?.is_some() && !replaces {
        replies.integer(0);
        return Ok(());
    }
    keyspace.put(to, &value, expires)?;
    replies.integer(1);
    Ok(())
}

pub(super) fn expire(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    set_deadline(keyspace, words, Unit::SECONDS, "expire", replies)
}

pub(super) fn pexpire(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    set_deadline(keyspace, words, Unit::MILLIS, "pexpire", replies)
}

pub(super) fn expireat(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    set_deadline(keyspace, words, Unit::SECONDS_AT, "expireat", replies)
}

pub(super) fn pexpireat(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    set_deadline(keyspace, words, Unit::MILLIS_AT, "pexpireat", replies)
}

/// NX, XX, GT and LT: when a deadline may replace the one that is there.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(words: &[&[u8]]) -> Result<Conditions, Failure> {
        let mut conditions = Conditions::default();
        for option in words {
            let Conditions { nx, xx, gt, lt } = &mut conditions;
            let all = [("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)];
            let Some((_, wanted)) = all.into_iter().find(|(name, _)| is(option, name)) else {
                let option = String::from_utf8_lossy(option);
                let option = option.trim_end_matches(['\r', '\n']);
                return Err(Failure(format!("ERR Unsupported option {option}").into()));
            };
            *wanted = true;
        }
        let Conditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(Failure::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if gt && lt {
            return Err(Failure::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn allow(&self, old: Option<u64>, new: i64) -> bool {
        // No deadline is later than any other.
        match old.and_then(|old| i64::try_from(old).ok()) {
            None => !self.xx && !self.gt,
            Some(old) => !self.nx && (!self.gt || new > old) && (!self.lt || new < old),
        }
    }
}

fn set_deadline(
    keyspace: &mut dyn Keyspace,
    words: &[&[u8]],
    unit: Unit,
    command: &str,
    replies: &mut Replies,
) -> Outcome {
    let key = word(words, 1);
    let conditions = Conditions::parse(words.get(3..).unwrap_or_default())?;
    let instant = unit.instant(command, integer(word(words, 2))?, keyspace.now())?;
    let Some(entry) = keyspace.entry(key)?.filter(|entry| conditions.allow(entry.expires, instant)) else {
        replies.integer(0);
        return Ok(());
    };
    if instant <= keyspace.now() as i64 {
        drop(entry);
        keyspace.remove(key)?;
    } else {
        drop(entry);
        keyspace.set_deadline(key, Some(instant as u64))?;
    }
    replies.integer(1);
    Ok(())
}

pub(super) fn persist(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let expires = keyspace.entry(word(words, 1))?.is_some_and(|entry| entry.expires.is_some());
    if expires {
        keyspace.set_deadline(word(words, 1), None)?;
    }
    replies.integer(i64::from(expires));
    Ok(())
}

pub(super) fn ttl(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let now = keyspace.now();
    // To the nearest second, as Redis does.
    reply_deadline(keyspace, words, replies, |deadline| (deadline - now + 500) / 1000)
}

pub(super) fn pttl(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let now = keyspace.now();
    reply_deadline(keyspace, words, replies, |deadline| deadline - now)
}

pub(super) fn expiretime(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    reply_deadline(keyspace, words, replies, |deadline| (deadline + 500) / 1000)
}

pub(super) fn pexpiretime(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    reply_deadline(keyspace, words, replies, |deadline| deadline)
}

/// -2: there is no such key. -1: it does not expire.
fn reply_deadline(
    keyspace: &dyn Keyspace,
    words: &[&[u8]],
    replies: &mut Replies,
    show: impl Fn(u64) -> u64,
) -> Outcome {
    let number = match keyspace.entry(word(words, 1))? {
        None => -2,
        Some(entry) => entry.expires.map_or(-1, |deadline| show(deadline) as i64),
    };
    replies.integer(number);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Conditions, cursor};

    #[test]
    fn cursors_are_what_strtoul_takes_for_numbers() {
        for (word, number) in [("", 0), ("5", 5), ("+5", 5), ("-1", u64::MAX), ("18446744073709551615", u64::MAX)] {
            assert_eq!(cursor(word.as_bytes()), Some(number), "{word}");
        }
        for word in ["-", "+", "-+1", "1x", " 1", "18446744073709551616"] {
            assert_eq!(cursor(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn the_last_deadline_that_there_is_is_one() {
        let last = Some(i64::MAX as u64);
        let allows = |option: &[u8], old, new| Conditions::parse(&[option]).unwrap().allow(old, new);
        assert!(!allows(b"NX", last, 1) && allows(b"XX", last, 1) && allows(b"LT", last, 1) && !allows(b"GT", last, 1));
        assert!(allows(b"NX", None, 1) && !allows(b"XX", None, 1) && !allows(b"GT", None, 1));
        assert!(allows(b"LT", None, i64::MAX), "no deadline is later than the last one");
    }
}
