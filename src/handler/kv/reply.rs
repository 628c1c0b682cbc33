//! Writes replies in the client's dialect: [RESP2 or
//! RESP3](https://redis.io/docs/latest/develop/reference/protocol-spec/) for programs, text for people.

use std::io::Write;

use crate::terminal::is_obeyed;

/// How the replies to a client are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KvDialect {
    Text,
    Resp2,
    Resp3,
}

/// Once the replies are longer than this, in bytes, no further value is added. So the replies to any requests take no more
/// memory than this and one value.
const MAX_LENGTH: usize = 64 * 1024 * 1024;

/// A buffer of replies, one after the other.
///
/// An array or a map begins with its length, and that many replies follow. When a command fails, the caller truncates
/// what the command has written.
#[derive(Debug)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    dialect: KvDialect,
    /// In text, lines end as the client's lines do. `nc` sends LF alone.
    line_end: &'static [u8],
    /// A value has been left out, because the replies were too long.
    overflowed: bool,
}

impl Replies {
    pub(super) fn new(dialect: KvDialect) -> Replies {
        Replies { bytes: Vec::new(), dialect, line_end: b"\r\n", overflowed: false }
    }

    /// An empty buffer with the same dialect and line end.
    pub(super) fn empty_copy(&self) -> Replies {
        Replies { bytes: Vec::new(), dialect: self.dialect, line_end: self.line_end, overflowed: false }
    }

    pub(super) fn dialect(&self) -> KvDialect {
        self.dialect
    }

    pub(super) fn set_dialect(&mut self, dialect: KvDialect) {
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

    /// Removes everything after the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Whether a value was left out since the last call.
    pub(super) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// Frees the memory of a large reply.
    pub(super) fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }

    /// Appends replies that are already encoded in the same dialect.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn is_text(&self) -> bool {
        self.dialect == KvDialect::Text
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

    fn length_line(&mut self, prefix: u8, length: usize) {
        // Writing to a vector can't fail.
        let _ = write!(self.bytes, "{}{length}\r\n", prefix as char);
    }

    pub(super) fn ok(&mut self) {
        self.simple("OK");
    }

    /// A simple string. `word` must be printable ASCII.
    pub(super) fn simple(&mut self, word: &str) {
        let prefix: &[u8] = if self.is_text() { b"" } else { b"+" };
        self.line(prefix, word.as_bytes());
    }

    /// An error. The first word of the message is Redis's code for its kind, such as `ERR`.
    pub(super) fn error(&mut self, message: &str) {
        self.error_in_bytes(message.as_bytes());
    }

    /// Like [`error`](Replies::error), for a message that quotes the client and so may not be UTF-8. Line ends become
    /// spaces, because they would end the error. In text, all control characters do.
    pub(super) fn error_in_bytes(&mut self, message: &[u8]) {
        if self.is_text() {
            let message = String::from_utf8_lossy(message).replace(char::is_control, " ");
            let message = message.strip_prefix("ERR ").unwrap_or(&message);
            self.line(b"ERROR ", message.as_bytes());
        } else {
            let without_line_end = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
            let message: Vec<u8> = message.iter().map(without_line_end).collect();
            self.line(b"-", &message);
        }
    }

    pub(super) fn integer(&mut self, number: i64) {
        if !self.is_text() {
            self.bytes.push(b':');
        }
        // Writing to a vector can't fail.
        let _ = write!(self.bytes, "{number}");
        self.end_line();
    }

    /// A string of any bytes.
    pub(super) fn bulk(&mut self, value: &[u8]) {
        if self.bytes.len() > MAX_LENGTH {
            self.overflowed = true;
        } else if self.is_text() {
            self.text_value(value);
        } else {
            self.length_line(b'$', value.len());
            self.line(b"", value);
        }
    }

    /// Text of several lines, for people.
    pub(super) fn verbatim(&mut self, text: &str) {
        match self.dialect {
            KvDialect::Text if text.is_empty() => self.line(b"EMPTY", b""),
            KvDialect::Text => {
                for line in text.lines() {
                    self.line(b"", line.as_bytes());
                }
            }
            KvDialect::Resp2 => self.bulk(text.as_bytes()),
            KvDialect::Resp3 => {
                self.length_line(b'=', text.len() + 4);
                self.line(b"txt:", text.as_bytes());
            }
        }
    }

    pub(super) fn nil(&mut self) {
        let nil: &[u8] = match self.dialect {
            KvDialect::Text => b"NOT_FOUND",
            KvDialect::Resp2 => b"$-1",
            KvDialect::Resp3 => b"_",
        };
        self.line(nil, b"");
    }

    /// Nil in place of an array.
    pub(super) fn nil_array(&mut self) {
        if self.dialect == KvDialect::Resp2 {
            self.line(b"*-1", b"");
        } else {
            self.nil();
        }
    }

    /// Begins an array. The next `count` replies are its elements.
    pub(super) fn array(&mut self, count: usize) {
        if !self.is_text() {
            self.length_line(b'*', count);
        } else if count == 0 {
            self.line(b"EMPTY", b"");
        }
    }

    /// Begins a set: an array without an order. Only RESP3 distinguishes the two.
    pub(super) fn set(&mut self, count: usize) {
        match self.dialect {
            KvDialect::Text => self.array(count),
            KvDialect::Resp2 => self.length_line(b'*', count),
            KvDialect::Resp3 => self.length_line(b'~', count),
        }
    }

    /// Begins a map. The next `count` pairs of replies are its keys and values.
    pub(super) fn map(&mut self, count: usize) {
        match self.dialect {
            KvDialect::Text => self.array(count),
            KvDialect::Resp2 => self.length_line(b'*', count * 2),
            KvDialect::Resp3 => self.length_line(b'%', count),
        }
    }

    /// Writes a value in text. Plain text that can't be mistaken for anything else has no quotes. Other values are quoted as
    /// in `redis-cli`, so that one value never looks like two replies or like `NOT_FOUND`.
    fn text_value(&mut self, value: &[u8]) {
        let text = std::str::from_utf8(value).ok().filter(|text| is_plain(text));
        match text {
            Some(text) => self.bytes.extend_from_slice(text.as_bytes()),
            None => quote(value, &mut self.bytes),
        }
        self.end_line();
    }
}

/// Whether a value can stand on a line without quotes.
fn is_plain(text: &str) -> bool {
    let is_ambiguous = text.is_empty()
        || text.starts_with('"')
        || text.starts_with(' ')
        || text.ends_with(' ')
        || ["NOT_FOUND", "OK", "ERROR", "EMPTY"].contains(&text)
        || text.starts_with("ERROR ");
    !is_ambiguous && !text.chars().any(is_obeyed)
}

/// Quotes a value with escapes. [`split`](super::request::split) reads it back.
fn quote(value: &[u8], output: &mut Vec<u8>) {
    output.push(b'"');
    for &byte in value {
        match byte {
            b'"' | b'\\' => output.extend_from_slice(&[b'\\', byte]),
            b'\n' => output.extend_from_slice(b"\\n"),
            b'\r' => output.extend_from_slice(b"\\r"),
            b'\t' => output.extend_from_slice(b"\\t"),
            b' '..=b'~' => output.push(byte),
            _ => {
                let _ = write!(output, "\\x{byte:02x}");
            }
        }
    }
    output.push(b'"');
}
