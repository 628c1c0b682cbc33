//! Commands about values.

use super::number::{add_floats, integer, range};
use super::{is, word};
use crate::handler::kv::engine::{Failure, Keyspace};
use crate::handler::kv::reply::Replies;

const TOO_LONG: Failure = Failure::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

type Outcome = Result<(), Failure>;

pub(super) fn get(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    reply_value(keyspace, word(words, 1), replies)
}

fn reply_value(keyspace: &mut dyn Keyspace, key: &[u8], replies: &mut Replies) -> Outcome {
    match keyspace.value(key)? {
        Some(value) => replies.bulk(&value),
        None => replies.nil(),
    }
    Ok(())
}

/// The options of SET and GETEX.
#[derive(Default)]
struct Options<'a> {
    /// NX: only if it does not exist. XX: only if it does.
    only_if_exists: Option<bool>,
    get: bool,
    /// SET's KEEPTTL, or GETEX's PERSIST.
    lasts: bool,
    time: Option<(Unit, &'a [u8])>,
}

impl<'a> Options<'a> {
    fn of_set(words: &[&'a [u8]]) -> Result<Options<'a>, Failure> {
        Options::parse(words, "KEEPTTL", |options, option| {
            if is(option, "NX") && options.only_if_exists != Some(true) {
                options.only_if_exists = Some(false);
            } else if is(option, "XX") && options.only_if_exists != Some(false) {
                options.only_if_exists = Some(true);
            } else if is(option, "GET") {
                options.get = true;
            } else {
                return Err(Failure::SYNTAX);
            }
            Ok(())
        })
    }

    fn of_getex(words: &[&'a [u8]]) -> Result<Options<'a>, Failure> {
        Options::parse(words, "PERSIST", |_, _| Err(Failure::SYNTAX))
    }

    /// Options may be given twice. Of times, the last one counts, but all must be in the same unit.
    fn parse(
        words: &[&'a [u8]],
        lasting: &str,
        other: impl Fn(&mut Options<'a>, &[u8]) -> Outcome,
    ) -> Result<Options<'a>, Failure> {
        let mut options = Options::default();
        let mut rest = words.iter();
        while let Some(&option) = rest.next() {
            if is(option, lasting) && options.time.is_none() {
                options.lasts = true;
            } else if let Some(unit) = Unit::of(option) {
                let is_same = options.time.is_none_or(|(before, _)| before == unit);
                let time = rest.next().filter(|_| is_same && !options.lasts);
                options.time = Some((unit, time.ok_or(Failure::SYNTAX)?));
            } else {
                other(&mut options, option)?;
            }
        }
        Ok(options)
    }

    /// When the key is to expire, if a time was given. An error in the syntax comes before one in the number.
    fn deadline(&self, command: &str, now: u64) -> Result<Option<u64>, Failure> {
        self.time.map(|(unit, number)| unit.deadline(command, integer(number)?, now)).transpose()
    }
}

/// How a time is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    millis: i64,
    is_absolute: bool,
}

impl Unit {
    pub(super) const SECONDS: Unit = Unit { millis: 1000, is_absolute: false };
    pub(super) const MILLIS: Unit = Unit { millis: 1, is_absolute: false };
    pub(super) const SECONDS_AT: Unit = Unit { millis: 1000, is_absolute: true };
    pub(super) const MILLIS_AT: Unit = Unit { millis: 1, is_absolute: true };

    fn of(option: &[u8]) -> Option<Unit> {
        let units =
            [("EX", Unit::SECONDS), ("PX", Unit::MILLIS), ("EXAT", Unit::SECONDS_AT), ("PXAT", Unit::MILLIS_AT)];
        units.into_iter().find(|(name, _)| is(option, name)).map(|(_, unit)| unit)
    }

    /// When that is, in milliseconds since 1970; it may have been.
    pub(super) fn instant(self, command: &str, number: i64, now: u64) -> Result<i64, Failure> {
        let since = if self.is_absolute { 0 } else { now as i64 };
        let instant = number.checked_mul(self.millis).and_then(|millis| millis.checked_add(since));
        instant.ok_or_else(|| invalid_expire(command))
    }

    /// As [`instant`](Unit::instant), for commands that refuse what is not positive.
    fn deadline(self, command: &str, number: i64, now: u64) -> Result<u64, Failure> {
        if number <= 0 {
            return Err(invalid_expire(command));
        }
        Ok(self.instant(command, number, now)? as u64)
    }
}

fn invalid_expire(command: &str) -> Failure {
    Failure(format!("ERR invalid expire time in '{command}' command").into())
}

pub(super) fn set(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let (key, value) = (word(words, 1), word(words, 2));
    if words.len() == 3 {
        keyspace.put(key, value, None)?;
        replies.ok();
        return Ok(());
    }
    let options = Options::of_set(words.get(3..).unwrap_or_default())?;
    let deadline = options.deadline("set", keyspace.now())?;
    let old = keyspace.entry(key)?;
    if options.get {
        match &old {
            Some(old) => replies.bulk(&old.value),
            None => replies.nil(),
        }
    }
    let kept = old.as_ref().filter(|_| options.lasts).and_then(|old| old.expires);
    let is_allowed = options.only_if_exists.is_none_or(|exists| exists == old.is_some());
    drop(old);
    if is_allowed {
        put_until(keyspace, key, value, deadline.or(kept))?;
    }
    match (options.get, is_allowed) {
        (true, _) => {}
        (false, true) => replies.ok(),
        (false, false) => replies.nil(),
    }
    Ok(())
}

/// Puts a value that may have expired already, and is not there then. For those who watch the key it has been.
fn put_until(keyspace: &mut dyn Keyspace, key: &[u8], value: &[u8], expires: Option<u64>) -> Outcome {
    if expires.is_some_and(|expires| expires <= keyspace.now()) {
        if keyspace.entry(key)?.is_none() {
            keyspace.put(key, b"", None)?;
        }
        keyspace.remove(key)?;
        Ok(())
    } else {
        keyspace.put(key, value, expires)
    }
}

pub(super) fn setnx(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let exists = keyspace.entry(word(words, 1))?.is_some();
    if !exists {
        keyspace.put(word(words, 1), word(words, 2), None)?;
    }
    replies.integer(i64::from(!exists));
    Ok(())
}

pub(super) fn setex(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    set_for(keyspace, words, Unit::SECONDS, "setex", replies)
}

pub(super) fn psetex(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    set_for(keyspace, words, Unit::MILLIS, "psetex", replies)
}

fn set_for(keyspace: &mut dyn Keyspace, words: &[&[u8]], unit: Unit, command: &str, replies: &mut Replies) -> Outcome {
    let deadline = unit.deadline(command, integer(word(words, 2))?, keyspace.now())?;
    keyspace.put(word(words, 1), word(words, 3), Some(deadline))?;
    replies.ok();
    Ok(())
}

pub(super) fn getset(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    reply_value(keyspace, word(words, 1), replies)?;
    keyspace.put(word(words, 1), word(words, 2), None)
}

pub(super) fn getdel(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    reply_value(keyspace, word(words, 1), replies)?;
    keyspace.remove(word(words, 1))?;
    Ok(())
}

pub(super) fn getex(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let key = word(words, 1);
    let options = Options::of_getex(words.get(2..).unwrap_or_default())?;
    let Some(entry) = keyspace.entry(key)? else {
        replies.nil();
        return Ok(());
    };
    let deadline = options.deadline("getex", keyspace.now())?;
    replies.bulk(&entry.value);
    if deadline.is_some() || options.lasts && entry.expires.is_some() {
        let value = entry.value.into_owned();
        put_until(keyspace, key, &value, deadline)?;
    }
    Ok(())
}

pub(super) fn mget(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let keys = words.get(1..).unwrap_or_default();
    replies.array(keys.len());
    keys.iter().try_for_each(|key| reply_value(keyspace, key, replies))
}

/// Keys and values, one after the other.
fn pairs<'a>(
    words: &'a [&'a [u8]],
    command: &str,
) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, Failure> {
    if words.len().is_multiple_of(2) {
        return Err(Failure(format!("ERR wrong number of arguments for '{command}' command").into()));
    }
    Ok(words.get(1..).unwrap_or_default().chunks_exact(2).map(|pair| (word(pair, 0), word(pair, 1))))
}

pub(super) fn mset(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    for (key, value) in pairs(words, "mset")? {
        keyspace.put(key, value, None)?;
    }
    replies.ok();
    Ok(())
}

pub(super) fn msetnx(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let pairs = pairs(words, "msetnx")?;
    for (key, _) in pairs.clone() {
        if keyspace.entry(key)?.is_some() {
            replies.integer(0);
            return Ok(());
        }
    }
    for (key, value) in pairs {
        keyspace.put(key, value, None)?;
    }
    replies.integer(1);
    Ok(())
}

pub(super) fn append(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let (key, piece) = (word(words, 1), word(words, 2));
    let length = keyspace.value(key)?.map_or(0, |value| value.len());
    if length + piece.len() > keyspace.max_value() {
        return Err(TOO_LONG);
    }
    let length = keyspace.overwrite(key, length, piece)?;
    replies.integer(length as i64);
    Ok(())
}

pub(super) fn strlen(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let length = keyspace.value(word(words, 1))?.map_or(0, |value| value.len());
    replies.integer(length as i64);
    Ok(())
}

pub(super) fn getrange(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let (start, end) = (integer(word(words, 2))?, integer(word(words, 3))?);
    let value = keyspace.value(word(words, 1))?.unwrap_or_default();
    replies.bulk(value.get(range(start, end, value.len())).unwrap_or_default());
    Ok(())
}

pub(super) fn setrange(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let (key, piece) = (word(words, 1), word(words, 3));
    let offset = integer(word(words, 2))?;
    let offset = usize::try_from(offset).map_err(|_| Failure::new("ERR offset is out of range"))?;
    let mut length = keyspace.value(key)?.map_or(0, |value| value.len());
    if !piece.is_empty() {
        offset.checked_add(piece.len()).filter(|end| *end <= keyspace.max_value()).ok_or(TOO_LONG)?;
        length = keyspace.overwrite(key, offset, piece)?;
    }
    replies.integer(length as i64);
    Ok(())
}

pub(super) fn incr(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    add(keyspace, word(words, 1), 1, replies)
}

pub(super) fn decr(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    add(keyspace, word(words, 1), -1, replies)
}

pub(super) fn incrby(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    add(keyspace, word(words, 1), integer(word(words, 2))?, replies)
}

pub(super) fn decrby(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let number = integer(word(words, 2))?.checked_neg();
    add(keyspace, word(words, 1), number.ok_or(Failure::new("ERR decrement would overflow"))?, replies)
}

fn add(keyspace: &mut dyn Keyspace, key: &[u8], number: i64, replies: &mut Replies) -> Outcome {
    let (old, expires) = match keyspace.entry(key)? {
        Some(entry) => (integer(&entry.value)?, entry.expires),
        None => (0, None),
    };
    let sum = old.checked_add(number).ok_or(Failure::new("ERR increment or decrement would overflow"))?;
    keyspace.put(key, sum.to_string().as_bytes(), expires)?;
    replies.integer(sum);
    Ok(())
}

pub(super) fn incrbyfloat(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> Outcome {
    let key = word(words, 1);
    let entry = keyspace.entry(key)?;
    let expires = entry.as_ref().and_then(|entry| entry.expires);
    let sum = add_floats(entry.as_ref().map_or(b"0", |entry| &entry.value), word(words, 2))?;
    drop(entry);
    keyspace.put(key, sum.as_bytes(), expires)?;
    replies.bulk(sum.as_bytes());
    Ok(())
}
