//! Decodes a line as text, and describes what is wrong if it is not text.

/// Returns the line as text.
///
/// # Errors
///
/// The line is not text. The message tells the client what is wrong with it.
pub(super) fn decode(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|_| "invalid UTF-8".to_owned())?;
    match text.chars().find(|&character| character.is_control() && character != '\t') {
        None => Ok(text),
        Some(control) => Err(format!("control character {}, send plain text", describe(control))),
    }
}

/// A control character as in `U+001B (escape)`.
fn describe(control: char) -> String {
    let number = u32::from(control);
    let name = NAMES.get(number as usize).copied().unwrap_or("C1 control");
    format!("U+{number:04X} ({name})")
}

/// The control characters of ASCII by code: their names in ECMA-48, or their common names.
const NAMES: [&str; 32] = [
    "NUL",
    "start of heading, Ctrl-A",
    "start of text, Ctrl-B",
    "end of text, Ctrl-C",
    "end of transmission, Ctrl-D",
    "enquiry, Ctrl-E",
    "acknowledge, Ctrl-F",
    "bell, Ctrl-G",
    "backspace",
    "tab",
    "line feed (LF)",
    "vertical tab, Ctrl-K",
    "form feed, Ctrl-L",
    "carriage return (CR)",
    "shift out, Ctrl-N",
    "shift in, Ctrl-O",
    "data link escape, Ctrl-P",
    "Ctrl-Q",
    "Ctrl-R",
    "Ctrl-S",
    "Ctrl-T",
    "negative acknowledge, Ctrl-U",
    "synchronous idle, Ctrl-V",
    "end of block, Ctrl-W",
    "cancel, Ctrl-X",
    "end of medium, Ctrl-Y",
    "substitute, Ctrl-Z",
    "escape",
    "file separator",
    "group separator",
    "record separator",
    "unit separator",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_any_language_and_tabs_are_text() {
        for text in ["", "hello", "a\tb", "Grüße", "日本語", "👩‍👩‍👧"] {
            assert_eq!(decode(text.as_bytes()), Ok(text));
        }
    }

    #[test]
    fn errors_name_what_is_not_text() {
        let why = |line: &[u8]| decode(line).unwrap_err();
        assert_eq!(why(b"\xff"), "invalid UTF-8");
        assert_eq!(why(b"a\0"), "control character U+0000 (NUL), send plain text");
        assert_eq!(why(b"\x1b[2J"), "control character U+001B (escape), send plain text");
        assert_eq!(why(b"a\rb"), "control character U+000D (carriage return (CR)), send plain text");
        assert_eq!(why("\u{85}".as_bytes()), "control character U+0085 (C1 control), send plain text");
        for byte in (0..32).filter(|byte| *byte != b'\t') {
            assert!(why(&[byte]).contains('('), "{byte}");
        }
    }
}
