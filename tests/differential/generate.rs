//! Generates sequences of commands. Most are valid; some are wrong in the ways that a client may get them wrong.
//!
//! The following is left out, because the replies differ for a reason:
//!
//! - Times that overflow 64 bits in Redis: EXPIRETIME of the last possible millisecond. The command is generated, but its
//!   reply is not compared.
//! - Commands that acceptd does not have, because it stores only strings, and commands that describe the server itself
//!   (INFO, CLIENT, COMMAND, CONFIG …).
//! - Databases other than 0: Redis is started with only one as well.
//! - Expiry times a few milliseconds away, except for keys that expire while nothing else happens: whether such a key
//!   still exists would depend on the speed of the servers.
//! - Options, numbers and patterns with a NUL byte. Redis ignores everything from the NUL on.
//! - Options of EXPIRE that are not UTF-8: acceptd's error shows them as text.

use std::fmt;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use crate::compare::show;
use crate::words::{
    MILLIS, NOT_INTEGERS, SECONDS, UNIX_MILLIS, UNIX_SECONDS, Word, cased, choice, digits, flags, floats, indices,
    integers, keys, misplaced, offsets, patterns, texts, times, values,
};

/// A command: its name and its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct TestCommand(pub Vec<Word>);

impl TestCommand {
    pub fn of(words: &[&str]) -> TestCommand {
        TestCommand(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    /// In lower case.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.0[0]).to_ascii_lowercase()
    }

    /// The encoded request.
    pub fn request(&self) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", self.0.len()).into_bytes();
        for word in &self.0 {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

impl fmt::Debug for TestCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| show(word)).collect();
        f.write_str(&words.join(" "))
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    /// The client with this index sends a command.
    Execute(usize, TestCommand),
    /// A key is set and expires before any other command is sent.
    Expire(Word, Word),
}

#[derive(Clone, Debug)]
pub struct Case {
    pub resp3: bool,
    pub steps: Vec<Step>,
    /// The options of a SCAN over all keys at the end.
    pub scan: Option<Vec<Word>>,
}

impl Case {
    /// How many keys may have expired without Redis having noticed, including those set to a time in the past.
    pub fn expired(&self) -> usize {
        let is_past = |word: &Word| ["exat", "pxat"].iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()));
        let may_expire = |step: &&Step| match step {
            Step::Execute(_, command) => command.0.iter().any(is_past),
            Step::Expire(..) => true,
        };
        self.steps.iter().filter(may_expire).count()
    }
}

pub fn cases() -> impl Strategy<Value = Case> {
    // Most sequences come from one client, which sends all commands at once.
    let one_client = vec(commands().prop_map(|command| Step::Execute(0, command)), 5..=20);
    let by_either = (prop_oneof![3 => Just(0), 1 => Just(1)], commands());
    let two_clients = vec(by_either.prop_map(|(client, command)| Step::Execute(client, command)), 5..=20);
    let expiry = (keys(), values()).prop_map(|(key, value)| Step::Expire(key, value));
    let with_expiries =
        vec(prop_oneof![1 => expiry, 9 => commands().prop_map(|command| Step::Execute(0, command))], 5..=20);
    let steps = prop_oneof![16 => one_client, 5 => two_clients, 3 => watching(), 1 => with_expiries];
    let resp3 = prop_oneof![2 => Just(false), 1 => Just(true)];
    (resp3, steps, weighted(0.1, scan_options(1..5))).prop_map(|(resp3, steps, scan)| Case { resp3, steps, scan })
}

/// A transaction of one client. The other may write to the keys that it watches.
fn watching() -> impl Strategy<Value = Vec<Step>> {
    let some = |clients: &[usize], count| {
        let step = (select(clients.to_vec()), commands());
        vec(step.prop_map(|(client, command)| Step::Execute(client, command)), count)
    };
    let watch = vec(keys(), 1..4).prop_map(|keys| {
        let mut words = vec![b"WATCH".to_vec()];
        words.extend(keys);
        vec![Step::Execute(0, TestCommand(words))]
    });
    let execute = |name| Just(vec![Step::Execute(0, TestCommand::of(&[name]))]);
    let parts = (
        some(&[0, 1], 1..5),
        watch,
        some(&[0, 1, 1], 1..4),
        execute("MULTI"),
        some(&[0, 0, 0, 1], 1..4),
        execute("EXEC"),
    );
    parts.prop_map(|(before, watch, between, multi, inside, exec)| {
        [before, watch, between, multi, inside, exec].concat()
    })
}

/// The options of SET and GETEX, in valid and invalid combinations.
fn options() -> impl Strategy<Value = Vec<Word>> {
    let timed = |name: &'static str, unit| (cased(name), times(unit)).prop_map(|(name, time)| vec![name, time]);
    let option = prop_oneof![
        6 => flags(&["NX", "XX", "GET", "KEEPTTL", "PERSIST"]).prop_map(|flag| vec![flag]),
        2 => timed("EX", SECONDS),
        2 => timed("PX", MILLIS),
        2 => timed("EXAT", UNIX_SECONDS),
        2 => timed("PXAT", UNIX_MILLIS),
        1 => texts(&["EX", "PX", "NOTHING", "", "N", "NXX", "100"]).prop_map(|word| vec![word]),
    ];
    several(&option.boxed(), &[6, 8, 4, 1])
}

/// Repeats an option. `weights` are the weights of 0, 1, … repetitions.
fn several(option: &BoxedStrategy<Vec<Word>>, weights: &[u32]) -> impl Strategy<Value = Vec<Word>> + use<> {
    let each = weights.iter().enumerate().map(|(count, weight)| (*weight, vec(option.clone(), count)));
    Union::new_weighted(each.collect()).prop_map(|options| options.concat())
}

fn expire_options() -> impl Strategy<Value = Vec<Word>> {
    let option = prop_oneof![
        9 => flags(&["NX", "XX", "GT", "LT"]),
        1 => texts(&["", "EX", "G\r\nT", "GT\r\n", "100", "ä", "GTX", "\x01\x7f"]),
    ];
    several(&option.prop_map(|option| vec![option]).boxed(), &[6, 5, 2, 1])
}

fn scan_options(counts: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Word>> {
    let option = prop_oneof![
        (cased("MATCH"), patterns()).prop_map(|(name, pattern)| vec![name, pattern]),
        (cased("COUNT"), counts.prop_map(digits)).prop_map(|(name, count)| vec![name, count]),
        (cased("TYPE"), texts(&["string", "STRING", "list", "nonsense", ""])).prop_map(|(name, kind)| vec![name, kind]),
    ];
    several(&option.boxed(), &[2, 4, 2, 1])
}

/// One or more arguments.
type Arguments = BoxedStrategy<Vec<Word>>;

fn single(word: impl Strategy<Value = Word> + 'static) -> Arguments {
    word.prop_map(|word| vec![word]).boxed()
}

fn commands() -> BoxedStrategy<TestCommand> {
    let key = || single(keys());
    let value = || single(values());
    let several_keys = || vec(keys(), 1..5).boxed();
    let pairs =
        || vec((keys(), values()).prop_map(|(key, value)| vec![key, value]), 1..4).prop_map(|p| p.concat()).boxed();
    let flush = || {
        prop_oneof![8 => Just(vec![]), 2 => single(flags(&["SYNC", "ASYNC"])), 1 => single(texts(&["NOW", "", "0"]))]
            .boxed()
    };
    let mut all = vec![
        // Values.
        (14, "set", vec![key(), value(), options().boxed()]),
        (6, "set", vec![key(), value()]),
        (10, "get", vec![key()]),
        (2, "setnx", vec![key(), value()]),
        (2, "setex", vec![key(), single(times(SECONDS)), value()]),
        (2, "psetex", vec![key(), single(times(MILLIS)), value()]),
        (2, "getset", vec![key(), value()]),
        (3, "getdel", vec![key()]),
        (6, "getex", vec![key(), options().boxed()]),
        (2, "getex", vec![key(), single(cased("PERSIST"))]),
        (4, "mget", vec![several_keys()]),
        (3, "mset", vec![pairs()]),
        (2, "msetnx", vec![pairs()]),
        (5, "append", vec![key(), value()]),
        (3, "strlen", vec![key()]),
        (4, "getrange", vec![key(), single(indices()), single(indices())]),
        (1, "substr", vec![key(), single(indices()), single(indices())]),
        (4, "setrange", vec![key(), single(offsets()), value()]),
        (4, "incr", vec![key()]),
        (2, "decr", vec![key()]),
        (4, "incrby", vec![key(), single(integers())]),
        (4, "decrby", vec![key(), single(integers())]),
        (8, "incrbyfloat", vec![key(), single(floats())]),
        // Keys.
        (3, "del", vec![several_keys()]),
        (1, "unlink", vec![several_keys()]),
        (2, "exists", vec![several_keys()]),
        (1, "touch", vec![several_keys()]),
        (2, "type", vec![key()]),
        (3, "rename", vec![key(), key()]),
        (3, "renamenx", vec![key(), key()]),
        (4, "copy", vec![key(), key(), copy_options().boxed()]),
        (4, "ttl", vec![key()]),
        (4, "pttl", vec![key()]),
        (4, "expiretime", vec![key()]),
        (4, "pexpiretime", vec![key()]),
        (4, "persist", vec![key()]),
        (3, "dbsize", vec![]),
        (1, "flushdb", vec![flush()]),
        (1, "flushall", vec![flush()]),
        (4, "keys", vec![single(patterns())]),
        (2, "scan", vec![single(texts(&["0"])), scan_options(900..1000).boxed()]),
        (
            1,
            "scan",
            vec![
                single(texts(&["0", "5", "", "-1", "-", "+3", "-+1", "abc", "1x", "18446744073709551616", " 1"])),
                scan_mistakes().boxed(),
            ],
        ),
        (1, "randomkey", vec![]),
        // The connection.
        (5, "multi", vec![]),
        (14, "exec", vec![]),
        (1, "discard", vec![]),
        (3, "watch", vec![vec(keys(), 1..3).boxed()]),
        (1, "unwatch", vec![]),
        (2, "ping", vec![vec(values(), 0..3).boxed()]),
        (2, "echo", vec![value()]),
        (2, "select", vec![single(prop_oneof![3 => texts(&["0"]), 1 => indices().boxed()])]),
    ];
    for (name, unit) in
        [("expire", SECONDS), ("pexpire", MILLIS), ("expireat", UNIX_SECONDS), ("pexpireat", UNIX_MILLIS)]
    {
        all.push((4, name, vec![key(), single(times(unit)), expire_options().boxed()]));
    }
    let mut all: Vec<(u32, BoxedStrategy<TestCommand>)> =
        all.into_iter().map(|(weight, name, arguments)| (weight, command(name, arguments))).collect();
    all.push((3, unknown().boxed()));
    Union::new_weighted(all).boxed()
}

fn copy_options() -> impl Strategy<Value = Vec<Word>> {
    let option = prop_oneof![
        4 => single(cased("REPLACE")),
        1 => (cased("DB"), prop_oneof![2 => texts(&["0"]), 1 => indices()]).prop_map(|(name, number)| vec![name, number]),
        1 => single(texts(&["DB", "NX", "", "REPLAC"])),
    ];
    several(&option.boxed(), &[4, 4, 1])
}

fn scan_mistakes() -> impl Strategy<Value = Vec<Word>> {
    let option = prop_oneof![
        (cased("COUNT"), prop_oneof![integers().boxed(), texts(NOT_INTEGERS).boxed()])
            .prop_map(|(name, count)| vec![name, count]),
        single(texts(&["COUNT", "MATCH", "TYPE", "", "KEYS"])),
    ];
    several(&option.boxed(), &[1, 4, 1])
}

/// Commands that do not exist.
fn unknown() -> impl Strategy<Value = TestCommand> {
    let name = prop_oneof![
        4 => texts(&["NOSUCH", "", "gett", "get ", "set\r\nget", "HELP", "ge", "ä"]),
        1 => choice(&[b"\0", b"get\0", b"\xff\xfe", b"\x01\x7f", &[b'x'; 200]]),
        1 => vec(any::<u8>().prop_map(|byte| byte | 0x80), 1..20),
    ];
    (name, vec(values(), 0..8)).prop_map(|(name, mut words)| {
        words.insert(0, name);
        TestCommand(words)
    })
}

/// A command with these arguments. Sometimes one is missing, superfluous or replaced.
fn command(name: &'static str, arguments: Vec<Arguments>) -> BoxedStrategy<TestCommand> {
    let mistake = prop_oneof![
        40 => Just(Mistake::None),
        1 => Just(Mistake::Missing),
        1 => misplaced().prop_map(Mistake::Superfluous),
        1 => (any::<prop::sample::Index>(), misplaced()).prop_map(|(index, word)| Mistake::Replaced(index, word)),
    ];
    (cased(name), arguments, mistake)
        .prop_map(|(name, arguments, mistake)| {
            let mut words = vec![name];
            words.extend(arguments.concat());
            match mistake {
                Mistake::None => {}
                Mistake::Missing if words.len() > 1 => {
                    words.pop();
                }
                Mistake::Replaced(index, word) if words.len() > 1 => {
                    let index = 1 + index.index(words.len() - 1);
                    words[index] = word;
                }
                Mistake::Missing => {}
                Mistake::Superfluous(word) | Mistake::Replaced(_, word) => words.push(word),
            }
            TestCommand(words)
        })
        .boxed()
}

#[derive(Clone, Debug)]
enum Mistake {
    None,
    Missing,
    Superfluous(Word),
    Replaced(prop::sample::Index, Word),
}
