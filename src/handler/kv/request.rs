//! Requests, as they lie in the input: arrays of strings (RESP), or a line of words as a person types it.
//!
//! Nothing is copied but the words of a line that has quotes in it, and nothing is reserved for what a client says will
//! come.

use std::ops::Range;

/// Words of one request at the most, as in Redis before version 7, which takes up to 2^31 - 1.
const MOST_WORDS: usize = 1024 * 1024;

/// The longest line of words, and the longest header line of an array, in bytes; as in Redis.
const LONGEST_LINE: usize = 64 * 1024;

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
pub(super) enum Parsed {
    /// The words of an array, as places in the input.
    Array { words: Vec<Range<usize>>, length: usize },
    /// A line, without its end.
    Line { line: Range<usize>, length: usize },
}

impl Parsed {
    /// How many bytes of input it takes.
    pub(super) fn length(&self) -> usize {
        match self {
            Parsed::Array { length, .. } | Parsed::Line { length, .. } => *length,
        }
    }
}

/// Finds one request after the other. What was read of one that is not complete is not read again when more has come.
#[derive(Debug, Default)]
pub(super) struct Parser {
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

impl Parser {
    /// The request that begins at the first byte of `input`, if it is complete. Until it is, each call must bring the
    /// same input again, with more at its end.
    ///
    /// # Errors
    ///
    /// It is no request, or one that is too large.
    ///
    /// With `takes_arrays`, a `*` begins an array; without, there are only lines.
    pub(super) fn next(
        &mut self,
        input: &[u8],
        bounds: Bounds,
        takes_arrays: bool,
    ) -> Result<Option<Parsed>, Malformed> {
        let parsed = if !takes_arrays || self.missing.is_none() && input.first() != Some(&b'*') {
            self.line(input)
        } else {
            self.array(input, bounds)
        };
        if !matches!(parsed, Ok(None)) {
            *self = Parser::default();
        }
        parsed
    }

    fn line(&mut self, input: &[u8]) -> Result<Option<Parsed>, Malformed> {
        let found = self.line_end(input);
        // Whether its end has come or not: how the line was cut into pieces makes no difference.
        if found.unwrap_or(input.len()) > LONGEST_LINE {
            return Err(malformed("too big inline request"));
        }
        let Some(end) = found else { return Ok(None) };
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Parsed::Line { line: 0..line.len(), length: end + 1 }))
    }

    fn array(&mut self, input: &[u8], bounds: Bounds) -> Result<Option<Parsed>, Malformed> {
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

/// The words of a line, with quotes as Redis has them: `"a b\n\x00"` with escapes, `'a b'` with none but `\'`.
/// `None`: a quote is not closed, or not followed by a space.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = line.iter().copied().peekable();
    let mut words = Vec::new();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        let mut word = Vec::new();
        if rest.peek().is_none() {
            return Some(words);
        }
        while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'"' | b'\'' => {
                    quoted(&mut rest, byte, &mut word)?;
                    if rest.peek().is_some_and(|next| !next.is_ascii_whitespace()) {
                        return None;
                    }
                }
                _ => word.push(byte),
            }
        }
        words.push(word);
    }
}

/// Reads on to the closing quote.
fn quoted(rest: &mut (impl Iterator<Item = u8> + Clone), quote: u8, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match rest.next()? {
            byte if byte == quote => return Some(()),
            b'\\' if quote == b'"' => word.push(escaped(rest)?),
            b'\\' => {
                let mut ahead = rest.clone();
                if ahead.next() == Some(b'\'') {
                    *rest = ahead;
                    word.push(b'\'');
                } else {
                    word.push(b'\\');
                }
            }
            byte => word.push(byte),
        }
    }
}

/// What stands after a backslash.
fn escaped(rest: &mut (impl Iterator<Item = u8> + Clone)) -> Option<u8> {
    let mut ahead = rest.clone();
    let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
    if ahead.next() == Some(b'x')
        && let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next()))
    {
        *rest = ahead;
        return Some((high * 16 + low) as u8);
    }
    Some(match rest.next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { words: 1024 * 1024, word: 8 << 20, is_stranger: false };

    fn words(input: &[u8]) -> Vec<Vec<u8>> {
        match Parser::default().next(input, BOUNDS, true).unwrap().unwrap() {
            Parsed::Array { words, length } => {
                assert_eq!(length, input.len());
                words.into_iter().map(|word| input[word].to_vec()).collect()
            }
            Parsed::Line { line, length } => {
                assert_eq!(length, input.len());
                split(&input[line]).unwrap()
            }
        }
    }

    fn refused(input: &[u8]) -> String {
        String::from_utf8(Parser::default().next(input, BOUNDS, true).unwrap_err().0).unwrap()
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
        let stranger = Parser::default().next(b"*11\r\n", Bounds::of_a_stranger(), true).unwrap_err();
        assert_eq!(stranger.0, b"ERR Protocol error: unauthenticated multibulk length");
        let stranger = Parser::default().next(b"*1\r\n$16385\r\n", Bounds::of_a_stranger(), true).unwrap_err();
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
                assert_eq!(parser.next(&input[..first], BOUNDS, true), Ok(None));
                assert_eq!(parser.next(&input[..second], BOUNDS, true), Ok(None));
                let whole = Parser::default().next(input, BOUNDS, true);
                assert_eq!(parser.next(input, BOUNDS, true), whole);
            }
        }
    }

    #[test]
    fn quotes_are_redis_own() {
        let split = |line: &str| split(line.as_bytes());
        let words = |words: &[&[u8]]| Some(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
        assert_eq!(split(r#"set greeting "hello world""#), words(&[b"set", b"greeting", b"hello world"]));
        assert_eq!(split(r#""\x00\xfF\n\q\x1""#), words(&[b"\x00\xff\nqx1"]));
        assert_eq!(split(r"'it\'s \n'"), words(&[br"it's \n"]));
        assert_eq!(split(r#""" ''"#), words(&[b"", b""]));
        assert_eq!(split(r#"a"b"c"#), None);
        assert_eq!(split(r#""open"#), None);
        assert_eq!(split(r"'open"), None);
        assert_eq!(split("   "), words(&[]));
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
