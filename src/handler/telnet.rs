//! Lines as telnet clients send them: telnet's own commands (RFC 854, RFC 855) are taken out, wherever they stand.
//!
//! They have to be known before lines are looked for: the height of a window (RFC 1073) may well be ten, which is LF.

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;

/// An option that asks for an answer at a place in the stream (RFC 860): telnet sends `DO TIMING-MARK` after Ctrl-C, and
/// drops everything up to the answer.
const TIMING_MARK: u8 = 6;

/// The answer to it, before the reply to the line that has it.
pub(super) const MARK: &[u8] = &[IAC, 252, TIMING_MARK];

/// A line without telnet's commands and without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    /// How it ended: the reply ends the same way.
    pub(super) end: &'static str,
    /// How many bytes it took on the wire.
    pub(super) length: usize,
    /// The client waits for a [`MARK`].
    pub(super) asks_for_mark: bool,
}

/// Finds the next line in bytes that arrive bit by bit. It looks at each byte once, and keeps none.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    scanned: usize,
    state: State,
    has_commands: bool,
    asks_for_mark: bool,
}

/// What the bytes before have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After `IAC`.
    Command,
    /// After `IAC WILL`, `WONT` or `DONT`: an option follows.
    Negotiation,
    /// After `IAC DO`, the same.
    Demand,
    /// After `IAC SB`: anything, until `IAC SE`.
    Subnegotiation,
    SubnegotiationCommand,
}

impl Scanner {
    /// The next line and its length, or `None` if its end is not there yet. Give it the same bytes again then, and
    /// more.
    pub(super) fn scan(&mut self, unread: &[u8]) -> Option<(Line, usize)> {
        for &byte in unread.iter().skip(self.scanned) {
            self.scanned += 1;
            // After `IAC` too: LF is no command, so it ends the line.
            if byte == b'\n' && matches!(self.state, State::Text | State::Command) {
                let Scanner { scanned: length, has_commands, asks_for_mark, .. } = std::mem::take(self);
                let line = Line::new(unread.get(..length - 1)?, has_commands);
                return Some((Line { asks_for_mark, ..line }, length));
            }
            self.has_commands |= byte == IAC;
            self.asks_for_mark |= self.state == State::Demand && byte == TIMING_MARK;
            self.state = self.state.after(byte);
        }
        None
    }

    /// The bytes that were looked at are consumed, before the end of their line; what a command among them has begun
    /// goes on.
    pub(super) fn skip(&mut self) {
        self.scanned = 0;
    }
}

impl State {
    fn after(self, byte: u8) -> State {
        match (self, byte) {
            (State::Text, IAC) => State::Command,
            (State::Command, DO) => State::Demand,
            (State::Command, WILL..=DONT) => State::Negotiation,
            (State::Command, SB) => State::Subnegotiation,
            (State::Subnegotiation, IAC) => State::SubnegotiationCommand,
            (State::SubnegotiationCommand, SE) => State::Text,
            (State::Subnegotiation | State::SubnegotiationCommand, _) => State::Subnegotiation,
            (State::Text | State::Command | State::Negotiation | State::Demand, _) => State::Text,
        }
    }
}

impl Line {
    fn new(bytes: &[u8], has_commands: bool) -> Line {
        let mut text = if has_commands { without_commands(bytes) } else { bytes.to_vec() };
        let end = if text.last() == Some(&b'\r') { "\r\n" } else { "\n" };
        text.truncate(text.len() + 1 - end.len());
        Line { text, end, length: bytes.len() + 1, asks_for_mark: false }
    }
}

/// The text of a line. `IAC` stays where no command follows it (those have numbers from `SE` on), and `IAC IAC` is
/// the byte 255 itself: neither is UTF-8, so the line will be answered with an error.
fn without_commands(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut state = State::Text;
    for &byte in bytes {
        match (state, byte) {
            (State::Text, IAC) => {}
            (State::Text, _) | (State::Command, IAC) => text.push(byte),
            (State::Command, ..SE) => text.extend([IAC, byte]),
            _ => {}
        }
        state = state.after(byte);
    }
    if state == State::Command {
        text.push(IAC);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(bytes: &[u8]) -> Option<Vec<u8>> {
        Scanner::default().scan(bytes).map(|(line, _)| line.text)
    }

    #[test]
    fn both_line_ends_are_found_and_kept() {
        for (bytes, end) in [(b"hello\n".as_slice(), "\n"), (b"hello\r\n", "\r\n")] {
            let (line, length) = Scanner::default().scan(bytes).unwrap();
            assert_eq!((line.text.as_slice(), line.end, length), (b"hello".as_slice(), end, bytes.len()));
        }
        assert_eq!(text_of(b"no end"), None);
    }

    #[test]
    fn negotiation_is_taken_out_even_when_it_looks_like_a_line_end() {
        assert_eq!(text_of(b"\xff\xfd\x0a\xff\xfb\x18hi\n"), Some(b"hi".to_vec()));
        assert_eq!(text_of(b"h\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0i\n"), Some(b"hi".to_vec()), "80 columns, 10 rows");
        assert_eq!(text_of(b"h\xff\xfa\x1f\xff\xff\xff\xf0i\n"), Some(b"hi".to_vec()), "IAC IAC inside");
        assert_eq!(text_of(b"h\xff\xf1i\n"), Some(b"hi".to_vec()), "NOP");
        assert_eq!(text_of(b"\xff\xfd\n"), None, "this LF is an option");
    }

    #[test]
    fn a_mark_that_is_asked_for_is_noticed() {
        // What Debian's telnet sends for Ctrl-C, and the next line.
        let (line, _) = Scanner::default().scan(b"\xff\xf4\xff\xfd\x06hi\r\n").unwrap();
        assert_eq!((line.text.as_slice(), line.asks_for_mark), (b"hi".as_slice(), true));
        let (line, _) = Scanner::default().scan(b"\xff\xfb\x06\xff\xfd\x01\x06hi\r\n").unwrap();
        assert!(!line.asks_for_mark, "WILL TIMING-MARK, and DO ECHO");
    }

    #[test]
    fn a_doubled_iac_is_the_byte_itself() {
        assert_eq!(text_of(b"a\xff\xffb\n"), Some(b"a\xffb".to_vec()));
    }

    #[test]
    fn what_is_no_command_is_text_and_never_swallows_the_end_of_a_line() {
        assert_eq!(text_of(b"a\xff\nb\n"), Some(b"a\xff".to_vec()));
        assert_eq!(text_of(b"a\xffb\n"), Some(b"a\xffb".to_vec()));
        assert_eq!(text_of(b"a\xff\xefb\n"), Some(b"a\xff\xefb".to_vec()));
        assert_eq!(text_of(b"a\xff\xf0b\n"), Some(b"ab".to_vec()), "the first of the commands");
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let bytes = b"a\xff\xff\r\n\xff\xfa\x1f\x00\n\xff\xf0b\xff\xfe\x01c\nd\n";
        let whole = Scanner::default().scan(bytes);
        for split in 0..bytes.len() {
            let mut scanner = Scanner::default();
            let found = scanner.scan(&bytes[..split]).or_else(|| scanner.scan(bytes));
            assert_eq!(found, whole, "split at {split}");
        }
    }
}
