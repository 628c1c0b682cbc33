//! Compares replies: byte by byte, except for the order of keys and the passing of time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::generate::TestCommand;

/// A reply. Two replies are equal if and only if all their bytes are.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawReply {
    pub kind: u8,
    /// The rest of the first line, after the kind.
    pub line: Vec<u8>,
    /// The content of a string.
    pub body: Vec<u8>,
    /// The elements of an array, a set or a map.
    pub items: Vec<RawReply>,
}

impl fmt::Debug for RawReply {
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

/// Quotes and escapes bytes.
pub fn show(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// How much two replies may differ.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The duration of the sequence. The two servers may execute a command this far apart.
    pub elapsed: Duration,
    /// The most keys that may have expired. Redis's DBSIZE counts such a key until Redis finds it expired.
    pub expired: usize,
}

impl Tolerance {
    /// How much two remaining times may differ. They depend on when the expiry time was set and when it was read, and
    /// each of these may happen late.
    fn millis(self) -> i64 {
        2 * self.elapsed.as_millis() as i64 + 20
    }
}

/// What must be equal in two replies to a command.
#[derive(Clone, Copy, Debug)]
enum Equality {
    Bytes,
    /// An array, in any order.
    Members,
    /// A cursor and an array in any order. Only the cursor 0 has a meaning.
    Scan,
    /// The kind of reply, and whether it is nil. Errors must be equal.
    Kind,
    Count,
    /// A remaining time, in units of this many milliseconds.
    TimeLeft(i64),
    /// An expiry time, in units of this many milliseconds.
    ExpiryTime(i64),
}

impl Equality {
    fn of(command: &TestCommand) -> Equality {
        match command.name().as_str() {
            "keys" => Equality::Members,
            // Each server has its own order, so it may return any keys for another cursor.
            "scan" if command.0.get(1).is_some_and(|cursor| cursor == b"0") => Equality::Scan,
            "scan" => Equality::Kind,
            "randomkey" => Equality::Kind,
            "dbsize" => Equality::Count,
            "ttl" => Equality::TimeLeft(1000),
            "pttl" => Equality::TimeLeft(1),
            "expiretime" => Equality::ExpiryTime(1000),
            "pexpiretime" => Equality::ExpiryTime(1),
            _ => Equality::Bytes,
        }
    }

    fn holds(self, redis: &RawReply, acceptd: &RawReply, tolerance: Tolerance) -> bool {
        if redis == acceptd {
            return true;
        }
        match self {
            Equality::Bytes => false,
            Equality::Members => sorted(redis) == sorted(acceptd),
            Equality::Kind => {
                redis.kind == acceptd.kind && redis.kind != b'-' && (redis.line == b"-1") == (acceptd.line == b"-1")
            }
            Equality::Scan => match (&redis.items[..], &acceptd.items[..]) {
                ([cursor, keys], [other_cursor, other_keys]) => {
                    let is_whole = cursor.body == b"0" && other_cursor.body == b"0";
                    !is_whole || sorted(keys) == sorted(other_keys)
                }
                _ => false,
            },
            Equality::Count => within(redis, acceptd, tolerance.expired as i64),
            Equality::TimeLeft(unit) => within(redis, acceptd, tolerance.millis() / unit + i64::from(unit > 1)),
            Equality::ExpiryTime(unit) => {
                // Redis adds 500 to round to seconds. That overflows for the latest times and makes the reply negative.
                let overflows = number(redis).is_some_and(|number| number < -2);
                // Times that far away were given as absolute times, so they do not depend on the clock.
                let is_absolute = number(redis).is_some_and(|number| number.saturating_mul(unit) > in_a_year());
                overflows || !is_absolute && within(redis, acceptd, tolerance.millis() / unit + i64::from(unit > 1))
            }
        }
    }
}

fn sorted(frame: &RawReply) -> RawReply {
    let mut frame = frame.clone();
    frame.items.sort();
    frame
}

fn number(frame: &RawReply) -> Option<i64> {
    let digits = std::str::from_utf8(&frame.line).ok().filter(|_| frame.kind == b':')?;
    digits.parse().ok()
}

/// Whether both are numbers of at least 0 and at most `distance` apart. Negative numbers have special meanings.
fn within(left: &RawReply, right: &RawReply, distance: i64) -> bool {
    match (number(left), number(right)) {
        (Some(left @ 0..), Some(right @ 0..)) => (left - right).abs() <= distance,
        _ => false,
    }
}

/// The time in a year, in milliseconds since 1970.
fn in_a_year() -> i64 {
    let later = SystemTime::now() + Duration::from_secs(365 * 24 * 3600);
    later.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The commands of a sequence and both replies to each. They are compared at the end of the sequence.
#[derive(Debug, Default)]
pub struct ReplyComparison {
    exchanges: Vec<(usize, TestCommand, RawReply, RawReply)>,
}

impl ReplyComparison {
    pub fn add(&mut self, client: usize, commands: &[&TestCommand], replies: Vec<(RawReply, RawReply)>) {
        for (command, (redis, acceptd)) in commands.iter().zip(replies) {
            self.exchanges.push((client, (*command).clone(), redis, acceptd));
        }
    }

    /// The error describes the first difference.
    pub fn check(&self, tolerance: Tolerance) -> Result<(), String> {
        // For each client, the commands that wait for EXEC, in the order of their replies.
        let mut queued: BTreeMap<usize, Vec<Equality>> = BTreeMap::new();
        for (index, (client, command, redis, acceptd)) in self.exchanges.iter().enumerate() {
            let waiting = queued.entry(*client).or_default();
            let holds = match command.name().as_str() {
                "exec" => {
                    let waiting = std::mem::take(waiting);
                    let (expected, actual) = (&redis.items, &acceptd.items);
                    let is_same_length = expected.len() == actual.len() && expected.len() == waiting.len();
                    let mut replies = waiting.iter().zip(expected.iter().zip(actual));
                    redis == acceptd
                        || is_same_length
                            && replies.all(|(equality, (left, right))| equality.holds(left, right, tolerance))
                }
                _ => Equality::of(command).holds(redis, acceptd, tolerance),
            };
            match (command.name().as_str(), &redis.line[..]) {
                ("multi" | "discard", b"OK") | ("reset", _) => waiting.clear(),
                (_, b"QUEUED") if redis.kind == b'+' => waiting.push(Equality::of(command)),
                _ => {}
            }
            if !holds {
                return Err(format!(
                    "command {index}, of client {client}: {command:?}\n  Redis replies   {redis:?}\n  acceptd replies {acceptd:?}\n"
                ));
            }
        }
        Ok(())
    }
}
