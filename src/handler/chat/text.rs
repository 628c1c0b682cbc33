//! What people write to each other, before it reaches anybody's terminal: text, and nothing that a terminal obeys.

/// Begins and ends what IRC clients say to each other behind their users' backs (CTCP).
pub(super) const CTCP: char = '\u{1}';

/// Text that can be shown to anybody: control characters (C0, DEL, C1) and those that change the direction of text are
/// shown as U+FFFD, a tab is a space, and IRC's formatting (modern.ircdocs.horse/formatting) is left out.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\t' => clean.push(' '),
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
            other if is_obeyed(other) => clean.push(char::REPLACEMENT_CHARACTER),
            other => clean.push(other),
        }
    }
    clean
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips at most `count` characters of a kind. Whether there was one.
fn skip(rest: &mut Rest<'_>, count: usize, kind: fn(&char) -> bool) -> bool {
    (0..count).filter(|_| rest.next_if(kind).is_some()).count() > 0
}

fn followed_by(rest: &Rest<'_>, first: char, second: fn(&char) -> bool) -> bool {
    let mut ahead = rest.clone();
    ahead.next() == Some(first) && ahead.next().is_some_and(|character| second(&character))
}

/// Whether a terminal may do something else with it than to show it.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The longest beginning of a text that has at most `limit` bytes.
pub(super) fn at_most(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for character in ('\0'..='\u{FFFF}').filter(|&character| is_obeyed(character)) {
            let clean = clean(&format!("a{character}z"));
            assert!(!clean.contains(is_obeyed), "{character:?}");
            assert!(clean.starts_with('a') && clean.ends_with('z'), "{character:?}");
        }
        assert_eq!(clean("\u{1b}[31mred\u{7}"), "\u{FFFD}[31mred\u{FFFD}");
        assert_eq!(clean("a\tb"), "a b");
    }

    #[test]
    fn formatting_is_left_out_and_digits_that_are_none_stay() {
        assert_eq!(clean("\u{2}bold\u{2} \u{3}04,12red\u{3}, \u{3}1,x \u{3}123"), "bold red, ,x 3");
        assert_eq!(clean("\u{4}ff0000red \u{4}00ff00,0000ffblue"), "red blue");
    }

    #[test]
    fn all_other_text_stays_as_it_is() {
        for text in ["", "hello", "Grüße, мир, 世界, 👩‍👩‍👧", "1,2,3"] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn a_beginning_ends_between_characters() {
        assert_eq!(at_most("Grüße", 3), "Gr");
        assert_eq!(at_most("Grüße", 4), "Grü");
        assert_eq!(at_most("Grüße", 40), "Grüße");
    }
}
