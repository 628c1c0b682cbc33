//! Commands that read and write values (Redis's strings).

use super::number::{add_floats, integer, range};
use super::time_unit::TimeUnit;
use super::{is, word};
use crate::handler::kv::keyspace::{CommandError, CommandResult, Keyspace};
use crate::handler::kv::reply::Replies;

const TOO_LONG: CommandError = CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

pub(super) fn get(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    reply_value(keyspace, word(words, 1), replies)
}

fn reply_value(keyspace: &mut dyn Keyspace, key: &[u8], replies: &mut Replies) -> CommandResult {
    match keyspace.value(key)? {
        Some(value) => replies.bulk(&value),
        None => replies.nil(),
    }
    Ok(())
}

/// The options of SET and GETEX.
#[derive(Default)]
struct SetOptions<'a> {
    /// SET's NX: only if the key does not exist.
    nx: bool,
    /// SET's XX: only if the key exists.
    xx: bool,
    /// SET's GET.
    get: bool,
    /// SET's KEEPTTL.
    keep_ttl: bool,
    /// GETEX's PERSIST.
    persist: bool,
    /// EX, PX, EXAT or PXAT, and its number.
    expiry: Option<(TimeUnit, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    fn of_set(words: &[&'a [u8]]) -> Result<SetOptions<'a>, CommandError> {
        SetOptions::parse(words, |options, option| {
            if is(option, "NX") && !options.xx {
                options.nx = true;
            } else if is(option, "XX") && !options.nx {
                options.xx = true;
            } else if is(option, "GET") {
                options.get = true;
            } else if is(option, "KEEPTTL") && options.expiry.is_none() {
                options.keep_ttl = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
            Ok(())
        })
    }

    fn of_getex(words: &[&'a [u8]]) -> Result<SetOptions<'a>, CommandError> {
        SetOptions::parse(words, |options, option| {
            if is(option, "PERSIST") && options.expiry.is_none() {
                options.persist = true;
                Ok(())
            } else {
                Err(CommandError::SYNTAX)
            }
        })
    }

    /// Parses the expiry options here and leaves the others to `parse_other`. Options may be repeated. The last expiry
    /// time counts, but all of them must be in the same unit.
    fn parse(
        words: &[&'a [u8]],
        parse_other: impl Fn(&mut SetOptions<'a>, &[u8]) -> CommandResult,
    ) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions::default();
        let mut rest = words.iter();
        while let Some(&option) = rest.next() {
            let Some(unit) = TimeUnit::from_option(option) else {
                parse_other(&mut options, option)?;
                continue;
            };
            let is_same_unit = options.expiry.is_none_or(|(previous, _)| previous == unit);
            let is_allowed = is_same_unit && !options.keep_ttl && !options.persist;
            let number = rest.next().filter(|_| is_allowed);
            options.expiry = Some((unit, number.ok_or(CommandError::SYNTAX)?));
        }
        Ok(options)
    }

    /// The new expiry time, if one was given. Its number is parsed only now, because Redis reports a syntax error in
    /// any option first.
    fn expiry_time(&self, command: &str, now: u64) -> Result<Option<u64>, CommandError> {
        self.expiry.map(|(unit, number)| unit.positive_expiry_time(command, integer(number)?, now)).transpose()
    }
}

pub(super) fn set(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let (key, value) = (word(words, 1), word(words, 2));
    if words.len() == 3 {
        keyspace.put(key, value, None)?;
        replies.ok();
        return Ok(());
    }
    let options = SetOptions::of_set(words.get(3..).unwrap_or_default())?;
    let expires_at = options.expiry_time("set", keyspace.now())?;
    let old = keyspace.entry(key)?;
    if options.get {
        match &old {
            Some(old) => replies.bulk(&old.value),
            None => replies.nil(),
        }
    }
    let kept = old.as_ref().filter(|_| options.keep_ttl).and_then(|old| old.expires_at);
    let is_allowed = if old.is_some() { !options.nx } else { !options.xx };
    drop(old);
    if is_allowed {
        put_unless_expired(keyspace, key, value, expires_at.or(kept))?;
    }
    match (options.get, is_allowed) {
        (true, _) => {}
        (false, true) => replies.ok(),
        (false, false) => replies.nil(),
    }
    Ok(())
}

/// Stores a value, or removes the key if the expiry time has already passed. Either way the key counts as modified for
/// WATCH, which is why a missing key is stored before it is removed.
fn put_unless_expired(keyspace: &mut dyn Keyspace, key: &[u8], value: &[u8], expires_at: Option<u64>) -> CommandResult {
    if expires_at.is_some_and(|expires_at| expires_at <= keyspace.now()) {
        if keyspace.entry(key)?.is_none() {
            keyspace.put(key, b"", None)?;
        }
        keyspace.remove(key)?;
        Ok(())
    } else {
        keyspace.put(key, value, expires_at)
    }
}

pub(super) fn setnx(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let exists = keyspace.entry(word(words, 1))?.is_some();
    if !exists {
        keyspace.put(word(words, 1), word(words, 2), None)?;
    }
    replies.integer(i64::from(!exists));
    Ok(())
}

pub(super) fn setex(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    set_with_expiry(keyspace, words, TimeUnit::SECONDS, "setex", replies)
}

pub(super) fn psetex(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    set_with_expiry(keyspace, words, TimeUnit::MILLIS, "psetex", replies)
}

fn set_with_expiry(
    keyspace: &mut dyn Keyspace,
    words: &[&[u8]],
    unit: TimeUnit,
    command: &str,
    replies: &mut Replies,
) -> CommandResult {
    let expires_at = unit.positive_expiry_time(command, integer(word(words, 2))?, keyspace.now())?;
    keyspace.put(word(words, 1), word(words, 3), Some(expires_at))?;
    replies.ok();
    Ok(())
}

pub(super) fn getset(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    reply_value(keyspace, word(words, 1), replies)?;
    keyspace.put(word(words, 1), word(words, 2), None)
}

pub(super) fn getdel(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    reply_value(keyspace, word(words, 1), replies)?;
    keyspace.remove(word(words, 1))?;
    Ok(())
}

pub(super) fn getex(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let key = word(words, 1);
    let options = SetOptions::of_getex(words.get(2..).unwrap_or_default())?;
    let Some(entry) = keyspace.entry(key)? else {
        replies.nil();
        return Ok(());
    };
    let expires_at = options.expiry_time("getex", keyspace.now())?;
    replies.bulk(&entry.value);
    if expires_at.is_some() || options.persist && entry.expires_at.is_some() {
        let value = entry.value.into_owned();
        put_unless_expired(keyspace, key, &value, expires_at)?;
    }
    Ok(())
}

pub(super) fn mget(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let keys = words.get(1..).unwrap_or_default();
    replies.array(keys.len());
    keys.iter().try_for_each(|key| reply_value(keyspace, key, replies))
}

/// The arguments of MSET and MSETNX as pairs of a key and a value.
fn pairs<'a>(
    words: &'a [&'a [u8]],
    command: &str,
) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, CommandError> {
    if words.len().is_multiple_of(2) {
        return Err(CommandError(format!("ERR wrong number of arguments for '{command}' command").into()));
    }
    Ok(words.get(1..).unwrap_or_default().chunks_exact(2).map(|pair| (word(pair, 0), word(pair, 1))))
}

pub(super) fn mset(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    for (key, value) in pairs(words, "mset")? {
        keyspace.put(key, value, None)?;
    }
    replies.ok();
    Ok(())
}

pub(super) fn msetnx(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
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

pub(super) fn append(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let (key, piece) = (word(words, 1), word(words, 2));
    let length = keyspace.value(key)?.map_or(0, |value| value.len());
    if length + piece.len() > keyspace.max_value() {
        return Err(TOO_LONG);
    }
    let length = keyspace.overwrite(key, length, piece)?;
    replies.integer(length as i64);
    Ok(())
}

pub(super) fn strlen(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let length = keyspace.value(word(words, 1))?.map_or(0, |value| value.len());
    replies.integer(length as i64);
    Ok(())
}

pub(super) fn getrange(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let (start, end) = (integer(word(words, 2))?, integer(word(words, 3))?);
    let value = keyspace.value(word(words, 1))?.unwrap_or_default();
    replies.bulk(value.get(range(start, end, value.len())).unwrap_or_default());
    Ok(())
}

pub(super) fn setrange(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let (key, piece) = (word(words, 1), word(words, 3));
    let offset = integer(word(words, 2))?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::new("ERR offset is out of range"))?;
    let mut length = keyspace.value(key)?.map_or(0, |value| value.len());
    if !piece.is_empty() {
        offset.checked_add(piece.len()).filter(|end| *end <= keyspace.max_value()).ok_or(TOO_LONG)?;
        length = keyspace.overwrite(key, offset, piece)?;
    }
    replies.integer(length as i64);
    Ok(())
}

pub(super) fn incr(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    add_integer(keyspace, word(words, 1), 1, replies)
}

pub(super) fn decr(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    add_integer(keyspace, word(words, 1), -1, replies)
}

pub(super) fn incrby(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    add_integer(keyspace, word(words, 1), integer(word(words, 2))?, replies)
}

pub(super) fn decrby(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let number = integer(word(words, 2))?.checked_neg();
    add_integer(keyspace, word(words, 1), number.ok_or(CommandError::new("ERR decrement would overflow"))?, replies)
}

fn add_integer(keyspace: &mut dyn Keyspace, key: &[u8], number: i64, replies: &mut Replies) -> CommandResult {
    let (old, expires_at) = match keyspace.entry(key)? {
        Some(entry) => (integer(&entry.value)?, entry.expires_at),
        None => (0, None),
    };
    let sum = old.checked_add(number).ok_or(CommandError::new("ERR increment or decrement would overflow"))?;
    keyspace.put(key, sum.to_string().as_bytes(), expires_at)?;
    replies.integer(sum);
    Ok(())
}

pub(super) fn incrbyfloat(keyspace: &mut dyn Keyspace, words: &[&[u8]], replies: &mut Replies) -> CommandResult {
    let key = word(words, 1);
    let entry = keyspace.entry(key)?;
    let expires_at = entry.as_ref().and_then(|entry| entry.expires_at);
    let sum = add_floats(entry.as_ref().map_or(b"0", |entry| &entry.value), word(words, 2))?;
    drop(entry);
    keyspace.put(key, sum.as_bytes(), expires_at)?;
    replies.bulk(sum.as_bytes());
    Ok(())
}
