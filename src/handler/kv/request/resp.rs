//! Parses what programs send: [RESP](https://redis.io/docs/latest/develop/reference/protocol-spec/) arrays, and Redis's
//! inline commands.

use std::ops::Range;

use super::{Frame, MAX_LINE, Malformed, RequestLimits, integer};

/// The state of a request that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct RespParser {
    /// The request has been parsed up to here.
    position: usize,
    /// How many words are still to come. `None` before the length of the array is known.
    words_left: Option<usize>,
    /// The length of the next word, once it is known.
    next_word_length: Option<usize>,
    words: Vec<Range<usize>>,
    /// There is no LF between `position` and here.
    scanned_to: usize,
}

/// The line before an array (`*3`) or a word (`$5`), and its errors.
struct LengthLine {
    too_long: &'static str,
    invalid: &'static str,
}

const ARRAY_LENGTH: LengthLine =
    LengthLine { too_long: "too big mbulk count string", invalid: "invalid multibulk length" };
const WORD_LENGTH: LengthLine = LengthLine { too_long: "too big bulk count string", invalid: "invalid bulk length" };

impl RespParser {
    /// As [`Parser::next`](super::Parser::next).
    pub(super) fn next<'i>(&mut self, input: &'i [u8], limits: RequestLimits) -> Result<Option<Frame<'i>>, Malformed> {
        let is_inline = self.words_left.is_none() && input.first() != Some(&b'*');
        let parsed = if is_inline { self.inline(input) } else { self.array(input, limits) };
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
        if self.words_left.is_none() {
            let Some(count) = self.length_line(input, &ARRAY_LENGTH)? else { return Ok(None) };
            if count > limits.max_words as i64 {
                return Err(Malformed::new(if limits.is_authenticated {
                    ARRAY_LENGTH.invalid
                } else {
                    "unauthenticated multibulk length"
                }));
            }
            // A negative length is the same as an empty array, which is skipped.
            self.words_left = Some(usize::try_from(count).unwrap_or(0));
        }
        while let Some(words_left @ 1..) = self.words_left {
            let Some(word) = self.word(input, limits)? else { return Ok(None) };
            self.words.push(word);
            self.words_left = Some(words_left - 1);
        }
        Ok(Some(Frame::Array { words: std::mem::take(&mut self.words), length: self.position }))
    }

    fn word(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<Range<usize>>, Malformed> {
        if self.next_word_length.is_none() {
            self.next_word_length = self.word_length(input, limits)?;
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

    fn word_length(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<usize>, Malformed> {
        match input.get(self.position) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&other) => {
                let mut malformed = Malformed::new("expected '$', got '");
                malformed.0.extend([other, b'\'']);
                return Err(malformed);
            }
        }
        let Some(length) = self.length_line(input, &WORD_LENGTH)? else { return Ok(None) };
        let length = usize::try_from(length).ok().filter(|length| *length <= limits.max_word_length);
        let error = if limits.is_authenticated { WORD_LENGTH.invalid } else { "unauthenticated bulk length" };
        length.map(Some).ok_or_else(|| Malformed::new(error))
    }

    /// Parses the number of a length line at `position`. The caller has checked the first byte.
    fn length_line(&mut self, input: &[u8], line: &LengthLine) -> Result<Option<i64>, Malformed> {
        let start = self.position + 1;
        self.scanned_to = self.scanned_to.max(start);
        let found = self.find_line_end(input);
        if found.unwrap_or(input.len()) > start + MAX_LINE {
            return Err(Malformed::new(line.too_long));
        }
        let Some(end) = found else { return Ok(None) };
        let digits = input.get(start..end).unwrap_or_default();
        self.position = end + 1;
        let number = digits.strip_suffix(b"\r").and_then(integer);
        number.map(Some).ok_or_else(|| Malformed::new(line.invalid))
    }

    /// The index of the next LF.
    fn find_line_end(&mut self, input: &[u8]) -> Option<usize> {
        let unscanned = input.get(self.scanned_to..).unwrap_or_default();
        let found = unscanned.iter().position(|&byte| byte == b'\n').map(|index| self.scanned_to + index);
        self.scanned_to = found.unwrap_or(input.len());
        found
    }
}
