//! Line editing: removes telnet commands from a line and applies erasures to it.

use unicode_segmentation::UnicodeSegmentation;

use super::command::{Decoded, Decoder, IAC, TelnetCommand};

pub(super) const BACKSPACE: u8 = 8;
pub(super) const DELETE: u8 = 127;

/// An erasure looks at no more than this many bytes before it, so that the cost of a line stays linear in its length even
/// if it is nothing but erasures. A longer grapheme takes several erasures; the longest in real use have some 40 bytes.
const MAX_GRAPHEME: usize = 256;

/// The text of a line without telnet's commands, and with its erasures applied. An erasure removes a grapheme (UAX #29), and
/// has no effect at the beginning of the line. `IAC IAC` becomes the byte 255, and an `IAC` that begins no command stays
/// one; neither is UTF-8.
pub(super) fn apply_edits(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len());
    let mut decoder = Decoder::default();
    for &byte in line {
        let byte = match decoder.decode(byte) {
            Decoded::Byte(byte) => byte,
            Decoded::AfterStrayIac(byte) => {
                text.push(IAC);
                byte
            }
            Decoded::Command(TelnetCommand::EraseCharacter) => DELETE,
            Decoded::Command(_) | Decoded::Incomplete => continue,
        };
        match byte {
            BACKSPACE | DELETE => erase_last_grapheme(&mut text),
            _ => text.push(byte),
        }
    }
    if decoder == Decoder::Command {
        text.push(IAC);
    }
    text
}

fn erase_last_grapheme(text: &mut Vec<u8>) {
    let tail = text.get(text.len().saturating_sub(MAX_GRAPHEME)..).unwrap_or_default();
    let Some(chunk) = tail.utf8_chunks().last() else { return };
    let length = match chunk.invalid() {
        [] => chunk.valid().graphemes(true).next_back().map_or(0, str::len),
        invalid => invalid.len(),
    };
    text.truncate(text.len() - length);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> String {
        String::from_utf8(apply_edits(line.as_bytes())).unwrap()
    }

    #[test]
    fn an_erasure_removes_a_whole_grapheme() {
        assert_eq!(typed("helxo\u{8}\u{8}lo"), "hello");
        assert_eq!(typed("ab\u{7f}c"), "ac");
        for grapheme in ["é", "e\u{301}", "👨‍👩‍👧", "🇩🇪", "नि", "\u{1F3F4}\u{E0067}\u{E0062}\u{E007F}"]
        {
            assert_eq!(typed(&format!("a{grapheme}\u{7f}b")), "ab", "{grapheme}");
        }
        assert_eq!(apply_edits(b"ab\xff\xf7c"), b"ac", "EC");
    }

    #[test]
    fn erasures_stop_at_the_beginning_of_the_line() {
        assert_eq!(typed("\u{8}\u{8}a\u{8}\u{8}\u{8}b"), "b");
        assert_eq!(apply_edits(b"\xff\xf7\xff\xf7b"), b"b");
    }

    #[test]
    fn bytes_that_are_not_utf_8_can_be_erased() {
        assert_eq!(apply_edits(b"a\xc3\x08b"), b"ab");
        assert_eq!(apply_edits(b"a\xff\xff\x08b"), b"ab", "IAC IAC");
        assert_eq!(apply_edits(b"a\xff\x08b"), b"ab", "an IAC that begins no command");
        assert_eq!(apply_edits(b"a\xe2\x82\x08\x08b"), b"b", "an incomplete character, then the a");
    }

    #[test]
    fn an_overlong_grapheme_is_erased_in_parts() {
        let long = format!("a{}", "\u{301}".repeat(MAX_GRAPHEME));
        let left = typed(&format!("{long}\u{7f}"));
        assert_eq!(left.len(), long.len() - MAX_GRAPHEME);
        assert_eq!(typed(&format!("{long}{}b", "\u{7f}".repeat(MAX_GRAPHEME))), "b");
    }

    #[test]
    fn the_cost_of_erasures_is_linear_in_the_length_of_the_line() {
        // If each erasure looked at the whole line, these would take minutes.
        let start = std::time::Instant::now();
        for piece in ["x\u{8}", "e\u{301}\u{8}", "\u{301}\u{8}", "🇩\u{8}"] {
            apply_edits(format!("{}{}", "a".repeat(1 << 20), piece.repeat(1 << 18)).as_bytes());
            apply_edits(format!("a{}{}", "\u{301}".repeat(1 << 19), piece.repeat(1 << 18)).as_bytes());
        }
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }
}
