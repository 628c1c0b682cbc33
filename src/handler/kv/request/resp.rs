//! Parses what programs send: [RESP](https://redis.io/docs/latest/develop/reference/protocol-spec/) arrays, and Redis's
//! inline commands.

use std::ops::Range;

use super::{Frame, MAX_LINE, Malformed, RequestLimits, parse_integer};

/// The state of a request that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct RespParser {
    /// The request has been parsed up to here.
    position: usize,
    /// How many words the array has, once that is known.
    array_length: Option<usize>,
    /// The words so far.
    words: Vec<Range<usize>>,
    /// The length of the next word, once it is known.
    next_word_length: Option<usize>,
    /// There is no LF between `position` and here.
    scanned_to: usize,
}

/// The errors of a length line, which comes before an array (`*3`) and before each word (`$5`).
struct LengthErrors {
    too_long_line: &'static str,
    invalid: &'static str,
    unauthenticated: &'static str,
}

const ARRAY_LENGTH_ERRORS: LengthErrors = LengthErrors {
    too_long_line: "too big mbulk count string",
    invalid: "invalid multibulk length",
    unauthenticated: "unauthenticated multibulk length",
};

const WORD_LENGTH_ERRORS: LengthErrors = LengthErrors {
    too_long_line: "too big bulk count string",
    invalid: "invalid bulk length",
    unauthenticated: "unauthenticated bulk length",
};

impl LengthErrors {
    /// The error for a length that the limits don't allow.
    fn out_of_range(&self, limits: RequestLimits) -> Malformed {
        Malformed::new(if limits.is_authenticated { self.invalid } else { self.unauthenticated })
    }
}

impl RespParser {
    /// The frame at the start of `input`: see [`Parser::next_frame`](super::Parser::next_frame).
    pub(super) fn next_frame<'i>(
        &mut self,
        input: &'i [u8],
        limits: RequestLimits,
    ) -> Result<Option<Frame<'i>>, Malformed> {
        let parsed = if input.first() == Some(&b'*') { self.array(input, limits) } else { self.inline(input) };
        if !matches!(parsed, Ok(None)) {
            *self = RespParser::default();
        }
        parsed
    }

    fn inline<'i>(&mut self, input: &'i [u8]) -> Result<Option<Frame<'i>>, Malformed> {
        let found = self.find_line_end(input);
        // An incomplete line counts as well, so the limit is the same however the line arrives.
        if found.unwrap_or(input.len()) > MAX_LINE {
            return Err(Malformed::new("too big inline request"));
        }
        let Some(end) = found else { return Ok(None) };
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Frame::Line { line: line.into(), end: "\r\n", length: end + 1 }))
    }

    fn array<'i>(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<Frame<'i>>, Malformed> {
        if self.array_length.is_none() {
            self.array_length = self.read_array_length(input, limits)?;
        }
        let Some(array_length) = self.array_length else { return Ok(None) };
        while self.words.len() < array_length {
            let Some(word) = self.word(input, limits)? else { return Ok(None) };
            self.words.push(word);
        }
        Ok(Some(Frame::Array { words: std::mem::take(&mut self.words), length: self.position }))
    }

    fn read_array_length(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<usize>, Malformed> {
        let Some(length) = self.length_line(input, &ARRAY_LENGTH_ERRORS)? else { return Ok(None) };
        if length > limits.max_words as i64 {
            return Err(ARRAY_LENGTH_ERRORS.out_of_range(limits));
        }
        // A negative length means an empty array.
        Ok(Some(usize::try_from(length).unwrap_or(0)))
    }

    fn word(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<Range<usize>>, Malformed> {
        if self.next_word_length.is_none() {
            self.next_word_length = self.read_word_length(input, limits)?;
        }
        let Some(length) = self.next_word_length else { return Ok(None) };
        let word = self.position..self.position + length;
        if input.len() < word.end + 2 {
            return Ok(None);
        }
        // As in Redis, the two bytes after a word may be anything, not just CRLF.
        self.position = word.end + 2;
        self.next_word_length = None;
        Ok(Some(word))
    }

    fn read_word_length(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<usize>, Malformed> {
        match input.get(self.position) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&other) => {
                let mut malformed = Malformed::new("expected '$', got '");
                malformed.0.extend([other, b'\'']);
                return Err(malformed);
            }
        }
        let Some(length) = self.length_line(input, &WORD_LENGTH_ERRORS)? else { return Ok(None) };
        match usize::try_from(length) {
            Ok(length) if length <= limits.max_word_length => Ok(Some(length)),
            _ => Err(WORD_LENGTH_ERRORS.out_of_range(limits)),
        }
    }

    /// Parses the number of a length line at `position`. The caller has checked the first byte.
    fn length_line(&mut self, input: &[u8], errors: &LengthErrors) -> Result<Option<i64>, Malformed> {
        let start = self.position + 1;
        self.scanned_to = self.scanned_to.max(start);
        let found = self.find_line_end(input);
        if found.unwrap_or(input.len()) > start + MAX_LINE {
            return Err(Malformed::new(errors.too_long_line));
        }
        let Some(end) = found else { return Ok(None) };
        let digits = input.get(start..end).unwrap_or_default();
        let number =
            digits.strip_suffix(b"\r").and_then(parse_integer).ok_or_else(|| Malformed::new(errors.invalid))?;
        self.position = end + 1;
        Ok(Some(number))
    }

    /// The index of the next LF.
    fn find_line_end(&mut self, input: &[u8]) -> Option<usize> {
        let unscanned = input.get(self.scanned_to..).unwrap_or_default();
        let found = unscanned.iter().position(|&byte| byte == b'\n').map(|index| self.scanned_to + index);
        self.scanned_to = found.unwrap_or(input.len());
        found
    }
}
