//! The commands: one table for lookup, arity checks, locking and HELP.
//!
//! Names, replies and errors are those of [Redis](https://redis.io/docs/latest/commands/), version 7.

use super::keyspace::{CommandError, CommandResult, Keyspace};
use super::reply::Replies;

mod big_uint;
mod keys;
mod long_double;
mod number;
mod pattern;
mod strings;
mod time_unit;

pub(super) use keys::check_database;
pub(super) use pattern::matches;

/// A command that works on the store, or on the connection.
#[derive(Debug)]
pub(super) struct Command {
    /// In lower case.
    pub(super) name: &'static str,
    /// The number of words, including the name. Negative: at least that many.
    pub(super) arity: i32,
    pub(super) access: Access,
    pub(super) keys: KeySpec,
    /// The arguments, as `HELP` shows them.
    pub(super) arguments: &'static str,
    /// What it does, as `HELP` shows it.
    pub(super) summary: &'static str,
    pub(super) run: Run,
    flags: &'static [Flag],
}

/// Executes a store command on its words and adds one reply. It may fail after it has written a part of the reply; the
/// caller removes that part.
pub(super) type Run = fn(&mut dyn Keyspace, &[&[u8]], &mut Replies) -> CommandResult;

/// What a command does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    Writes,
    /// Writes, but adds no value. It may run when memory is short.
    Removes,
    /// Does not touch the store. The session executes it.
    Connection,
}

/// Properties that only some commands have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// The reply is short and the command writes no more than its request's size, so many such calls may share a batch.
    /// Other commands may copy or return a whole value, however short the request is.
    Batchable,
    /// Batchable unless options follow the required words.
    BatchableWithoutOptions,
    /// Allowed before authentication.
    NoAuth,
    /// Executed at once even between MULTI and EXEC.
    Immediate,
    /// Unknown in RESP, because Redis does not have it.
    TextOnly,
}

/// Which words of a request are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySpec {
    None,
    First,
    FirstTwo,
    /// Every word (1) or every second word (2), up to the last.
    Every(usize),
    /// No word is a key, but the command concerns all keys.
    All,
}

impl Command {
    pub(super) fn accepts_word_count(&self, word_count: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { word_count >= arity } else { word_count == arity }
    }

    /// The name and the arguments, for people.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name.to_uppercase(), self.arguments).trim_end().to_owned()
    }

    pub(super) fn is_connection_command(&self) -> bool {
        self.access == Access::Connection
    }

    pub(super) fn has_flag(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether a request with this many words may share a batch with others.
    pub(super) fn is_batchable(&self, word_count: usize) -> bool {
        let has_options = word_count > self.arity.unsigned_abs() as usize;
        self.has_flag(Flag::Batchable) || self.has_flag(Flag::BatchableWithoutOptions) && !has_options
    }

    /// The index of the first key, the index of the last (-1: the last word), and the step, as COMMAND reports them.
    pub(super) fn key_positions(&self) -> (i64, i64, i64) {
        match self.keys {
            KeySpec::None | KeySpec::All => (0, 0, 0),
            KeySpec::First => (1, 1, 1),
            KeySpec::FirstTwo => (1, 2, 1),
            KeySpec::Every(step) => (1, -1, step as i64),
        }
    }
}

/// Finds a command by its name, in upper or lower case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let mut buffer = [0; 16];
    let lower_case = buffer.get_mut(..name.len())?;
    lower_case.copy_from_slice(name);
    lower_case.make_ascii_lowercase();
    let index = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(lower_case)).ok()?;
    COMMANDS.get(index)
}

/// Stands in the table for commands that the session executes.
fn session_command(_: &mut dyn Keyspace, _: &[&[u8]], _: &mut Replies) -> CommandResult {
    Err(CommandError::new("ERR internal error: this is not a command of the store"))
}

macro_rules! commands {
    ($(
        $name:literal $arity:literal $access:ident $keys:expr, $arguments:literal $summary:literal $run:expr
        $(, $($flag:ident)+)?;
    )*) => {
        &[$(Command {
            name: $name, arity: $arity, access: Access::$access, keys: $keys, arguments: $arguments, summary: $summary,
            run: $run, flags: &[$($(Flag::$flag),+)?],
        }),*]
    };
}

/// All commands, sorted by name.
pub(super) const COMMANDS: &[Command] = commands! {
    "append" 3 Writes KeySpec::First, "key value" "add text to the end of a value" strings::append;
    "auth" -2 Connection KeySpec::None, "[user] password" "give the password" session_command, NoAuth;
    "client" -2 Connection KeySpec::None, "ID|INFO|LIST|KILL|GETNAME|SETNAME|..." "show, name or end connections"
        session_command;
    "command" -1 Connection KeySpec::None, "[COUNT|DOCS|INFO|LIST]" "describe the commands" session_command;
    "config" -2 Connection KeySpec::None, "GET pattern" "show settings" session_command;
    "copy" -3 Writes KeySpec::FirstTwo, "from to [REPLACE]" "copy a value" keys::copy;
    "dbsize" 1 Reads KeySpec::All, "" "count the keys" keys::dbsize;
    "decr" 2 Writes KeySpec::First, "key" "subtract 1" strings::decr, Batchable;
    "decrby" 3 Writes KeySpec::First, "key number" "subtract a number" strings::decrby, Batchable;
    "del" -2 Removes KeySpec::Every(1), "key ..." "delete keys" keys::del, Batchable;
    "discard" 1 Connection KeySpec::None, "" "discard the commands since MULTI" session_command, Immediate;
    "echo" 2 Connection KeySpec::None, "text" "reply with the text" session_command;
    "exec" 1 Connection KeySpec::None, "" "execute the commands since MULTI" session_command, Immediate;
    "exists" -2 Reads KeySpec::Every(1), "key ..." "count how many exist" keys::exists;
    "expire" -3 Removes KeySpec::First, "key seconds [NX|XX|GT|LT]" "let a key expire after a time" keys::expire;
    "expireat" -3 Removes KeySpec::First, "key time [NX|XX|GT|LT]" "let a key expire at a time, in seconds since 1970"
        keys::expireat;
    "expiretime" 2 Reads KeySpec::First, "key" "show when a key expires, in seconds since 1970" keys::expiretime;
    "flushall" -1 Removes KeySpec::All, "" "delete all keys" keys::flush, Batchable;
    "flushdb" -1 Removes KeySpec::All, "" "delete all keys" keys::flush, Batchable;
    "get" 2 Reads KeySpec::First, "key" "get a value" strings::get;
    "getdel" 2 Removes KeySpec::First, "key" "get a value and delete the key" strings::getdel;
    "getex" -2 Removes KeySpec::First, "key [EX|PX|EXAT|PXAT time|PERSIST]" "get a value and change its expiry time"
        strings::getex;
    "getrange" 4 Reads KeySpec::First, "key start end" "get a part of a value" strings::getrange;
    "getset" 3 Writes KeySpec::First, "key value" "set a value and get the old one" strings::getset;
    "hello" -1 Connection KeySpec::None, "[2|3 [AUTH user password] [SETNAME name]]" "choose the protocol"
        session_command, NoAuth;
    "help" -1 Connection KeySpec::None, "[command]" "show this list, or the line of one command"
        session_command, TextOnly;
    "incr" 2 Writes KeySpec::First, "key" "add 1" strings::incr, Batchable;
    "incrby" 3 Writes KeySpec::First, "key number" "add a number" strings::incrby, Batchable;
    "incrbyfloat" 3 Writes KeySpec::First, "key number" "add a decimal number" strings::incrbyfloat, Batchable;
    "info" -1 Connection KeySpec::None, "[section ...]" "describe the server" session_command;
    "keys" 2 Reads KeySpec::All, "pattern" "list the keys that match: h?llo, h*, h[ae]llo" keys::keys;
    "lolwut" -1 Connection KeySpec::None, "" "draw a picture" session_command;
    "mget" -2 Reads KeySpec::Every(1), "key ..." "get several values" strings::mget;
    "mset" -3 Writes KeySpec::Every(2), "key value ..." "set several values at once" strings::mset, Batchable;
    "msetnx" -3 Writes KeySpec::Every(2), "key value ..." "set several values if none of the keys exists"
        strings::msetnx, Batchable;
    "multi" 1 Connection KeySpec::None, "" "queue the following commands until EXEC" session_command, Immediate;
    "persist" 2 Removes KeySpec::First, "key" "remove the expiry time of a key" keys::persist;
    "pexpire" -3 Removes KeySpec::First, "key milliseconds [NX|XX|GT|LT]" "let a key expire after a time" keys::pexpire;
    "pexpireat" -3 Removes KeySpec::First, "key time [NX|XX|GT|LT]"
        "let a key expire at a time, in milliseconds since 1970"
        keys::pexpireat;
    "pexpiretime" 2 Reads KeySpec::First, "key" "show when a key expires, in milliseconds since 1970" keys::pexpiretime;
    "ping" -1 Connection KeySpec::None, "[text]" "check that the server replies" session_command;
    "psetex" 4 Writes KeySpec::First, "key milliseconds value" "set a value that expires" strings::psetex, Batchable;
    "pttl" 2 Reads KeySpec::First, "key" "show the milliseconds until a key expires" keys::pttl;
    "quit" -1 Connection KeySpec::None, "" "close the connection" session_command, NoAuth Immediate;
    "randomkey" 1 Reads KeySpec::All, "" "get a random key" keys::randomkey;
    "rename" 3 Writes KeySpec::FirstTwo, "from to" "rename a key" keys::rename;
    "renamenx" 3 Writes KeySpec::FirstTwo, "from to" "rename a key if the new name is free" keys::renamenx;
    "reset" 1 Connection KeySpec::None, "" "reset the connection to its initial state"
        session_command, NoAuth Immediate;
    "scan" -2 Reads KeySpec::All, "cursor [MATCH pattern] [COUNT n] [TYPE type]" "list keys in several steps"
        keys::scan;
    "select" 2 Connection KeySpec::None, "0" "choose the database: only 0 exists" session_command;
    "set" -3 Writes KeySpec::First, "key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time|KEEPTTL]" "set a value"
        strings::set, BatchableWithoutOptions;
    "setex" 4 Writes KeySpec::First, "key seconds value" "set a value that expires" strings::setex, Batchable;
    "setnx" 3 Writes KeySpec::First, "key value" "set a value if the key does not exist" strings::setnx, Batchable;
    "setrange" 4 Writes KeySpec::First, "key offset value" "overwrite a part of a value" strings::setrange;
    "strlen" 2 Reads KeySpec::First, "key" "get the length of a value" strings::strlen;
    "substr" 4 Reads KeySpec::First, "key start end" "get a part of a value" strings::getrange;
    "time" 1 Connection KeySpec::None, "" "show the seconds since 1970, and the microseconds" session_command;
    "touch" -2 Reads KeySpec::Every(1), "key ..." "count how many exist" keys::exists;
    "ttl" 2 Reads KeySpec::First, "key" "show the seconds until a key expires" keys::ttl;
    "type" 2 Reads KeySpec::First, "key" "show the type of a value: string or none" keys::type_of;
    "unlink" -2 Removes KeySpec::Every(1), "key ..." "delete keys" keys::del, Batchable;
    "unwatch" 1 Connection KeySpec::None, "" "stop watching all keys" session_command;
    "watch" -2 Connection KeySpec::Every(1), "key ..." "make EXEC fail if the keys change" session_command;
};

/// Whether a word is this option, in upper or lower case.
pub(super) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// The word at `index`. Never missing in practice, because the caller has checked the arity.
fn word<'a>(words: &[&'a [u8]], index: usize) -> &'a [u8] {
    words.get(index).copied().unwrap_or_default()
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
