//! What was typed, without what was erased again.

use unicode_segmentation::UnicodeSegmentation;

use super::command::{Command, IAC, Meaning, State};

pub(super) const BACKSPACE: u8 = 8;
pub(super) const DELETE: u8 = 127;

/// An erasure looks at no more than this many bytes before it, so that a line of nothing but erasures costs what its
/// length is worth. A longer grapheme goes in several parts; the longest that are in use have some 40 bytes.
const LONGEST_GRAPHEME: usize = 256;

/// The text of a line: telnet's commands are taken out, and erasures are carried out, by grapheme (UAX #29) and no further
/// than the line's beginning. `IAC IAC` is the byte 255, and an `IAC` that begins no command is text as well: neither is
/// UTF-8.
pub(super) fn edited(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len());
    let mut state = State::default();
    for &byte in line {
        let byte = match state.read(byte) {
            Meaning::Byte(byte) => byte,
            Meaning::AfterStrayIac(byte) => {
                text.push(IAC);
                byte
            }
            Meaning::Command(Command::EraseCharacter) => DELETE,
            Meaning::Command(_) | Meaning::Part => continue,
        };
        match byte {
            BACKSPACE | DELETE => erase_last_grapheme(&mut text),
            _ => text.push(byte),
        }
    }
    if state == State::Command {
        text.push(IAC);
    }
    text
}

fn erase_last_grapheme(text: &mut Vec<u8>) {
    let tail = text.get(text.len().saturating_sub(LONGEST_GRAPHEME)..).unwrap_or_default();
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
        String::from_utf8(edited(line.as_bytes())).unwrap()
    }

    #[test]
    fn an_erasure_takes_what_a_person_sees_as_one_character() {
        assert_eq!(typed("helxo\u{8}\u{8}lo"), "hello");
        assert_eq!(typed("ab\u{7f}c"), "ac");
        for grapheme in ["é", "e\u{301}", "👨‍👩‍👧", "🇩🇪", "नि", "\u{1F3F4}\u{E0067}\u{E0062}\u{E007F}"]
        {
            assert_eq!(typed(&format!("a{grapheme}\u{7f}b")), "ab", "{grapheme}");
        }
        assert_eq!(edited(b"ab\xff\xf7c"), b"ac", "EC");
    }

    #[test]
    fn nothing_is_erased_before_the_beginning() {
        assert_eq!(typed("\u{8}\u{8}a\u{8}\u{8}\u{8}b"), "b");
        assert_eq!(edited(b"\xff\xf7\xff\xf7b"), b"b");
    }

    #[test]
    fn what_is_not_utf_8_is_erased_too() {
        assert_eq!(edited(b"a\xc3\x08b"), b"ab");
        assert_eq!(edited(b"a\xff\xff\x08b"), b"ab", "IAC IAC");
        assert_eq!(edited(b"a\xff\x08b"), b"ab", "an IAC that begins no command");
        assert_eq!(edited(b"a\xe2\x82\x08\x08b"), b"b", "a character that was not complete, and a");
    }

    #[test]
    fn a_grapheme_that_is_longer_than_any_in_use_goes_in_parts() {
        let long = format!("a{}", "\u{301}".repeat(LONGEST_GRAPHEME));
        let left = typed(&format!("{long}\u{7f}"));
        assert_eq!(left.len(), long.len() - LONGEST_GRAPHEME);
        assert_eq!(typed(&format!("{long}{}b", "\u{7f}".repeat(LONGEST_GRAPHEME))), "b");
    }

    #[test]
    fn a_line_of_erasures_costs_what_its_length_is_worth() {
        // With a look at all that was typed for each erasure these would take minutes.
        let start = std::time::Instant::now();
        for piece in ["x\u{8}", "e\u{301}\u{8}", "\u{301}\u{8}", "🇩\u{8}"] {
            edited(format!("{}{}", "a".repeat(1 << 20), piece.repeat(1 << 18)).as_bytes());
            edited(format!("a{}{}", "\u{301}".repeat(1 << 19), piece.repeat(1 << 18)).as_bytes());
        }
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }
}
