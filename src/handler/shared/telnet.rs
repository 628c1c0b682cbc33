//! Finds the lines that people type with telnet, `nc` or a terminal program: their ends, the characters that were erased, and
//! telnet's commands, which may appear anywhere.
//!
//! One pass finds commands and line ends together. A command may contain the byte LF: a window that is ten rows high (RFC
//! 1073) does.

use std::borrow::Cow;

mod command;
mod edit;

use command::{Decoded, Decoder, IAC, TelnetCommand};
use edit::{BACKSPACE, DELETE};

/// `WONT TIMING-MARK`, the answer to `DO TIMING-MARK` (RFC 860). telnet sends the request after Ctrl-C, and shows nothing
/// until the answer arrives.
const TIMING_MARK_REPLY: &[u8] = &[IAC, 252, 6];

/// The answer to AYT: "some visible (i.e., printable) evidence" (RFC 854).
const ARE_YOU_THERE_REPLY: &[u8] = b"[yes]\r\n";

/// Some programs on Windows send it before text in UTF-8.
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// What a scanner finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Line(LineSpan),
    /// Bytes outside a line: the caller consumes `length` bytes and sends `reply` at once. In the middle of a line `length`
    /// is 0, because the bytes of the line stay unread.
    Skip {
        length: usize,
        reply: &'static [u8],
    },
}

/// Where a complete line lies at the start of the unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineSpan {
    /// The bytes of the line, including its end.
    pub(crate) length: usize,
    /// How to end the lines of a reply: LF after LF, CRLF after any line end with CR.
    pub(crate) end: &'static str,
    /// The bytes of the line before its end.
    pub(crate) end_at: usize,
    /// The line contains commands or erasures.
    needs_editing: bool,
}

impl LineSpan {
    /// The text of the line, without its end, telnet's commands and erased characters. `unread` is what the scanner found the
    /// line in.
    pub(crate) fn text<'a>(&self, unread: &'a [u8]) -> Cow<'a, [u8]> {
        let line = unread.get(..self.end_at).unwrap_or_default();
        if self.needs_editing { edit::apply_edits(line).into() } else { line.into() }
    }

    /// The size that counts towards a limit: the bytes of the line and of its end. A CR counts as CRLF even if the LF has not
    /// arrived, so that the size does not depend on how the line arrives.
    pub(crate) fn size(&self) -> usize {
        self.end_at + self.end.len()
    }
}

/// Finds lines in bytes that arrive in pieces. It looks at each byte once, and stores none.
///
/// A line ends with LF, CRLF, CR NUL (RFC 854) or CR alone, which is what terminal programs send for Return. A CR ends the
/// line at once: an LF or NUL that arrives later is skipped. A byte order mark at the very start is skipped.
///
/// Telnet's commands don't begin a line: between lines, each is skipped as soon as it is complete.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// How many bytes of the current item it has looked at.
    scanned: usize,
    decoder: Decoder,
    /// Text has arrived since the last line.
    is_in_line: bool,
    needs_editing: bool,
    /// The last line ended with CR, and its LF or NUL has not arrived.
    is_after_cr: bool,
    byte_order_mark: MarkState,
}

/// Whether the connection begins with a byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MarkState {
    /// Only this many bytes of the mark have arrived.
    Matched(usize),
    /// The whole mark has arrived, or something else.
    Done,
}

impl Default for MarkState {
    fn default() -> MarkState {
        MarkState::Matched(0)
    }
}

impl Scanner {
    /// A scanner for a connection whose start has been read already, so it skips no byte order mark.
    pub(crate) fn after_start() -> Scanner {
        Scanner { byte_order_mark: MarkState::Done, ..Scanner::default() }
    }

    /// The next item, or `None` if it is not complete. After `None`, call it with the same bytes and those that have arrived
    /// since; after an item, with the bytes that follow it.
    pub(crate) fn scan(&mut self, unread: &[u8]) -> Option<Item> {
        while let Some(&byte) = unread.get(self.scanned) {
            self.scanned += 1;
            let found = match self.decoder.decode(byte) {
                Decoded::Byte(byte) => self.data_byte(byte, unread),
                Decoded::AfterStrayIac(byte) => {
                    let stray = self.data_byte(IAC, unread);
                    stray.or_else(|| self.data_byte(byte, unread))
                }
                Decoded::Command(command) => self.command(command),
                Decoded::Incomplete => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// How many bytes of the incomplete item have been scanned.
    pub(crate) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Tells the scanner that the caller has consumed the scanned bytes of an incomplete line. The next byte continues the
    /// line, and the telnet command if one is incomplete.
    pub(crate) fn forget_scanned(&mut self) {
        self.scanned = 0;
    }

    /// The length of the LF or NUL that completes the end of the last line, if `unread` begins with it, and 0 otherwise. A
    /// caller that switches to another parser must skip it.
    pub(crate) fn late_line_end(&mut self, unread: &[u8]) -> usize {
        let may_follow = !unread.is_empty() && std::mem::take(&mut self.is_after_cr);
        usize::from(may_follow && matches!(unread, [b'\n' | 0, ..]))
    }

    fn data_byte(&mut self, byte: u8, unread: &[u8]) -> Option<Item> {
        if std::mem::take(&mut self.is_after_cr) && matches!(byte, b'\n' | 0) {
            return Some(self.skip(b""));
        }
        if self.completes_byte_order_mark(byte) {
            return Some(self.skip(b""));
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
            BACKSPACE | DELETE if !self.is_in_line => Some(self.skip(b"")),
            _ => {
                self.is_in_line = true;
                // 255 arrived as `IAC IAC`, or as an `IAC` that begins no command.
                self.needs_editing |= matches!(byte, BACKSPACE | DELETE | IAC);
                None
            }
        }
    }

    fn completes_byte_order_mark(&mut self, byte: u8) -> bool {
        let MarkState::Matched(matched) = self.byte_order_mark else { return false };
        let matches = BYTE_ORDER_MARK.get(matched) == Some(&byte);
        let is_complete = matches && matched + 1 == BYTE_ORDER_MARK.len();
        let is_undecided = matches && !is_complete;
        self.byte_order_mark = if is_undecided { MarkState::Matched(matched + 1) } else { MarkState::Done };
        is_complete
    }

    fn command(&mut self, command: TelnetCommand) -> Option<Item> {
        let reply = match command {
            TelnetCommand::AreYouThere => ARE_YOU_THERE_REPLY,
            TelnetCommand::TimingMark => TIMING_MARK_REPLY,
            TelnetCommand::EraseLine => return Some(self.skip(b"")),
            TelnetCommand::EraseCharacter | TelnetCommand::Other => b"",
        };
        if !self.is_in_line {
            return Some(self.skip(reply));
        }
        self.needs_editing = true;
        (!reply.is_empty()).then_some(Item::Skip { length: 0, reply })
    }

    /// Skips everything that was scanned.
    fn skip(&mut self, reply: &'static [u8]) -> Item {
        let (length, _) = self.restart();
        Item::Skip { length, reply }
    }

    fn line(&mut self, end_length: usize, end: &'static str) -> Item {
        let (length, needs_editing) = self.restart();
        Item::Line(LineSpan { length, end, end_at: length - end_length, needs_editing })
    }

    /// Prepares for the next item. Returns the length of the last one, and whether it needs editing.
    fn restart(&mut self) -> (usize, bool) {
        self.is_in_line = false;
        (std::mem::take(&mut self.scanned), std::mem::take(&mut self.needs_editing))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a scanner finds in a stream.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Scanned {
        /// Text, line end and size of each line.
        lines: Vec<(Vec<u8>, &'static str, usize)>,
        replies: Vec<u8>,
        /// How many bytes of an incomplete item are left.
        left: usize,
    }

    fn scan_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Scanned {
        let (mut scanner, mut unread, mut scanned) = (Scanner::default(), Vec::new(), Scanned::default());
        for piece in pieces {
            unread.extend_from_slice(piece);
            while let Some(item) = scanner.scan(&unread) {
                let length = match item {
                    Item::Line(line) => {
                        scanned.lines.push((line.text(&unread).into_owned(), line.end, line.size()));
                        line.length
                    }
                    Item::Skip { length, reply } => {
                        scanned.replies.extend_from_slice(reply);
                        length
                    }
                };
                unread.drain(..length);
            }
        }
        scanned.left = unread.len();
        scanned
    }

    fn scan(stream: &[u8]) -> Scanned {
        scan_pieces([stream])
    }

    fn texts(stream: &[u8]) -> Vec<String> {
        scan(stream).lines.iter().map(|(text, ..)| text.escape_ascii().to_string()).collect()
    }

    #[test]
    fn every_line_end_is_found_and_any_end_with_cr_is_crlf() {
        for (stream, end, size) in
            [(&b"hi\n"[..], "\n", 3), (b"hi\r\n", "\r\n", 4), (b"hi\r\0", "\r\n", 4), (b"hi\r", "\r\n", 4)]
        {
            assert_eq!(scan(stream).lines, [(b"hi".to_vec(), end, size)]);
            assert_eq!(scan_pieces(stream.chunks(1)).lines, [(b"hi".to_vec(), end, size)]);
        }
        assert!(texts(b"no end").is_empty());
        assert_eq!(texts(b"one\rtwo\r\nthree\r\0four\n\rfive\r"), ["one", "two", "three", "four", "", "five"]);
    }

    #[test]
    fn a_late_lf_or_nul_after_cr_is_skipped() {
        for late in [b'\n', 0] {
            let scanned = scan_pieces([&b"hi\r"[..], b"\xff\xf1", &[late], b"ho\r", &[late]]);
            let texts: Vec<_> = scanned.lines.iter().map(|(text, ..)| text.as_slice()).collect();
            assert_eq!((texts, scanned.left), (vec![&b"hi"[..], b"ho"], 0));
        }
        assert_eq!(texts(b"hi\r\0\0ho\n"), ["hi", "\\x00ho"], "one NUL belongs to the end");
    }

    #[test]
    fn commands_are_removed_even_if_they_contain_a_line_end() {
        assert_eq!(texts(b"\xff\xfd\x0a\xff\xfb\x18hi\n"), ["hi"]);
        assert_eq!(texts(b"h\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0i\n"), ["hi"], "80 columns, 10 rows");
        assert_eq!(texts(b"h\xff\xfa\x1f\xff\xff\xff\xf0i\n"), ["hi"], "IAC IAC inside");
        assert_eq!(texts(b"h\xff\xf1i\n"), ["hi"], "NOP");
        assert_eq!(texts(b"\xff\xf2hi\n"), ["hi"], "Synch's data mark");
    }

    #[test]
    fn commands_between_lines_are_skipped() {
        // A keepalive, plink's opening, a window size, Synch, erasures of nothing, and an erased line.
        for stream in [
            &b"\xff\xf1"[..],
            b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03",
            b"\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0",
            b"\xff\xf4\xff\xf2",
            b"\x08\x7f\xff\xf7\xff\xf8",
            b"junk\xff\xf8",
        ] {
            assert_eq!(scan(stream), Scanned::default());
            assert_eq!(scan_pieces(stream.chunks(1)), Scanned::default());
        }
        assert_eq!(scan(b"\xff\xf1\xff\xfb").left, 2, "an incomplete command");
    }

    #[test]
    fn commands_that_ask_for_a_reply_get_it_at_once_even_within_a_line() {
        // Debian's telnet sends this for Ctrl-C.
        assert_eq!(scan(b"\xff\xf4\xff\xfd\x06").replies, TIMING_MARK_REPLY);
        let scanned = scan(b"ECHO h\xff\xfd\x06\xff\xf6i");
        assert_eq!((scanned.replies, scanned.left), ([TIMING_MARK_REPLY, ARE_YOU_THERE_REPLY].concat(), 12));
        assert_eq!(texts(b"ECHO h\xff\xfd\x06\xff\xf6i\n"), ["ECHO hi"]);
    }

    #[test]
    fn erased_characters_are_not_in_the_line() {
        assert_eq!(texts(b"helxo\x08\x08lo\r\nab\x7fc\nab\xff\xf7c\njunk\xff\xf8ok\n"), ["hello", "ac", "ac", "ok"]);
        assert_eq!(texts(b"ab\n\x08\x08\x08c\n"), ["ab", "c"], "an erasure stops at the beginning of the line");
    }

    #[test]
    fn a_byte_order_mark_is_skipped_only_at_the_very_start() {
        assert_eq!(texts(b"\xef\xbb\xbfhi\n"), ["hi"]);
        assert_eq!(texts(b"\xff\xfb\x03\xef\xbb\xbfhi\n"), ["hi"], "after telnet's negotiation");
        assert_eq!(scan(b"\xef\xbb\xbf"), Scanned::default());
        let mark = "\\xef\\xbb\\xbf";
        assert_eq!(texts(b"\xef\xbb\xbf\xef\xbb\xbfhi\n"), [format!("{mark}hi")]);
        assert_eq!(texts(b"\n\xef\xbb\xbfhi\n"), ["".to_owned(), format!("{mark}hi")]);
        assert_eq!(texts("ｈi\n".as_bytes()), ["\\xef\\xbd\\x88i"], "it begins with the same byte as the mark");
    }

    #[test]
    fn an_iac_that_begins_no_command_is_text_and_never_swallows_a_line_end() {
        assert_eq!(texts(b"a\xff\xffb\n"), ["a\\xffb"], "a doubled IAC is the byte itself");
        assert_eq!(texts(b"a\xff\nb\n"), ["a\\xff", "b"]);
        assert_eq!(texts(b"\r\xff\nb\xff\r\n"), ["", "\\xff", "b\\xff"]);
        assert_eq!(texts(b"\xffb\n"), ["\\xffb"]);
    }

    #[test]
    fn the_result_does_not_depend_on_how_the_bytes_arrive() {
        let byte = prop_oneof![
            3 => prop::sample::select(b"\r\n\0\x08\x7fab".to_vec()),
            3 => prop::sample::select(b"\xff\xff\xf0\xf1\xf6\xf7\xf8\xfa\xfb\xfd\x06\xef\xbb\xbf".to_vec()),
            1 => any::<u8>(),
        ];
        let stream = (any::<bool>(), prop::collection::vec(byte, 0..40), 1..8_usize);
        proptest!(ProptestConfig::with_cases(4000), |((has_mark, bytes, step) in stream)| {
            let stream = [if has_mark { &BYTE_ORDER_MARK[..] } else { &[] }, &bytes].concat();
            prop_assert_eq!(scan_pieces(stream.chunks(step)), scan(&stream));
        });
    }
}
