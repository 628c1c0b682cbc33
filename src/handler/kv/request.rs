//! Requests, as they lie in the input: arrays of strings (RESP), or a line of words as a person types it.
//!
//! Nothing is copied but the words of a line, and nothing is reserved for what a client says will come.

use std::borrow::Cow;
use std::ops::Range;

use crate::handler::shared::telnet::{Item, Scanner};

mod words;

pub(super) use words::split;

/// Words of one request at the most, as in Redis before version 7, which takes up to 2^31 - 1.
const MOST_WORDS: usize = 1024 * 1024;

/// The longest line of words, and the longest header line of an array, in bytes; as in Redis.
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// How far a client may go that has not given the password: as in Redis.
const MOST_WORDS_OF_A_STRANGER: usize = 10;
const LONGEST_WORD_OF_A_STRANGER: usize = 16 * 1024;

/// What a client sent that is no request. The conversation is over, since nobody can tell where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) Vec<u8>);

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    words: usize,
    word: usize,
    is_stranger: bool,
}

impl Bounds {
    pub(super) fn new(max_value: usize) -> Bounds {
        Bounds { words: MOST_WORDS, word: max_value, is_stranger: false }
    }

    /// For a client that has not given the password.
    pub(super) fn of_a_stranger() -> Bounds {
        Bounds { words: MOST_WORDS_OF_A_STRANGER, word: LONGEST_WORD_OF_A_STRANGER, is_stranger: true }
    }

    /// The length of the longest request, in bytes: two values of the full length, and names and lengths beside them.
    pub(super) fn request(&self) -> usize {
        if self.is_stranger { LONGEST_WORD_OF_A_STRANGER } else { self.word.saturating_mul(2).saturating_add(1 << 20) }
    }
}

/// A request that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed<'i> {
    /// The words of an array, as places in the input.
    Array { words: Vec<Range<usize>>, length: usize },
    /// A line, without its end. The reply ends as it did.
    Line { line: Cow<'i, [u8]>, end: &'static str, length: usize },
    /// No request, but what telnet is to be sent at once. In the middle of a line its length is 0.
    Telnet { reply: &'static [u8], length: usize },
}

impl Parsed<'_> {
    /// How many bytes of input it takes.
    pub(super) fn length(&self) -> usize {
        match self {
            Parsed::Array { length, .. } | Parsed::Line { length, .. } | Parsed::Telnet { length, .. } => *length,
        }
    }
}

/// What a client's requests look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Lines as people type them, telnet's commands included.
    Text,
    /// Arrays, and Redis's inline commands: lines of any bytes that end with LF or CRLF.
    Resp,
}

/// Finds one request after the other. What was read of one that is not complete is not read again when more has come.
#[derive(Debug)]
pub(super) struct Parser {
    resp: Resp,
    typed: Scanner,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { resp: Resp::default(), typed: Scanner::after_start() }
    }
}

impl Parser {
    /// The request that begins at the first byte of `input`, if it is complete. Until it is, each call must bring the
    /// same input again, with more at its end.
    ///
    /// # Errors
    ///
    /// It is no request, or one that is too large.
    pub(super) fn next<'i>(
        &mut self,
        input: &'i [u8],
        bounds: Bounds,
        syntax: Syntax,
    ) -> Result<Option<Parsed<'i>>, Malformed> {
        if syntax == Syntax::Text {
            return self.typed(input);
        }
        // Of a line in which a person has changed to RESP.
        let length = self.typed.late_line_end(input);
        if length > 0 {
            return Ok(Some(Parsed::Telnet { reply: b"", length }));
        }
        self.resp.next(input, bounds)
    }

    fn typed<'i>(&mut self, input: &'i [u8]) -> Result<Option<Parsed<'i>>, Malformed> {
        let found = self.typed.scan(input);
        // Whether its end has come or not: how the line was cut into pieces makes no difference.
        let length = match found {
            Some(Item::Line(line)) => line.end_at,
            Some(Item::Skip { .. }) => 0,
            None => input.len(),
        };
        if length > LONGEST_LINE {
            return Err(malformed("too big inline request"));
        }
        Ok(found.map(|item| match item {
            Item::Line(line) => Parsed::Line { line: line.text(input), end: line.end, length: line.length },
            Item::Skip { length, reply } => Parsed::Telnet { reply, length },
        }))
    }
}

/// Finds requests of a program.
#[derive(Debug, Default)]
struct Resp {
    /// Up to here the request has been read.
    position: usize,
    /// Words that are still to come; `None` before the header of an array.
    missing: Option<usize>,
    /// The length of the word that comes next, when it is known.
    word: Option<usize>,
    words: Vec<Range<usize>>,
    /// No line end is before this place.
    searched: usize,
}

impl Resp {
    fn next<'i>(&mut self, input: &'i [u8], bounds: Bounds) -> Result<Option<Parsed<'i>>, Malformed> {
        let is_line = self.missing.is_none() && input.first() != Some(&b'*');
        let parsed = if is_line { self.line(input) } else { self.array(input, bounds) };
        if !matches!(parsed, Ok(None)) {
            *self = Resp::default();
        }
        parsed
    }

    fn line<'i>(&mut self, input: &'i [u8]) -> Result<Option<Parsed<'i>>, Malformed> {
        let found = self.line_end(input);
        // Whether its end has come or not: how the line was cut into pieces makes no difference.
        if found.unwrap_or(input.len()) > LONGEST_LINE {
            return Err(malformed("too big inline request"));
        }
        let Some(end) = found else { return Ok(None) };
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Parsed::Line { line: line.into(), end: "\r\n", length: end + 1 }))
    }

    fn array<'i>(&mut self, input: &[u8], bounds: Bounds) -> Result<Option<Parsed<'i>>, Malformed> {
        if self.missing.is_none() {
            let Some(count) = self.header(input, "too big mbulk count string")? else { return Ok(None) };
            if count > bounds.words as i64 {
                let what =
                    if bounds.is_stranger { "unauthenticated multibulk length" } else { "invalid multibulk length" };
                return Err(malformed(what));
            }
            // An empty array, or a negative one, is no request, and no error.
            self.missing = Some(usize::try_from(count).unwrap_or(0));
        }
        while let Some(missing @ 1..) = self.missing {
            if self.word.is_none() {
                match input.get(self.position) {
                    None => return Ok(None),
                    Some(b'$') => {}
                    Some(&other) => {
                        let mut why = malformed("expected '$', got '");
                        why.0.extend([other, b'\'']);
                        return Err(why);
                    }
                }
                let Some(length) = self.header(input, "too big bulk count string")? else { return Ok(None) };
                let length = usize::try_from(length).ok().filter(|length| *length <= bounds.word);
                let what = if bounds.is_stranger { "unauthenticated bulk length" } else { "invalid bulk length" };
                self.word = Some(length.ok_or_else(|| malformed(what))?);
            }
            let word = self.position..self.position + self.word.unwrap_or(0);
            if input.len() < word.end + 2 {
                return Ok(None);
            }
            // Whatever the two bytes at its end are, as in Redis.
            self.position = word.end + 2;
            self.words.push(word);
            self.word = None;
            self.missing = Some(missing - 1);
        }
        Ok(Some(Parsed::Array { words: std::mem::take(&mut self.words), length: self.position }))
    }

    /// The number of a line like `*3` or `$5`, of which the first byte is known.
    fn header(&mut self, input: &[u8], too_long: &str) -> Result<Option<i64>, Malformed> {
        let begin = self.position + 1;
        self.searched = self.searched.max(begin);
        let found = self.line_end(input);
        if found.unwrap_or(input.len()) > begin + LONGEST_LINE {
            return Err(malformed(too_long));
        }
        let Some(end) = found else { return Ok(None) };
        let is_array = self.missing.is_none();
        let digits = input.get(begin..end).unwrap_or_default();
        self.position = end + 1;
        let number = digits.strip_suffix(b"\r").and_then(integer);
        let what = if is_array { "invalid multibulk length" } else { "invalid bulk length" };
        number.map(Some).ok_or_else(|| malformed(what))
    }

    /// Where the next LF is.
    fn line_end(&mut self, input: &[u8]) -> Option<usize> {
        let unsearched = input.get(self.searched..).unwrap_or_default();
        let found = unsearched.iter().position(|&byte| byte == b'\n').map(|place| self.searched + place);
        self.searched = found.unwrap_or(input.len());
        found
    }
}

fn malformed(what: &str) -> Malformed {
    Malformed(format!("ERR Protocol error: {what}").into_bytes())
}

/// A whole number as Redis takes it: digits, perhaps after a minus, and nothing else; `01`, `+1` and `-0` are none.
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let is_plain = unsigned == "0" && text == "0" || unsigned.starts_with(|first: char| ('1'..='9').contains(&first));
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { words: 1024 * 1024, word: 8 << 20, is_stranger: false };

    fn words(input: &[u8]) -> Vec<Vec<u8>> {
        match Parser::default().next(input, BOUNDS, Syntax::Resp).unwrap().unwrap() {
            Parsed::Array { words, length } => {
                assert_eq!(length, input.len());
                words.into_iter().map(|word| input[word].to_vec()).collect()
            }
            Parsed::Line { line, length, .. } => {
                assert_eq!(length, input.len());
                split(&line).unwrap()
            }
            Parsed::Telnet { .. } => panic!("nothing of telnet is in RESP"),
        }
    }

    fn refused(input: &[u8]) -> String {
        String::from_utf8(Parser::default().next(input, BOUNDS, Syntax::Resp).unwrap_err().0).unwrap()
    }

    #[test]
    fn arrays_and_lines_are_words() {
        assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n"), [&b"GET"[..], b"\r\n"]);
        assert_eq!(words(b"*1\r\n$0\r\n\r\n"), [b""]);
        assert!(words(b"*0\r\n").is_empty() && words(b"*-1\r\n").is_empty());
        assert_eq!(words(b"SET  a \"b c\"\r\n"), [&b"SET"[..], b"a", b"b c"]);
        assert!(words(b"\n").is_empty());
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_reserved() {
        // Redis's own cases (tests/unit/protocol.tcl).
        assert_eq!(refused(b"*3000000000\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(refused(b"*20000000\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(refused(b"*99999999999999999999\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n"), "ERR Protocol error: expected '$', got 'f'");
        assert_eq!(refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(
            refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n"),
            "ERR Protocol error: invalid bulk length"
        );
        assert_eq!(refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(refused(b"*1\r\nfoo\r\n"), "ERR Protocol error: expected '$', got 'f'");
        assert_eq!(refused(b"*2\n$3\r\nGET\r\n"), "ERR Protocol error: invalid multibulk length");
        let stranger = Parser::default().next(b"*11\r\n", Bounds::of_a_stranger(), Syntax::Resp).unwrap_err();
        assert_eq!(stranger.0, b"ERR Protocol error: unauthenticated multibulk length");
        let stranger = Parser::default().next(b"*1\r\n$16385\r\n", Bounds::of_a_stranger(), Syntax::Resp).unwrap_err();
        assert_eq!(stranger.0, b"ERR Protocol error: unauthenticated bulk length");
        let endless = vec![b'1'; 65 * 1024 + 2];
        assert_eq!(refused(&endless), "ERR Protocol error: too big inline request");
        assert_eq!(refused(&[b"*", &endless[..]].concat()), "ERR Protocol error: too big mbulk count string");
        assert_eq!(refused(&[b"*1\r\n$", &endless[..]].concat()), "ERR Protocol error: too big bulk count string");
    }

    #[test]
    fn every_split_gives_the_same_request() {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$14\r\n*1\r\n$4\r\nPING\r\n\r\n";
        for first in 0..input.len() {
            for second in first..input.len() {
                let mut parser = Parser::default();
                assert_eq!(parser.next(&input[..first], BOUNDS, Syntax::Resp), Ok(None));
                assert_eq!(parser.next(&input[..second], BOUNDS, Syntax::Resp), Ok(None));
                let whole = Parser::default().next(input, BOUNDS, Syntax::Resp);
                assert_eq!(parser.next(input, BOUNDS, Syntax::Resp), whole);
            }
        }
    }

    #[test]
    fn numbers_are_what_redis_takes_for_numbers() {
        for (text, number) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(integer(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "01", "-0", "1 ", " 1", "1.0", "9223372036854775808", "٣"] {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
