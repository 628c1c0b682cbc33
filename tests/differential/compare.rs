//! Replies, and what makes two of them the same: all bytes, but for the order of keys and the passing of time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::generate::Command;

/// A reply. Two of them are equal if and only if all their bytes are.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    pub kind: u8,
    /// What stands after the kind on the first line.
    pub line: Vec<u8>,
    /// Of a string.
    pub body: Vec<u8>,
    /// Of an array, a set or a map.
    pub items: Vec<Frame>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.kind), self.line.escape_ascii())?;
        if self.kind == b'$' && self.line != b"-1" {
            write!(f, " {}", show(&self.body))?;
        }
        if !self.items.is_empty() {
            write!(f, " {:?}", self.items)?;
        }
        Ok(())
    }
}

/// Bytes in quotes.
pub fn show(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// How much two replies may differ.
#[derive(Clone, Copy, Debug)]
pub struct Slack {
    /// The sequence took this long, and so much may lie between the times at which both execute a command.
    pub elapsed: Duration,
    /// Keys that have expired at most. Redis counts them until it finds them, in DBSIZE and nowhere else.
    pub expired: usize,
}

impl Slack {
    /// Between two times left until a deadline that depends on when it was set: each of the two commands may be late.
    fn millis(self) -> i64 {
        2 * self.elapsed.as_millis() as i64 + 20
    }
}

/// What is the same in two replies to a command.
#[derive(Clone, Copy, Debug)]
enum Same {
    Bytes,
    /// An array, in any order.
    Members,
    /// A cursor, and an array in any order. A cursor may mean anything but 0.
    Scan,
    /// Nothing, or something of this kind; an error is the same one.
    Kind,
    Count,
    /// Time left: in units of so many milliseconds.
    Left(i64),
    /// A time: in units of so many milliseconds.
    Deadline(i64),
}

impl Same {
    fn of(command: &Command) -> Same {
        match command.name().as_str() {
            "keys" => Same::Members,
            // What comes after another cursor is up to the server.
            "scan" if command.0.get(1).is_some_and(|cursor| cursor == b"0") => Same::Scan,
            "scan" => Same::Kind,
            "randomkey" => Same::Kind,
            "dbsize" => Same::Count,
            "ttl" => Same::Left(1000),
            "pttl" => Same::Left(1),
            "expiretime" => Same::Deadline(1000),
            "pexpiretime" => Same::Deadline(1),
            _ => Same::Bytes,
        }
    }

    fn holds(self, redis: &Frame, acceptd: &Frame, slack: Slack) -> bool {
        if redis == acceptd {
            return true;
        }
        match self {
            Same::Bytes => false,
            Same::Members => sorted(redis) == sorted(acceptd),
            Same::Kind => {
                redis.kind == acceptd.kind && redis.kind != b'-' && (redis.line == b"-1") == (acceptd.line == b"-1")
            }
            Same::Scan => match (&redis.items[..], &acceptd.items[..]) {
                ([cursor, keys], [other_cursor, other_keys]) => {
                    let is_whole = cursor.body == b"0" && other_cursor.body == b"0";
                    !is_whole || sorted(keys) == sorted(other_keys)
                }
                _ => false,
            },
            Same::Count => within(redis, acceptd, slack.expired as i64),
            Same::Left(unit) => within(redis, acceptd, slack.millis() / unit + i64::from(unit > 1)),
            Same::Deadline(unit) => {
                // Redis adds 500 to round to seconds, past the largest number, and answers with a negative one.
                let overflows = number(redis).is_some_and(|number| number < -2);
                // Times that far away were given, and not reckoned from now.
                let is_given = number(redis).is_some_and(|number| number.saturating_mul(unit) > in_a_year());
                overflows || !is_given && within(redis, acceptd, slack.millis() / unit + i64::from(unit > 1))
            }
        }
    }
}

fn sorted(frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    frame.items.sort();
    frame
}

fn number(frame: &Frame) -> Option<i64> {
    let digits = std::str::from_utf8(&frame.line).ok().filter(|_| frame.kind == b':')?;
    digits.parse().ok()
}

/// Whether both are numbers, not negative, and so close. Negative ones mean something else.
fn within(one: &Frame, other: &Frame, distance: i64) -> bool {
    match (number(one), number(other)) {
        (Some(one @ 0..), Some(other @ 0..)) => (one - other).abs() <= distance,
        _ => false,
    }
}

/// In milliseconds since 1970.
fn in_a_year() -> i64 {
    let later = SystemTime::now() + Duration::from_secs(365 * 24 * 3600);
    later.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// What was said and answered in a sequence, to be compared when it is over.
#[derive(Debug, Default)]
pub struct Comparison {
    said: Vec<(usize, Command, Frame, Frame)>,
}

impl Comparison {
    pub fn note(&mut self, talker: usize, commands: &[&Command], replies: Vec<(Frame, Frame)>) {
        for (command, (redis, acceptd)) in commands.iter().zip(replies) {
            self.said.push((talker, (*command).clone(), redis, acceptd));
        }
    }

    /// The first difference, if there is one.
    pub fn check(&self, slack: Slack) -> Result<(), String> {
        // Commands of each client that wait for EXEC, by the order of their replies in its own.
        let mut queued: BTreeMap<usize, Vec<Same>> = BTreeMap::new();
        for (place, (talker, command, redis, acceptd)) in self.said.iter().enumerate() {
            let waiting = queued.entry(*talker).or_default();
            let holds = match command.name().as_str() {
                "exec" => {
                    let waiting = std::mem::take(waiting);
                    let (some, others) = (&redis.items, &acceptd.items);
                    let as_long = some.len() == others.len() && some.len() == waiting.len();
                    let mut each = waiting.iter().zip(some.iter().zip(others));
                    redis == acceptd || as_long && each.all(|(same, (one, other))| same.holds(one, other, slack))
                }
                _ => Same::of(command).holds(redis, acceptd, slack),
            };
            match (command.name().as_str(), &redis.line[..]) {
                ("multi" | "discard", b"OK") | ("reset", _) => waiting.clear(),
                (_, b"QUEUED") if redis.kind == b'+' => waiting.push(Same::of(command)),
                _ => {}
            }
            if !holds {
                return Err(format!(
                    "command {place}, of client {talker}: {command:?}\n  Redis says   {redis:?}\n  acceptd says {acceptd:?}\n"
                ));
            }
        }
        Ok(())
    }
}
