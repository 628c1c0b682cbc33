//! Characters that a terminal obeys instead of showing them.

/// Whether a terminal may do anything but show the character: a control character, or one that changes the direction of the
/// text around it.
pub(crate) fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
