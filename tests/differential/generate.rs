//! Sequences of commands, most of them right, some of them wrong in every way that a client may get them wrong.
//!
//! Left out, since the replies differ for a reason:
//!
//! - Times of which Redis adds up more than 64 bits hold: EXPIRETIME of the last millisecond there is. It is made, and
//!   its reply is not compared.
//! - Commands that acceptd does not have, since it keeps strings alone; and those that tell of the server itself (INFO,
//!   CLIENT, COMMAND, CONFIG …).
//! - Databases other than 0: Redis is started with one too.
//! - Times left of a few milliseconds, but for keys that are left to expire while nothing else happens: whether such
//!   a key is still there depends on who is quicker.
//! - Options, numbers and patterns with a NUL in them, which ends them for Redis, but not the word.
//! - An EXPIRE option that is no UTF-8: the error that shows it is text in acceptd.

use std::fmt;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use crate::compare::show;

pub type Word = Vec<u8>;

/// A command: its name, and its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(pub Vec<Word>);

impl Command {
    pub fn of(words: &[&str]) -> Command {
        Command(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    /// In small letters.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.0[0]).to_ascii_lowercase()
    }

    /// As it is sent.
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

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| show(word)).collect();
        f.write_str(&words.join(" "))
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    /// One of the clients says this.
    Say(usize, Command),
    /// A key is set, and expires before anybody says anything.
    Lapse(Word, Word),
}

#[derive(Clone, Debug)]
pub struct Case {
    pub resp3: bool,
    pub steps: Vec<Step>,
    /// In the end, all keys are iterated over, with these options.
    pub scan: Option<Vec<Word>>,
}

impl Case {
    /// How many keys may have expired in it, or were set to a time in the past, without having been found expired.
    pub fn expired(&self) -> usize {
        let is_past = |word: &Word| ["exat", "pxat"].iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()));
        let may_expire = |step: &&Step| match step {
            Step::Say(_, command) => command.0.iter().any(is_past),
            Step::Lapse(..) => true,
        };
        self.steps.iter().filter(may_expire).count()
    }
}

pub fn cases() -> impl Strategy<Value = Case> {
    // Most sequences are those of one client, and all of it is sent in one go.
    let alone = vec(commands().prop_map(|command| Step::Say(0, command)), 5..=20);
    let say = (prop_oneof![3 => Just(0), 1 => Just(1)], commands());
    let together = vec(say.prop_map(|(talker, command)| Step::Say(talker, command)), 5..=20);
    let lapse = (keys(), values()).prop_map(|(key, value)| Step::Lapse(key, value));
    let lapsing = vec(prop_oneof![1 => lapse, 9 => commands().prop_map(|command| Step::Say(0, command))], 5..=20);
    let steps = prop_oneof![16 => alone, 5 => together, 3 => watching(), 1 => lapsing];
    let resp3 = prop_oneof![2 => Just(false), 1 => Just(true)];
    (resp3, steps, weighted(0.1, scan_options(1..5))).prop_map(|(resp3, steps, scan)| Case { resp3, steps, scan })
}

/// A transaction of one client, while another one may write what it watches.
fn watching() -> impl Strategy<Value = Vec<Step>> {
    let some = |talkers: &[usize], count| {
        let said = (select(talkers.to_vec()), commands());
        vec(said.prop_map(|(talker, command)| Step::Say(talker, command)), count)
    };
    let watch = vec(keys(), 1..4).prop_map(|keys| {
        let mut words = vec![b"WATCH".to_vec()];
        words.extend(keys);
        vec![Step::Say(0, Command(words))]
    });
    let say = |name| Just(vec![Step::Say(0, Command::of(&[name]))]);
    let parts =
        (some(&[0, 1], 1..5), watch, some(&[0, 1, 1], 1..4), say("MULTI"), some(&[0, 0, 0, 1], 1..4), say("EXEC"));
    parts.prop_map(|(before, watch, between, multi, inside, exec)| {
        [before, watch, between, multi, inside, exec].concat()
    })
}

/// Few, so that commands meet.
fn keys() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => choice(&[b"a", b"b", b"c"]),
        4 => choice(&[b"", b"ab", b"key:1", b"key:2", b"k\r\ney", b"\0", b"\xff\xfe\0x", b"-", b"]", b"*"]),
    ]
}

fn choice(words: &[&[u8]]) -> impl Strategy<Value = Word> + use<> {
    select(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>())
}

fn texts(words: &[&str]) -> impl Strategy<Value = Word> + use<> {
    choice(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
}

fn values() -> impl Strategy<Value = Word> {
    prop_oneof![
        3 => texts(&["", "hello", "hello world", "OK", "+OK\r\n", "$-1\r\n", "NOT_FOUND"]),
        6 => integers(),
        3 => floats(),
        1 => choice(&[b"\0", b"\r\n", b"a\0b\r\nc", b"\xff\xfe", "ä€😀".as_bytes()]),
        2 => vec(any::<u8>(), 0..40),
    ]
}

/// What is said to be an integer, and mostly is.
fn integers() -> impl Strategy<Value = Word> {
    prop_oneof![
        6 => (-20..20_i64).prop_map(digits),
        1 => any::<i64>().prop_map(digits),
        3 => texts(&[
            "9223372036854775807", "-9223372036854775808", "9223372036854775806", "-9223372036854775807",
            "9223372036854775808", "-9223372036854775809", "4611686018427387904", "2147483648", "4294967296",
        ]),
        1 => texts(NO_INTEGERS),
    ]
}

const NO_INTEGERS: &[&str] = &[
    "",
    "-",
    "+1",
    "01",
    "-0",
    "-01",
    " 1",
    "1 ",
    "1.0",
    "1e3",
    "0x10",
    "abc",
    "٣",
    "1\r\n",
    "99999999999999999999999",
    "-99999999999999999999999",
    "--1",
];

fn digits(number: i64) -> Word {
    number.to_string().into_bytes()
}

/// What is said to be a number with a fraction, and mostly is.
fn floats() -> impl Strategy<Value = Word> {
    prop_oneof![
        4 => (-100_000..100_000_i32, 0..6_u32).prop_map(|(number, places)| decimal(i64::from(number), places)),
        2 => (any::<i64>(), 0..19_u32).prop_map(|(number, places)| decimal(number, places)),
        1 => texts(&["3.0e3", "1E2", "5e-1", "-1.5e+2", "1e17", "1e-17", "4e-18", "5e-18", "6e-18", "0e5", "123e-10"]),
        1 => (any::<i64>(), -60..60_i32).prop_map(|(number, exponent)| format!("{number}e{exponent}").into_bytes()),
        1 => texts(&[
            "1e300", "-1e4900", "1.7e4932", "1.1897314953572317e4932", "1.2e4932", "1e4933", "1e-300", "1e-4900", "1e-4940",
            "1e-4960", "1e999999999999999999999", "0e999999999999999999999", "0x10", "-0X1.8p1", "0x.8", "0x1p-70", "0xg",
            "0x1p", "0x1p99999", "0x1e1",
        ]),
        1 => texts(&[".5", "5.", "+3", "-.5", "+.5e1", "-0", "-0.0", "00.10", "0.1", "0.2", "0.30000000000000004"]),
        1 => texts(&[
            "inf", "-inf", "+INF", "infinity", "nan", "-nan", "1e", "e1", ".", "", "-", " 1", "1 ", "1,5", "1_0", "abc",
            "1e+", "1.2.3", "\t1", "0x", "infinit",
        ]),
    ]
}

/// A number with its point that many places from the right.
fn decimal(number: i64, places: u32) -> Word {
    let (sign, number) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let one = 10_u64.pow(places);
    if places == 0 {
        return format!("{sign}{number}").into_bytes();
    }
    format!("{sign}{}.{:0width$}", number / one, number % one, width = places as usize).into_bytes()
}

/// Places in a value.
fn places() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => (-12..12_i64).prop_map(digits),
        2 => texts(&["9223372036854775807", "-9223372036854775808", "9223372036854775808", "2147483648", "-2147483649"]),
        1 => texts(NO_INTEGERS),
    ]
}

/// Where SETRANGE writes: near, or further than a value may be long. Not in between, which takes half a gigabyte.
fn offsets() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => (0..30_i64).prop_map(digits),
        2 => texts(&["-1", "536870912", "4294967296", "9223372036854775807", "-9223372036854775808", "9223372036854775808"]),
        1 => texts(NO_INTEGERS),
    ]
}

/// Units of time, as commands and options have them.
const SECONDS: &[&str] = &["100", "1000", "10000000"];
const MILLIS: &[&str] = &["100000", "1234567", "9999999999"];
const SECONDS_AT: &[&str] = &["4102444800", "32503680000", "4102444801", "1", "1000000000", "9223372036854775"];
const MILLIS_AT: &[&str] =
    &["4102444800000", "4102444800499", "4102444800500", "32503680000123", "1", "1000000000000", "9223372036854775807"];

/// Times that are mostly of this unit.
fn times(unit: &[&str]) -> impl Strategy<Value = Word> + use<> {
    prop_oneof![
        12 => texts(unit),
        2 => texts(&[
            "0", "-1", "-1000", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "9223372036854775", "9223372036854776", "-9223372036854775", "-9223372036854776", "9223372036854775000",
            "-9223372036854774000",
        ]),
        1 => texts(NO_INTEGERS),
    ]
}

/// SET's and GETEX's options, in right combinations and wrong ones.
fn options() -> impl Strategy<Value = Vec<Word>> {
    let timed = |name: &'static str, unit| (cased(name), times(unit)).prop_map(|(name, time)| vec![name, time]);
    let option = prop_oneof![
        6 => flags(&["NX", "XX", "GET", "KEEPTTL", "PERSIST"]).prop_map(|flag| vec![flag]),
        2 => timed("EX", SECONDS),
        2 => timed("PX", MILLIS),
        2 => timed("EXAT", SECONDS_AT),
        2 => timed("PXAT", MILLIS_AT),
        1 => texts(&["EX", "PX", "NOTHING", "", "N", "NXX", "100"]).prop_map(|word| vec![word]),
    ];
    several(&option.boxed(), &[6, 8, 4, 1])
}

/// Up to as many as there are weights, which say how often there are 0, 1 and so on.
fn several(option: &BoxedStrategy<Vec<Word>>, weights: &[u32]) -> impl Strategy<Value = Vec<Word>> + use<> {
    let each = weights.iter().enumerate().map(|(count, weight)| (*weight, vec(option.clone(), count)));
    Union::new_weighted(each.collect()).prop_map(|options| options.concat())
}

fn deadline_options() -> impl Strategy<Value = Vec<Word>> {
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

fn patterns() -> impl Strategy<Value = Word> {
    prop_oneof![
        4 => texts(&["*", "a*", "key:?", "key:[12]", "key:[^1]", "?", "??", "**", "", "*b*", "[a-b]", "[b-a]", r"\*", "*\r\n*"]),
        3 => vec(select(br"*?[]^-\abc:1".to_vec()), 0..7),
        1 => choice(&[b"\xff*", b"[\xf0-\xff]*", b"[^\xff]*", b"*\xfe*", b"[]", b"[", b"[^", b"[^]", b"\\", b"[a-]", b"[\\"]),
    ]
}

/// One of these words, in capitals, in small letters or in both.
fn flags(words: &'static [&'static str]) -> impl Strategy<Value = Word> {
    (select(words), casings()).prop_map(|(word, casing)| cast(word, casing))
}

fn cased(word: &'static str) -> impl Strategy<Value = Word> {
    casings().prop_map(move |casing| cast(word, casing))
}

/// A bit for each letter.
fn casings() -> impl Strategy<Value = u16> {
    prop_oneof![3 => Just(0), 3 => Just(u16::MAX), 1 => any::<u16>()]
}

fn cast(word: &str, casing: u16) -> Word {
    let bytes = word.bytes().enumerate();
    bytes
        .map(
            |(place, byte)| {
                if casing >> (place % 16) & 1 == 0 { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
            },
        )
        .collect()
}

/// One argument, or several of them.
type Arguments = BoxedStrategy<Vec<Word>>;

fn one(word: impl Strategy<Value = Word> + 'static) -> Arguments {
    word.prop_map(|word| vec![word]).boxed()
}

fn commands() -> BoxedStrategy<Command> {
    let key = || one(keys());
    let value = || one(values());
    let several_keys = || vec(keys(), 1..5).boxed();
    let pairs =
        || vec((keys(), values()).prop_map(|(key, value)| vec![key, value]), 1..4).prop_map(|p| p.concat()).boxed();
    let flush = || {
        prop_oneof![8 => Just(vec![]), 2 => one(flags(&["SYNC", "ASYNC"])), 1 => one(texts(&["NOW", "", "0"]))].boxed()
    };
    let mut all = vec![
        // Values.
        (14, "set", vec![key(), value(), options().boxed()]),
        (6, "set", vec![key(), value()]),
        (10, "get", vec![key()]),
        (2, "setnx", vec![key(), value()]),
        (2, "setex", vec![key(), one(times(SECONDS)), value()]),
        (2, "psetex", vec![key(), one(times(MILLIS)), value()]),
        (2, "getset", vec![key(), value()]),
        (3, "getdel", vec![key()]),
        (6, "getex", vec![key(), options().boxed()]),
        (2, "getex", vec![key(), one(cased("PERSIST"))]),
        (4, "mget", vec![several_keys()]),
        (3, "mset", vec![pairs()]),
        (2, "msetnx", vec![pairs()]),
        (5, "append", vec![key(), value()]),
        (3, "strlen", vec![key()]),
        (4, "getrange", vec![key(), one(places()), one(places())]),
        (1, "substr", vec![key(), one(places()), one(places())]),
        (4, "setrange", vec![key(), one(offsets()), value()]),
        (4, "incr", vec![key()]),
        (2, "decr", vec![key()]),
        (4, "incrby", vec![key(), one(integers())]),
        (4, "decrby", vec![key(), one(integers())]),
        (8, "incrbyfloat", vec![key(), one(floats())]),
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
        (4, "keys", vec![one(patterns())]),
        (2, "scan", vec![one(texts(&["0"])), scan_options(900..1000).boxed()]),
        (
            1,
            "scan",
            vec![
                one(texts(&["0", "5", "", "-1", "-", "+3", "-+1", "abc", "1x", "18446744073709551616", " 1"])),
                scan_mistakes().boxed(),
            ],
        ),
        (1, "randomkey", vec![]),
        // The conversation.
        (5, "multi", vec![]),
        (14, "exec", vec![]),
        (1, "discard", vec![]),
        (3, "watch", vec![vec(keys(), 1..3).boxed()]),
        (1, "unwatch", vec![]),
        (2, "ping", vec![vec(values(), 0..3).boxed()]),
        (2, "echo", vec![value()]),
        (2, "select", vec![one(prop_oneof![3 => texts(&["0"]), 1 => places().boxed()])]),
    ];
    for (name, unit) in [("expire", SECONDS), ("pexpire", MILLIS), ("expireat", SECONDS_AT), ("pexpireat", MILLIS_AT)] {
        all.push((4, name, vec![key(), one(times(unit)), deadline_options().boxed()]));
    }
    let mut all: Vec<(u32, BoxedStrategy<Command>)> =
        all.into_iter().map(|(weight, name, arguments)| (weight, command(name, arguments))).collect();
    all.push((3, unknown().boxed()));
    Union::new_weighted(all).boxed()
}

fn copy_options() -> impl Strategy<Value = Vec<Word>> {
    let option = prop_oneof![
        4 => one(cased("REPLACE")),
        1 => (cased("DB"), prop_oneof![2 => texts(&["0"]), 1 => places()]).prop_map(|(name, number)| vec![name, number]),
        1 => one(texts(&["DB", "NX", "", "REPLAC"])),
    ];
    several(&option.boxed(), &[4, 4, 1])
}

fn scan_mistakes() -> impl Strategy<Value = Vec<Word>> {
    let option = prop_oneof![
        (cased("COUNT"), prop_oneof![integers().boxed(), texts(NO_INTEGERS).boxed()])
            .prop_map(|(name, count)| vec![name, count]),
        one(texts(&["COUNT", "MATCH", "TYPE", "", "KEYS"])),
    ];
    several(&option.boxed(), &[1, 4, 1])
}

/// Commands that nobody has.
fn unknown() -> impl Strategy<Value = Command> {
    let name = prop_oneof![
        4 => texts(&["NOSUCH", "", "gett", "get ", "set\r\nget", "HELP", "ge", "ä"]),
        1 => choice(&[b"\0", b"get\0", b"\xff\xfe", b"\x01\x7f", &[b'x'; 200]]),
        1 => vec(any::<u8>().prop_map(|byte| byte | 0x80), 1..20),
    ];
    (name, vec(values(), 0..8)).prop_map(|(name, mut words)| {
        words.insert(0, name);
        Command(words)
    })
}

/// A command with these arguments; now and then one is missing, too many, or something else.
fn command(name: &'static str, arguments: Vec<Arguments>) -> BoxedStrategy<Command> {
    let mistake = prop_oneof![
        40 => Just(Mistake::None),
        1 => Just(Mistake::Missing),
        1 => strange().prop_map(Mistake::TooMany),
        1 => (any::<prop::sample::Index>(), strange()).prop_map(|(place, word)| Mistake::Other(place, word)),
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
                Mistake::Other(place, word) if words.len() > 1 => {
                    let place = 1 + place.index(words.len() - 1);
                    words[place] = word;
                }
                Mistake::Missing => {}
                Mistake::TooMany(word) | Mistake::Other(_, word) => words.push(word),
            }
            Command(words)
        })
        .boxed()
}

#[derive(Clone, Debug)]
enum Mistake {
    None,
    Missing,
    TooMany(Word),
    Other(prop::sample::Index, Word),
}

/// Words that are out of place almost everywhere, and no short times anywhere.
fn strange() -> impl Strategy<Value = Word> {
    texts(&["", "abc", "1.5", "-1", "9223372036854775807", "9223372036854775808", "NX", "EX", "a", "b", "x\r\ny", "ä"])
}
