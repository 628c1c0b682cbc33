//! The words that generated commands consist of: keys, values, numbers, times and options.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

pub type Word = Vec<u8>;

/// A few keys, so that commands affect each other.
pub fn keys() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => choice(&[b"a", b"b", b"c"]),
        4 => choice(&[b"", b"ab", b"key:1", b"key:2", b"k\r\ney", b"\0", b"\xff\xfe\0x", b"-", b"]", b"*"]),
    ]
}

pub fn choice(words: &[&[u8]]) -> impl Strategy<Value = Word> + use<> {
    select(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>())
}

pub fn texts(words: &[&str]) -> impl Strategy<Value = Word> + use<> {
    choice(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
}

pub fn values() -> impl Strategy<Value = Word> {
    prop_oneof![
        3 => texts(&["", "hello", "hello world", "OK", "+OK\r\n", "$-1\r\n", "NOT_FOUND"]),
        6 => integers(),
        3 => floats(),
        1 => choice(&[b"\0", b"\r\n", b"a\0b\r\nc", b"\xff\xfe", "ä€😀".as_bytes()]),
        2 => vec(any::<u8>(), 0..40),
    ]
}

/// Arguments where an integer is expected. Most of them are integers.
pub fn integers() -> impl Strategy<Value = Word> {
    prop_oneof![
        6 => (-20..20_i64).prop_map(digits),
        1 => any::<i64>().prop_map(digits),
        3 => texts(&[
            "9223372036854775807", "-9223372036854775808", "9223372036854775806", "-9223372036854775807",
            "9223372036854775808", "-9223372036854775809", "4611686018427387904", "2147483648", "4294967296",
        ]),
        1 => texts(NOT_INTEGERS),
    ]
}

pub const NOT_INTEGERS: &[&str] = &[
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

pub fn digits(number: i64) -> Word {
    number.to_string().into_bytes()
}

/// Arguments where a decimal number is expected. Most of them are numbers.
pub fn floats() -> impl Strategy<Value = Word> {
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

/// Writes `number` with its last `fraction_digits` digits after the decimal point.
pub fn decimal(number: i64, fraction_digits: u32) -> Word {
    let (sign, number) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let one = 10_u64.pow(fraction_digits);
    if fraction_digits == 0 {
        return format!("{sign}{number}").into_bytes();
    }
    format!("{sign}{}.{:0width$}", number / one, number % one, width = fraction_digits as usize).into_bytes()
}

/// Indices into a value.
pub fn indices() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => (-12..12_i64).prop_map(digits),
        2 => texts(&["9223372036854775807", "-9223372036854775808", "9223372036854775808", "2147483648", "-2147483649"]),
        1 => texts(NOT_INTEGERS),
    ]
}

/// Offsets for SETRANGE: small ones, and ones beyond the longest value. Those in between would take half a gigabyte.
pub fn offsets() -> impl Strategy<Value = Word> {
    prop_oneof![
        8 => (0..30_i64).prop_map(digits),
        2 => texts(&["-1", "536870912", "4294967296", "9223372036854775807", "-9223372036854775808", "9223372036854775808"]),
        1 => texts(NOT_INTEGERS),
    ]
}

/// Times, in the units that commands and options take.
pub const SECONDS: &[&str] = &["100", "1000", "10000000"];
pub const MILLIS: &[&str] = &["100000", "1234567", "9999999999"];
pub const UNIX_SECONDS: &[&str] = &["4102444800", "32503680000", "4102444801", "1", "1000000000", "9223372036854775"];
pub const UNIX_MILLIS: &[&str] =
    &["4102444800000", "4102444800499", "4102444800500", "32503680000123", "1", "1000000000000", "9223372036854775807"];

/// Arguments where a time is expected. Most of them are one of `unit`.
pub fn times(unit: &[&str]) -> impl Strategy<Value = Word> + use<> {
    prop_oneof![
        12 => texts(unit),
        2 => texts(&[
            "0", "-1", "-1000", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "9223372036854775", "9223372036854776", "-9223372036854775", "-9223372036854776", "9223372036854775000",
            "-9223372036854774000",
        ]),
        1 => texts(NOT_INTEGERS),
    ]
}

pub fn patterns() -> impl Strategy<Value = Word> {
    prop_oneof![
        4 => texts(&["*", "a*", "key:?", "key:[12]", "key:[^1]", "?", "??", "**", "", "*b*", "[a-b]", "[b-a]", r"\*", "*\r\n*"]),
        3 => vec(select(br"*?[]^-\abc:1".to_vec()), 0..7),
        1 => choice(&[b"\xff*", b"[\xf0-\xff]*", b"[^\xff]*", b"*\xfe*", b"[]", b"[", b"[^", b"[^]", b"\\", b"[a-]", b"[\\"]),
    ]
}

/// One of these words, in upper, lower or mixed case.
pub fn flags(words: &'static [&'static str]) -> impl Strategy<Value = Word> {
    (select(words), casings()).prop_map(|(word, casing)| with_casing(word, casing))
}

pub fn cased(word: &'static str) -> impl Strategy<Value = Word> {
    casings().prop_map(move |casing| with_casing(word, casing))
}

/// The case of a word: a set bit makes a letter lower case.
pub fn casings() -> impl Strategy<Value = u16> {
    prop_oneof![3 => Just(0), 3 => Just(u16::MAX), 1 => any::<u16>()]
}

pub fn with_casing(word: &str, casing: u16) -> Word {
    let bytes = word.bytes().enumerate();
    bytes
        .map(
            |(index, byte)| {
                if casing >> (index % 16) & 1 == 0 { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
            },
        )
        .collect()
}

/// Words that are invalid almost everywhere. None of them is a short time.
pub fn misplaced() -> impl Strategy<Value = Word> {
    texts(&["", "abc", "1.5", "-1", "9223372036854775807", "9223372036854775808", "NX", "EX", "a", "b", "x\r\ny", "ä"])
}
