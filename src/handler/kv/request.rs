//! Parses requests: arrays of strings (RESP), or lines of words.
//!
//! Arrays are not copied: their words are ranges of the input. Nothing is allocated for data that a client has
//! announced but not sent.

use std::borrow::Cow;
use std::ops::Range;

use crate::handler::shared::telnet::{Item, Scanner};

mod resp;
mod split;

use resp::RespParser;
pub(super) use split::split;

/// The most words in a request. Redis had this limit before version 7, which takes up to 2^31 - 1.
const MAX_WORDS: usize = 1024 * 1024;

/// The longest line of words, and the longest length line of an array, in bytes. As in Redis.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// The limits before authentication. As in Redis.
const MAX_WORDS_UNAUTHENTICATED: usize = 10;
const MAX_WORD_LENGTH_UNAUTHENTICATED: usize = 16 * 1024;

/// The error reply to input that is not a request. The connection must end, because nothing shows where the next request
/// begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) Vec<u8>);

impl Malformed {
    fn new(what: &str) -> Malformed {
        Malformed(format!("ERR Protocol error: {what}").into_bytes())
    }
}

/// How large a request may be. It depends on whether the client has given the password.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLimits {
    max_words: usize,
    max_word_length: usize,
    is_authenticated: bool,
}

impl RequestLimits {
    pub(super) fn new(max_value: usize) -> RequestLimits {
        RequestLimits { max_words: MAX_WORDS, max_word_length: max_value, is_authenticated: true }
    }

    /// For a client that has not given the password.
    pub(super) fn unauthenticated() -> RequestLimits {
        RequestLimits {
            max_words: MAX_WORDS_UNAUTHENTICATED,
            max_word_length: MAX_WORD_LENGTH_UNAUTHENTICATED,
            is_authenticated: false,
        }
    }

    /// The length of the longest request, in bytes: two values of the full length, and 1 MiB for the rest; 16 KiB before
    /// authentication.
    pub(super) fn max_request(&self) -> usize {
        if self.is_authenticated {
            self.max_word_length.saturating_mul(2).saturating_add(1 << 20)
        } else {
            MAX_WORD_LENGTH_UNAUTHENTICATED
        }
    }
}

/// A complete unit of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame<'i> {
    /// A request as an array. Its words are ranges of the input.
    Array { words: Vec<Range<usize>>, length: usize },
    /// A request as a line, without its end. The reply ends the same way.
    Line { line: Cow<'i, [u8]>, end: &'static str, length: usize },
    /// Bytes that are not a request, such as a telnet command, and the answer to them, which may be empty. In the middle of a
    /// line the length is 0.
    Skip { reply: &'static [u8], length: usize },
}

impl Frame<'_> {
    /// Its length in the input, in bytes.
    pub(super) fn length(&self) -> usize {
        match self {
            Frame::Array { length, .. } | Frame::Line { length, .. } | Frame::Skip { length, .. } => *length,
        }
    }
}

/// What a client's requests look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Lines as people type them, with telnet commands.
    Text,
    /// Arrays, and Redis's inline commands: lines of any bytes that end with LF or CRLF.
    Resp,
}

/// Finds one frame after the other. It looks at each byte only once, however the bytes arrive.
#[derive(Debug)]
pub(super) struct Parser {
    resp: RespParser,
    text: Scanner,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { resp: RespParser::default(), text: Scanner::after_start() }
    }
}

impl Parser {
    /// The frame at the start of `input`, or `None` if it is not complete. After `None`, call it with the same input and
    /// what has arrived since; after a frame, with what follows the frame.
    ///
    /// # Errors
    ///
    /// The input is not a request, or the request is too large.
    pub(super) fn next_frame<'i>(
        &mut self,
        input: &'i [u8],
        limits: RequestLimits,
        syntax: Syntax,
    ) -> Result<Option<Frame<'i>>, Malformed> {
        if syntax == Syntax::Text {
            return self.next_text_frame(input);
        }
        // A client that has switched to RESP by a line ending with CR may still send the LF of that line.
        let length = self.text.late_line_end(input);
        if length > 0 {
            return Ok(Some(Frame::Skip { reply: b"", length }));
        }
        self.resp.next_frame(input, limits)
    }

    fn next_text_frame<'i>(&mut self, input: &'i [u8]) -> Result<Option<Frame<'i>>, Malformed> {
        let found = self.text.scan(input);
        // An incomplete line counts as well, so the limit is the same however the line arrives.
        let line_length = match found {
            Some(Item::Line(line)) => line.end_at,
            Some(Item::Skip { .. }) => 0,
            None => input.len(),
        };
        if line_length > MAX_LINE {
            return Err(Malformed::new("too big inline request"));
        }
        Ok(found.map(|item| match item {
            Item::Line(line) => Frame::Line { line: line.text(input), end: line.end, length: line.length },
            Item::Skip { length, reply } => Frame::Skip { reply, length },
        }))
    }
}

/// Parses an integer as Redis does: digits, optionally after a minus. `01`, `+1` and `-0` are not integers.
pub(super) fn parse_integer(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = text == "0" || unsigned.starts_with(|first: char| ('1'..='9').contains(&first));
    text.parse().ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits =
        RequestLimits { max_words: 1024 * 1024, max_word_length: 8 << 20, is_authenticated: true };

    fn words(input: &[u8]) -> Vec<Vec<u8>> {
        match Parser::default().next_frame(input, LIMITS, Syntax::Resp).unwrap().unwrap() {
            Frame::Array { words, length } => {
                assert_eq!(length, input.len());
                words.into_iter().map(|word| input[word].to_vec()).collect()
            }
            Frame::Line { line, length, .. } => {
                assert_eq!(length, input.len());
                split(&line).unwrap()
            }
            Frame::Skip { .. } => panic!("RESP has nothing to skip"),
        }
    }

    fn refused(input: &[u8]) -> String {
        String::from_utf8(Parser::default().next_frame(input, LIMITS, Syntax::Resp).unwrap_err().0).unwrap()
    }

    #[test]
    fn arrays_and_lines_are_split_into_words() {
        assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n"), [&b"GET"[..], b"\r\n"]);
        assert_eq!(words(b"*1\r\n$0\r\n\r\n"), [b""]);
        assert!(words(b"*0\r\n").is_empty() && words(b"*-1\r\n").is_empty());
        assert_eq!(words(b"SET  a \"b c\"\r\n"), [&b"SET"[..], b"a", b"b c"]);
        assert!(words(b"\n").is_empty());
    }

    #[test]
    fn hostile_lengths_are_refused_before_memory_is_allocated() {
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
        let malformed =
            Parser::default().next_frame(b"*11\r\n", RequestLimits::unauthenticated(), Syntax::Resp).unwrap_err();
        assert_eq!(malformed.0, b"ERR Protocol error: unauthenticated multibulk length");
        let malformed = Parser::default()
            .next_frame(b"*1\r\n$16385\r\n", RequestLimits::unauthenticated(), Syntax::Resp)
            .unwrap_err();
        assert_eq!(malformed.0, b"ERR Protocol error: unauthenticated bulk length");
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
                assert_eq!(parser.next_frame(&input[..first], LIMITS, Syntax::Resp), Ok(None));
                assert_eq!(parser.next_frame(&input[..second], LIMITS, Syntax::Resp), Ok(None));
                let whole = Parser::default().next_frame(input, LIMITS, Syntax::Resp);
                assert_eq!(parser.next_frame(input, LIMITS, Syntax::Resp), whole);
            }
        }
    }

    #[test]
    fn integers_are_parsed_as_in_redis() {
        for (text, number) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_integer(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "01", "-0", "1 ", " 1", "1.0", "9223372036854775808", "٣"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
