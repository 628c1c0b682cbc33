//! Replies, in whichever dialect the client speaks: [RESP2 and
//! RESP3](https://redis.io/docs/latest/develop/reference/protocol-spec/) for programs, text for people.

use std::io::Write;

/// How a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Text,
    Resp2,
    Resp3,
}

/// A reply that is longer than this gets no further value, in bytes. So whatever a client asks for, the server holds no
/// more for it than this and one value.
const LONG: usize = 64 * 1024 * 1024;

/// Replies that are to be sent, one after the other.
///
/// An array or a map is announced with its length, and as many replies follow. What a command has written before it
/// fails is taken back.
#[derive(Debug)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    dialect: Dialect,
    /// Lines end as those of the client do; people's `nc` sends LF alone.
    line_end: &'static [u8],
    /// A value was left out, since the reply would have been too long.
    overflowed: bool,
}

impl Replies {
    pub(super) fn new(dialect: Dialect) -> Replies {
        Replies { bytes: Vec::new(), dialect, line_end: b"\r\n", overflowed: false }
    }

    /// The same dialect and line end, and nothing to be sent yet.
    pub(super) fn empty_copy(&self) -> Replies {
        Replies { bytes: Vec::new(), dialect: self.dialect, line_end: self.line_end, overflowed: false }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    pub(super) fn set_line_end(&mut self, line_end: &'static [u8]) {
        self.line_end = line_end;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes back what was written after the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Whether a value was left out since this was asked the last time.
    pub(super) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// Gives memory back that only a large reply needs.
    pub(super) fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }

    /// Adds replies that were written elsewhere, in the same dialect.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn is_text(&self) -> bool {
        self.dialect == Dialect::Text
    }

    fn line(&mut self, prefix: &[u8], text: &[u8]) {
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(text);
        self.end_line();
    }

    fn end_line(&mut self) {
        let line_end = if self.is_text() { self.line_end } else { b"\r\n" };
        self.bytes.extend_from_slice(line_end);
    }

    fn length(&mut self, prefix: u8, length: usize) {
        // To a vector, which takes everything.
        let _ = write!(self.bytes, "{}{length}\r\n", prefix as char);
    }

    pub(super) fn ok(&mut self) {
        self.simple("OK");
    }

    /// A word of the protocol, of no more than printable ASCII.
    pub(super) fn simple(&mut self, word: &str) {
        let prefix: &[u8] = if self.is_text() { b"" } else { b"+" };
        self.line(prefix, word.as_bytes());
    }

    /// What went wrong, with Redis's word for its kind first.
    pub(super) fn error(&mut self, message: &str) {
        self.error_in_bytes(message.as_bytes());
    }

    /// As [`error`](Replies::error), with words of the client in it that may be no text. Line ends become spaces, since
    /// they would end it; for people, all control characters do.
    pub(super) fn error_in_bytes(&mut self, message: &[u8]) {
        if self.is_text() {
            let message = String::from_utf8_lossy(message).replace(char::is_control, " ");
            let message = message.strip_prefix("ERR ").unwrap_or(&message);
            self.line(b"ERROR ", message.as_bytes());
        } else {
            let shown = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
            let message: Vec<u8> = message.iter().map(shown).collect();
            self.line(b"-", &message);
        }
    }

    pub(super) fn integer(&mut self, number: i64) {
        if !self.is_text() {
            self.bytes.push(b':');
        }
        let _ = write!(self.bytes, "{number}");
        self.end_line();
    }

    /// A string of bytes.
    pub(super) fn bulk(&mut self, value: &[u8]) {
        if self.bytes.len() > LONG {
            self.overflowed = true;
        } else if self.is_text() {
            self.shown(value);
        } else {
            self.length(b'$', value.len());
            self.line(b"", value);
        }
    }

    /// Text of several lines, for people.
    pub(super) fn verbatim(&mut self, text: &str) {
        match self.dialect {
            Dialect::Text if text.is_empty() => self.line(b"EMPTY", b""),
            Dialect::Text => {
                for line in text.lines() {
                    self.line(b"", line.as_bytes());
                }
            }
            Dialect::Resp2 => self.bulk(text.as_bytes()),
            Dialect::Resp3 => {
                self.length(b'=', text.len() + 4);
                self.line(b"txt:", text.as_bytes());
            }
        }
    }

    pub(super) fn nil(&mut self) {
        let nil: &[u8] = match self.dialect {
            Dialect::Text => b"NOT_FOUND",
            Dialect::Resp2 => b"$-1",
            Dialect::Resp3 => b"_",
        };
        self.line(nil, b"");
    }

    /// Nothing, where there would be an array.
    pub(super) fn nil_array(&mut self) {
        if self.dialect == Dialect::Resp2 {
            self.line(b"*-1", b"");
        } else {
            self.nil();
        }
    }

    /// `count` replies follow, which are the array.
    pub(super) fn array(&mut self, count: usize) {
        if !self.is_text() {
            self.length(b'*', count);
        } else if count == 0 {
            self.line(b"EMPTY", b"");
        }
    }

    /// As an array, in no order; RESP3 says so.
    pub(super) fn set(&mut self, count: usize) {
        match self.dialect {
            Dialect::Text => self.array(count),
            Dialect::Resp2 => self.length(b'*', count),
            Dialect::Resp3 => self.length(b'~', count),
        }
    }

    /// `count` pairs of replies follow.
    pub(super) fn map(&mut self, count: usize) {
        match self.dialect {
            Dialect::Text => self.array(count),
            Dialect::Resp2 => self.length(b'*', count * 2),
            Dialect::Resp3 => self.length(b'%', count),
        }
    }

    /// A value for people: as it is if it is plain text that can't be taken for anything else, else quoted as Redis's
    /// own client quotes it. So one reply is never taken for two, nor for `NOT_FOUND`.
    fn shown(&mut self, value: &[u8]) {
        let text = std::str::from_utf8(value).ok().filter(|text| is_plain(text));
        match text {
            Some(text) => self.bytes.extend_from_slice(text.as_bytes()),
            None => quote(value, &mut self.bytes),
        }
        self.end_line();
    }
}

/// Whether text can stand for itself on a line.
fn is_plain(text: &str) -> bool {
    let is_taken = text.is_empty()
        || text.starts_with('"')
        || text.starts_with(' ')
        || text.ends_with(' ')
        || ["NOT_FOUND", "OK", "ERROR", "EMPTY"].contains(&text)
        || text.starts_with("ERROR ");
    !is_taken && !text.chars().any(is_hidden)
}

/// Control characters, and those that change the direction of text.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// `"a\r\n\x00"`: what [`split`](super::request::split) reads back.
fn quote(value: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for &byte in value {
        match byte {
            b'"' | b'\\' => into.extend_from_slice(&[b'\\', byte]),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            b' '..=b'~' => into.push(byte),
            _ => {
                let _ = write!(into, "\\x{byte:02x}");
            }
        }
    }
    into.push(b'"');
}
