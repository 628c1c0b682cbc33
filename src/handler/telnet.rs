//! Lines as people send them, by telnet, `nc` or a terminal program: where a line ends, what was erased while it was typed,
//! and telnet's own commands, which may stand anywhere.
//!
//! Commands have to be known before lines are looked for: the height of a window (RFC 1073) may well be ten, which is LF.

use std::borrow::Cow;

mod command;
mod edit;

use command::{Command, IAC, Meaning, State};
use edit::{BACKSPACE, DELETE};

/// The answer to `DO TIMING-MARK` (RFC 860). telnet asks for it after Ctrl-C, and shows nothing until it has come.
const MARK: &[u8] = &[IAC, 252, 6];

/// The answer to AYT: "some visible (i.e., printable) evidence" (RFC 854).
const YES: &[u8] = b"[yes]\r\n";

/// What programs on Windows put before text in UTF-8.
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Line(Line),
    /// What is not of a line: the first `length` bytes are done with, and `reply` is to be sent at once. In the middle of
    /// a line `length` is 0; its bytes stay where they are.
    Other {
        length: usize,
        reply: &'static [u8],
    },
}

/// A whole line, as a place in what is unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// How many bytes it takes, with its end.
    pub(super) length: usize,
    /// How it ended: the reply ends the same way. An end with CR is CRLF.
    pub(super) end: &'static str,
    /// How many bytes come before its end.
    pub(super) end_at: usize,
    /// There are commands or erasures in it.
    is_edited: bool,
}

impl Line {
    /// The text, without telnet's commands, what was erased, and its end. `unread` is what the line was found in.
    pub(super) fn text<'a>(&self, unread: &'a [u8]) -> Cow<'a, [u8]> {
        let line = unread.get(..self.end_at).unwrap_or_default();
        if self.is_edited { edit::edited(line).into() } else { line.into() }
    }

    /// What counts for a limit: its bytes with the end. CR counts as CRLF, whatever has come of that by now; so the limit
    /// is the same however the line arrives.
    pub(super) fn size(&self) -> usize {
        self.end_at + self.end.len()
    }
}

/// Finds lines in bytes that arrive bit by bit. It looks at each byte once, and keeps none.
///
/// A line ends with LF, CRLF, CR NUL (RFC 854) or CR alone, which is what terminal programs send for Return. An end with CR
/// is not waited for: an LF or NUL that comes later is dropped. A byte order mark at the very start is dropped, once.
///
/// Telnet's commands begin no line: between lines they are done with as soon as they are whole.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    scanned: usize,
    state: State,
    /// Something was typed since the last line.
    is_in_line: bool,
    is_edited: bool,
    /// The last line ended with CR, and its LF or NUL has not come.
    is_after_cr: bool,
    start: Start,
}

/// What has come at the very start of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// This many bytes of a byte order mark.
    Mark(usize),
    /// Something else, or the whole mark.
    Over,
}

impl Default for Start {
    fn default() -> Start {
        Start::Mark(0)
    }
}

impl Scanner {
    /// One that drops no byte order mark: the start was read in another way.
    pub(super) fn after_start() -> Scanner {
        Scanner { start: Start::Over, ..Scanner::default() }
    }

    /// What comes next, or `None` if it is not complete. Give it the same bytes again then, and more; and after an item,
    /// those that follow the length that it has.
    pub(super) fn scan(&mut self, unread: &[u8]) -> Option<Item> {
        while let Some(&byte) = unread.get(self.scanned) {
            self.scanned += 1;
            let found = match self.state.read(byte) {
                Meaning::Byte(byte) => self.byte(byte, unread),
                Meaning::AfterStrayIac(byte) => {
                    let stray = self.byte(IAC, unread);
                    stray.or_else(|| self.byte(byte, unread))
                }
                Meaning::Command(command) => self.command(command),
                Meaning::Part => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// How many bytes have been looked at of those that the next item begins with.
    pub(super) fn scanned(&self) -> usize {
        self.scanned
    }

    /// The bytes that were looked at are consumed, before the end of their line; what a command among them has begun
    /// goes on.
    pub(super) fn skip(&mut self) {
        self.scanned = 0;
    }

    /// The rest of the end of the last line, if that has come only now, for who reads on in another way.
    pub(super) fn rest_of_end(&mut self, unread: &[u8]) -> usize {
        let is_rest = !unread.is_empty() && std::mem::take(&mut self.is_after_cr);
        usize::from(is_rest && matches!(unread, [b'\n' | 0, ..]))
    }

    fn byte(&mut self, byte: u8, unread: &[u8]) -> Option<Item> {
        if std::mem::take(&mut self.is_after_cr) && matches!(byte, b'\n' | 0) {
            return Some(self.consumed(b""));
        }
        if let Start::Mark(seen) = self.start {
            self.start = if BYTE_ORDER_MARK.get(seen) == Some(&byte) { Start::Mark(seen + 1) } else { Start::Over };
            if self.start == Start::Mark(BYTE_ORDER_MARK.len()) {
                self.start = Start::Over;
                return Some(self.consumed(b""));
            }
        }
        match byte {
            b'\n' => Some(self.line(1, "\n")),
            b'\r' if matches!(unread.get(self.scanned), Some(b'\n' | 0)) => {
                self.scanned += 1;
                Some(self.line(2, "\r\n"))
            }
            b'\r' => {
                let line = self.line(1, "\r\n");
                self.is_after_cr = true;
                Some(line)
            }
            BACKSPACE | DELETE if !self.is_in_line => Some(self.consumed(b"")),
            _ => {
                self.is_in_line = true;
                // 255 was sent as `IAC IAC`, or as an `IAC` that begins no command.
                self.is_edited |= matches!(byte, BACKSPACE | DELETE | IAC);
                None
            }
        }
    }

    fn command(&mut self, command: Command) -> Option<Item> {
        let reply = match command {
            Command::AreYouThere => YES,
            Command::TimingMark => MARK,
            Command::EraseLine => return Some(self.consumed(b"")),
            Command::EraseCharacter | Command::Other => b"",
        };
        if !self.is_in_line {
            return Some(self.consumed(reply));
        }
        self.is_edited = true;
        (!reply.is_empty()).then_some(Item::Other { length: 0, reply })
    }

    /// All that was looked at, which is no line.
    fn consumed(&mut self, reply: &'static [u8]) -> Item {
        let (length, _) = self.restart();
        Item::Other { length, reply }
    }

    fn line(&mut self, end_length: usize, end: &'static str) -> Item {
        let (length, is_edited) = self.restart();
        Item::Line(Line { length, end, end_at: length - end_length, is_edited })
    }

    /// Makes ready for the next item. How long the last one was, and whether it was edited.
    fn restart(&mut self) -> (usize, bool) {
        self.is_in_line = false;
        (std::mem::take(&mut self.scanned), std::mem::take(&mut self.is_edited))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is seen of a stream: texts of lines with their ends, and replies.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        lines: Vec<(Vec<u8>, &'static str, usize)>,
        replies: Vec<u8>,
        /// Bytes that have begun a line.
        begun: usize,
    }

    fn seen_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
        let (mut scanner, mut unread, mut seen) = (Scanner::default(), Vec::new(), Seen::default());
        for piece in pieces {
            unread.extend_from_slice(piece);
            while let Some(item) = scanner.scan(&unread) {
                let length = match item {
                    Item::Line(line) => {
                        seen.lines.push((line.text(&unread).into_owned(), line.end, line.size()));
                        line.length
                    }
                    Item::Other { length, reply } => {
                        seen.replies.extend_from_slice(reply);
                        length
                    }
                };
                unread.drain(..length);
            }
        }
        seen.begun = unread.len();
        seen
    }

    fn seen(stream: &[u8]) -> Seen {
        seen_in_pieces([stream])
    }

    fn texts(stream: &[u8]) -> Vec<String> {
        seen(stream).lines.iter().map(|(text, ..)| text.escape_ascii().to_string()).collect()
    }

    #[test]
    fn every_end_of_a_line_is_found_and_an_end_with_cr_is_crlf() {
        for (stream, end, size) in
            [(&b"hi\n"[..], "\n", 3), (b"hi\r\n", "\r\n", 4), (b"hi\r\0", "\r\n", 4), (b"hi\r", "\r\n", 4)]
        {
            assert_eq!(seen(stream).lines, [(b"hi".to_vec(), end, size)]);
            assert_eq!(seen_in_pieces(stream.chunks(1)).lines, [(b"hi".to_vec(), end, size)]);
        }
        assert!(texts(b"no end").is_empty());
        assert_eq!(texts(b"one\rtwo\r\nthree\r\0four\n\rfive\r"), ["one", "two", "three", "four", "", "five"]);
    }

    #[test]
    fn the_lf_or_nul_of_an_end_that_comes_late_is_no_line_and_begins_none() {
        for late in [b'\n', 0] {
            let seen = seen_in_pieces([&b"hi\r"[..], b"\xff\xf1", &[late], b"ho\r", &[late]]);
            let texts: Vec<_> = seen.lines.iter().map(|(text, ..)| text.as_slice()).collect();
            assert_eq!((texts, seen.begun), (vec![&b"hi"[..], b"ho"], 0));
        }
        assert_eq!(texts(b"hi\r\0\0ho\n"), ["hi", "\\x00ho"], "one NUL belongs to the end");
    }

    #[test]
    fn commands_are_taken_out_even_when_they_look_like_a_line_end() {
        assert_eq!(texts(b"\xff\xfd\x0a\xff\xfb\x18hi\n"), ["hi"]);
        assert_eq!(texts(b"h\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0i\n"), ["hi"], "80 columns, 10 rows");
        assert_eq!(texts(b"h\xff\xfa\x1f\xff\xff\xff\xf0i\n"), ["hi"], "IAC IAC inside");
        assert_eq!(texts(b"h\xff\xf1i\n"), ["hi"], "NOP");
        assert_eq!(texts(b"\xff\xf2hi\n"), ["hi"], "Synch's data mark");
    }

    #[test]
    fn whole_commands_begin_no_line() {
        // A keepalive, what plink opens with, Synch, keys that erase nothing, and a line that was erased.
        for stream in [
            &b"\xff\xf1"[..],
            b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03",
            b"\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0",
            b"\xff\xf4\xff\xf2",
            b"\x08\x7f\xff\xf7\xff\xf8",
            b"junk\xff\xf8",
        ] {
            assert_eq!(seen(stream), Seen::default());
            assert_eq!(seen_in_pieces(stream.chunks(1)), Seen::default());
        }
        assert_eq!(seen(b"\xff\xf1\xff\xfb").begun, 2, "a command that is half there");
    }

    #[test]
    fn what_asks_for_an_answer_gets_it_at_once_even_amid_a_line() {
        // What Debian's telnet sends for Ctrl-C.
        assert_eq!(seen(b"\xff\xf4\xff\xfd\x06").replies, MARK);
        let seen = seen(b"ECHO h\xff\xfd\x06\xff\xf6i");
        assert_eq!((seen.replies, seen.begun), ([MARK, YES].concat(), 12));
        assert_eq!(texts(b"ECHO h\xff\xfd\x06\xff\xf6i\n"), ["ECHO hi"]);
    }

    #[test]
    fn what_was_erased_is_not_of_the_line() {
        assert_eq!(texts(b"helxo\x08\x08lo\r\nab\x7fc\nab\xff\xf7c\njunk\xff\xf8ok\n"), ["hello", "ac", "ac", "ok"]);
        assert_eq!(texts(b"ab\n\x08\x08\x08c\n"), ["ab", "c"], "no further than the line's beginning");
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once_at_the_very_start() {
        assert_eq!(texts(b"\xef\xbb\xbfhi\n"), ["hi"]);
        assert_eq!(texts(b"\xff\xfb\x03\xef\xbb\xbfhi\n"), ["hi"], "after telnet's negotiation");
        assert_eq!(seen(b"\xef\xbb\xbf"), Seen::default());
        let mark = "\\xef\\xbb\\xbf";
        assert_eq!(texts(b"\xef\xbb\xbf\xef\xbb\xbfhi\n"), [format!("{mark}hi")]);
        assert_eq!(texts(b"\n\xef\xbb\xbfhi\n"), ["".to_owned(), format!("{mark}hi")]);
        assert_eq!(texts("ｈi\n".as_bytes()), ["\\xef\\xbd\\x88i"], "which begins as the mark does");
    }

    #[test]
    fn what_is_no_command_is_text_and_never_swallows_the_end_of_a_line() {
        assert_eq!(texts(b"a\xff\xffb\n"), ["a\\xffb"], "a doubled IAC is the byte itself");
        assert_eq!(texts(b"a\xff\nb\n"), ["a\\xff", "b"]);
        assert_eq!(texts(b"\r\xff\nb\xff\r\n"), ["", "\\xff", "b\\xff"]);
        assert_eq!(texts(b"\xffb\n"), ["\\xffb"]);
    }

    #[test]
    fn every_split_gives_the_same() {
        let byte = prop_oneof![
            3 => prop::sample::select(b"\r\n\0\x08\x7fab".to_vec()),
            3 => prop::sample::select(b"\xff\xff\xf0\xf1\xf6\xf7\xf8\xfa\xfb\xfd\x06\xef\xbb\xbf".to_vec()),
            1 => any::<u8>(),
        ];
        let stream = (any::<bool>(), prop::collection::vec(byte, 0..40), 1..8_usize);
        proptest!(ProptestConfig::with_cases(4000), |((has_mark, bytes, step) in stream)| {
            let stream = [if has_mark { &BYTE_ORDER_MARK[..] } else { &[] }, &bytes].concat();
            prop_assert_eq!(seen_in_pieces(stream.chunks(step)), seen(&stream));
        });
    }
}
