//! Sanitizes the text that members send, so that it can't control another member's terminal.

use crate::terminal::is_obeyed;

/// Begins and ends a CTCP message, which IRC clients exchange without showing it.
pub(super) const CTCP_DELIMITER: char = '\u{1}';

/// Makes text safe to show. Control characters (C0, DEL, C1) and characters that change the direction of text become U+FFFD,
/// a tab becomes a space, and IRC formatting (modern.ircdocs.horse/formatting) is removed.
pub(super) fn sanitize(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\t' => safe.push(' '),
            // Bold, reset, monospace, reverse, italics, strikethrough, underline.
            '\u{2}' | '\u{F}' | '\u{11}' | '\u{16}' | '\u{1D}' | '\u{1E}' | '\u{1F}' => {}
            // Colours: up to two digits, and two more after a comma; or up to six hexadecimal ones.
            '\u{3}' => {
                if skip(&mut rest, 2, char::is_ascii_digit) && followed_by(&rest, ',', char::is_ascii_digit) {
                    rest.next();
                    skip(&mut rest, 2, char::is_ascii_digit);
                }
            }
            '\u{4}' => {
                if skip(&mut rest, 6, char::is_ascii_hexdigit) && followed_by(&rest, ',', char::is_ascii_hexdigit) {
                    rest.next();
                    skip(&mut rest, 6, char::is_ascii_hexdigit);
                }
            }
            other if is_obeyed(other) => safe.push(char::REPLACEMENT_CHARACTER),
            other => safe.push(other),
        }
    }
    safe
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips at most `count` characters of a kind. Returns whether there was one.
fn skip(rest: &mut Characters<'_>, count: usize, kind: fn(&char) -> bool) -> bool {
    (0..count).filter(|_| rest.next_if(kind).is_some()).count() > 0
}

fn followed_by(rest: &Characters<'_>, first: char, second: fn(&char) -> bool) -> bool {
    let mut ahead = rest.clone();
    ahead.next() == Some(first) && ahead.next().is_some_and(|character| second(&character))
}

/// The longest prefix of a text that has at most `max_length` bytes and ends between two characters.
pub(super) fn truncate(text: &str, max_length: usize) -> &str {
    text.get(..text.floor_char_boundary(max_length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitized_text_has_no_characters_that_a_terminal_obeys() {
        for character in ('\0'..='\u{FFFF}').filter(|&character| is_obeyed(character)) {
            let safe = sanitize(&format!("a{character}z"));
            assert!(!safe.contains(is_obeyed), "{character:?}");
            assert!(safe.starts_with('a') && safe.ends_with('z'), "{character:?}");
        }
        assert_eq!(sanitize("\u{1b}[31mred\u{7}"), "\u{FFFD}[31mred\u{FFFD}");
        assert_eq!(sanitize("a\tb"), "a b");
    }

    #[test]
    fn formatting_is_removed_and_other_digits_stay() {
        assert_eq!(sanitize("\u{2}bold\u{2} \u{3}04,12red\u{3}, \u{3}1,x \u{3}123"), "bold red, ,x 3");
        assert_eq!(sanitize("\u{4}ff0000red \u{4}00ff00,0000ffblue"), "red blue");
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in ["", "hello", "Grüße, мир, 世界, 👩‍👩‍👧", "1,2,3"] {
            assert_eq!(sanitize(text), text);
        }
    }

    #[test]
    fn truncation_keeps_characters_whole() {
        assert_eq!(truncate("Grüße", 3), "Gr");
        assert_eq!(truncate("Grüße", 4), "Grü");
        assert_eq!(truncate("Grüße", 40), "Grüße");
    }
}
