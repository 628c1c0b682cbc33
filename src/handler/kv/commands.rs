//! The commands: one table, from which they are found, checked, locked for, and explained.
//!
//! Their words, replies and errors are those of [Redis](https://redis.io/docs/latest/commands/), version 7.

use super::engine::{Failure, Keyspace};
use super::reply::Replies;

mod big;
mod float;
mod keys;
mod number;
mod pattern;
mod strings;

pub(super) use keys::database;
pub(super) use pattern::matches;

/// A command of the store, or of the conversation.
#[derive(Debug)]
pub(super) struct Command {
    /// In small letters.
    pub(super) name: &'static str,
    /// The number of words, its name included; negative: at least that many.
    pub(super) arity: i32,
    pub(super) access: Access,
    pub(super) keys: Keys,
    /// Its arguments, as `HELP` shows them.
    pub(super) arguments: &'static str,
    /// What it does, as `HELP` says it.
    pub(super) summary: &'static str,
    pub(super) run: Run,
    special: &'static [Special],
}

/// Executes a command of the store. Its reply is taken back if it fails, so it may fail after it has begun to write
/// one.
pub(super) type Run = fn(&mut dyn Keyspace, &[&[u8]], &mut Replies) -> Result<(), Failure>;

/// What a command does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    Writes,
    /// It writes, but puts no value into the store: it is allowed when memory is short.
    Frees,
    /// It is about the conversation, and has nothing to do with the store.
    Talks,
}

/// What is not so of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// It is answered in a word or two and writes no more than was sent, so that many may be executed in one go. Others
    /// write a whole value again, or answer with one, however short the request is.
    Brief,
    /// The same, while it has no more words than it must have.
    BriefWithoutOptions,
    /// It needs no password.
    Open,
    /// It is executed at once, also in a transaction.
    Immediate,
    /// It is unknown to those who speak RESP, as in Redis.
    TextOnly,
}

/// Which of its words are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    None,
    First,
    FirstTwo,
    /// Each word, or each second one, up to the last.
    Every(usize),
    /// None of them, but it is about all keys.
    All,
}

impl Command {
    pub(super) fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// How it is written.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name.to_uppercase(), self.arguments).trim_end().to_owned()
    }

    pub(super) fn talks(&self) -> bool {
        self.access == Access::Talks
    }

    pub(super) fn has(&self, special: Special) -> bool {
        self.special.contains(&special)
    }

    /// Whether it is brief when it has so many words.
    pub(super) fn is_brief(&self, words: usize) -> bool {
        let has_options = words > self.arity.unsigned_abs() as usize;
        self.has(Special::Brief) || self.has(Special::BriefWithoutOptions) && !has_options
    }

    /// The first key, the last (-1: the last word), and the step, as COMMAND tells them.
    pub(super) fn key_places(&self) -> (i64, i64, i64) {
        match self.keys {
            Keys::None | Keys::All => (0, 0, 0),
            Keys::First => (1, 1, 1),
            Keys::FirstTwo => (1, 2, 1),
            Keys::Every(step) => (1, -1, step as i64),
        }
    }
}

/// Finds a command by its name, in capitals or small letters.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    // Sorted by name: see the test.
    let mut small = [0; 16];
    let small = small.get_mut(..name.len())?;
    small.copy_from_slice(name);
    small.make_ascii_lowercase();
    let place = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(small)).ok()?;
    COMMANDS.get(place)
}

/// For commands of the conversation, which the store is never asked for.
fn talk(_: &mut dyn Keyspace, _: &[&[u8]], _: &mut Replies) -> Result<(), Failure> {
    Err(Failure::new("ERR internal error: this is not a command of the store"))
}

macro_rules! commands {
    ($(
        $name:literal $arity:literal $access:ident $keys:expr, $arguments:literal $summary:literal $run:expr
        $(, $($special:ident)+)?;
    )*) => {
        &[$(Command {
            name: $name, arity: $arity, access: Access::$access, keys: $keys, arguments: $arguments, summary: $summary,
            run: $run, special: &[$($(Special::$special),+)?],
        }),*]
    };
}

/// All commands, by name.
pub(super) const COMMANDS: &[Command] = commands! {
    "append" 3 Writes Keys::First, "key value" "add to the end of a value" strings::append;
    "auth" -2 Talks Keys::None, "[user] password" "give the password" talk, Open;
    "client" -2 Talks Keys::None, "ID|INFO|LIST|KILL|GETNAME|SETNAME|..." "about connections" talk;
    "command" -1 Talks Keys::None, "[COUNT|DOCS|INFO|LIST]" "about commands" talk;
    "config" -2 Talks Keys::None, "GET pattern" "settings" talk;
    "copy" -3 Writes Keys::FirstTwo, "from to [REPLACE]" "copy a value" keys::copy;
    "dbsize" 1 Reads Keys::All, "" "the number of keys" keys::dbsize;
    "decr" 2 Writes Keys::First, "key" "subtract 1" strings::decr, Brief;
    "decrby" 3 Writes Keys::First, "key number" "subtract" strings::decrby, Brief;
    "del" -2 Frees Keys::Every(1), "key ..." "delete" keys::del, Brief;
    "discard" 1 Talks Keys::None, "" "forget the commands since MULTI" talk, Immediate;
    "echo" 2 Talks Keys::None, "text" "the text" talk;
    "exec" 1 Talks Keys::None, "" "execute the commands since MULTI" talk, Immediate;
    "exists" -2 Reads Keys::Every(1), "key ..." "how many of them exist" keys::exists;
    "expire" -3 Frees Keys::First, "key seconds [NX|XX|GT|LT]" "delete it after a time" keys::expire;
    "expireat" -3 Frees Keys::First, "key time [NX|XX|GT|LT]" "delete it at a time, in seconds since 1970"
        keys::expireat;
    "expiretime" 2 Reads Keys::First, "key" "when it expires, in seconds since 1970" keys::expiretime;
    "flushall" -1 Frees Keys::All, "" "delete all keys" keys::flush, Brief;
    "flushdb" -1 Frees Keys::All, "" "delete all keys" keys::flush, Brief;
    "get" 2 Reads Keys::First, "key" "the value" strings::get;
    "getdel" 2 Frees Keys::First, "key" "the value, and delete it" strings::getdel;
    "getex" -2 Frees Keys::First, "key [EX|PX|EXAT|PXAT time|PERSIST]" "the value, and change when it expires"
        strings::getex;
    "getrange" 4 Reads Keys::First, "key start end" "a part of the value" strings::getrange;
    "getset" 3 Writes Keys::First, "key value" "set, and get the old value" strings::getset;
    "hello" -1 Talks Keys::None, "[2|3 [AUTH user password] [SETNAME name]]" "choose the protocol" talk, Open;
    "help" -1 Talks Keys::None, "[command]" "this list, or the line of one command" talk, TextOnly;
    "incr" 2 Writes Keys::First, "key" "add 1" strings::incr, Brief;
    "incrby" 3 Writes Keys::First, "key number" "add" strings::incrby, Brief;
    "incrbyfloat" 3 Writes Keys::First, "key number" "add a number with a fraction" strings::incrbyfloat, Brief;
    "info" -1 Talks Keys::None, "[section ...]" "about the server" talk;
    "keys" 2 Reads Keys::All, "pattern" "the keys that match: h?llo, h*, h[ae]llo" keys::keys;
    "lolwut" -1 Talks Keys::None, "" "a picture" talk;
    "mget" -2 Reads Keys::Every(1), "key ..." "the values" strings::mget;
    "mset" -3 Writes Keys::Every(2), "key value ..." "set several at once" strings::mset, Brief;
    "msetnx" -3 Writes Keys::Every(2), "key value ..." "set several, if none of them exists" strings::msetnx, Brief;
    "multi" 1 Talks Keys::None, "" "execute what follows in one go, at EXEC" talk, Immediate;
    "persist" 2 Frees Keys::First, "key" "do not let it expire" keys::persist;
    "pexpire" -3 Frees Keys::First, "key milliseconds [NX|XX|GT|LT]" "delete it after a time" keys::pexpire;
    "pexpireat" -3 Frees Keys::First, "key time [NX|XX|GT|LT]" "delete it at a time, in milliseconds since 1970"
        keys::pexpireat;
    "pexpiretime" 2 Reads Keys::First, "key" "when it expires, in milliseconds since 1970" keys::pexpiretime;
    "ping" -1 Talks Keys::None, "[text]" "is anybody there?" talk;
    "psetex" 4 Writes Keys::First, "key milliseconds value" "set, for a time" strings::psetex, Brief;
    "pttl" 2 Reads Keys::First, "key" "milliseconds until it expires" keys::pttl;
    "quit" -1 Talks Keys::None, "" "close the connection" talk, Open Immediate;
    "randomkey" 1 Reads Keys::All, "" "some key" keys::randomkey;
    "rename" 3 Writes Keys::FirstTwo, "from to" "rename" keys::rename;
    "renamenx" 3 Writes Keys::FirstTwo, "from to" "rename, if the new name is free" keys::renamenx;
    "reset" 1 Talks Keys::None, "" "as if just connected" talk, Open Immediate;
    "scan" -2 Reads Keys::All, "cursor [MATCH pattern] [COUNT n] [TYPE type]" "keys, some at a time" keys::scan;
    "select" 2 Talks Keys::None, "0" "the database: there is one" talk;
    "set" -3 Writes Keys::First, "key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time|KEEPTTL]" "set"
        strings::set, BriefWithoutOptions;
    "setex" 4 Writes Keys::First, "key seconds value" "set, for a time" strings::setex, Brief;
    "setnx" 3 Writes Keys::First, "key value" "set, if it does not exist" strings::setnx, Brief;
    "setrange" 4 Writes Keys::First, "key offset value" "overwrite a part of the value" strings::setrange;
    "strlen" 2 Reads Keys::First, "key" "the length of the value" strings::strlen;
    "substr" 4 Reads Keys::First, "key start end" "a part of the value" strings::getrange;
    "time" 1 Talks Keys::None, "" "seconds since 1970, and microseconds" talk;
    "touch" -2 Reads Keys::Every(1), "key ..." "how many of them exist" keys::exists;
    "ttl" 2 Reads Keys::First, "key" "seconds until it expires" keys::ttl;
    "type" 2 Reads Keys::First, "key" "string, or none" keys::type_of;
    "unlink" -2 Frees Keys::Every(1), "key ..." "delete" keys::del, Brief;
    "unwatch" 1 Talks Keys::None, "" "watch no keys any more" talk;
    "watch" -2 Talks Keys::Every(1), "key ..." "let EXEC fail if they change" talk;
};

/// Whether a word is one of the options, which are written in capitals or small letters.
pub(super) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// The word at a place; the arity has been checked.
fn word<'a>(words: &[&'a [u8]], place: usize) -> &'a [u8] {
    words.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for command in COMMANDS {
            assert_eq!(find(command.name.to_uppercase().as_bytes()).unwrap().name, command.name);
        }
        assert!(find(b"nonsense").is_none() && find(b"").is_none() && find(&[b'x'; 100]).is_none());
    }
}
