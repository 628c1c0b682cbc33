//! What members and rooms can be called. Case does not matter, and is kept.

use std::fmt;

/// The longest name of a member, in bytes.
pub(super) const LONGEST: usize = 20;

/// The longest name of a room, in bytes, without IRC's `#`.
pub(super) const LONGEST_OF_ROOM: usize = 30;

/// A name: ASCII letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

/// A name by which somebody or something is found: two names that differ in case alone have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(String);

/// Why something is no name.
pub(super) const RULE: &str = "a name is 1 to 20 letters (a to z), digits, _ or -";
pub(super) const RULE_OF_CHANNEL: &str = "A channel's name is # and 1 to 30 letters (a to z), digits, _ or -";
pub(super) const RULE_OF_ROOM: &str = "a room's name is 1 to 30 letters (a to z), digits, _ or -";

/// What the server is called, and the words with which it begins what it says itself: `/name you` and `/me read too
/// slowly, closing` would be taken for its last words.
const RESERVED: [&str; 15] = [
    "a", "acceptd", "goodbye", "nobody", "nothing", "server", "that", "the", "there", "to", "topic", "welcome", "what",
    "you", "your",
];

impl Name {
    pub(super) fn of_member(text: &str) -> Option<Name> {
        Name::new(text, LONGEST)
    }

    /// With or without `#`.
    pub(super) fn of_room(text: &str) -> Option<Name> {
        Name::new(text.strip_prefix('#').unwrap_or(text), LONGEST_OF_ROOM)
    }

    fn new(text: &str, longest: usize) -> Option<Name> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        ((1..=longest).contains(&text.len()) && text.bytes().all(allowed)).then(|| Name(text.to_owned()))
    }

    /// Whether no member can have it.
    pub(super) fn is_reserved(&self) -> bool {
        RESERVED.iter().any(|word| self.0.eq_ignore_ascii_case(word))
    }

    pub(super) fn key(&self) -> Key {
        Key(self.0.to_ascii_lowercase())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_rule_says() {
        for good in ["a", "Bob_2", "-_-", "42", "abcdefghijklmnopqrst"] {
            assert!(Name::of_member(good).is_some(), "{good}");
        }
        for bad in ["", "abcdefghijklmnopqrstu", "a b", "bób", "a:b", "#a", "a,b", "a\u{0}", "*"] {
            assert!(Name::of_member(bad).is_none(), "{bad}");
        }
        assert_eq!(Name::of_room("#Lobby").unwrap().key(), Name::of_room("lobby").unwrap().key());
        assert!(Name::of_room("#").is_none() && Name::of_room("##a").is_none());
        assert!(Name::of_room(&"r".repeat(LONGEST_OF_ROOM)).is_some());
        assert!(Name::of_room(&"r".repeat(LONGEST_OF_ROOM + 1)).is_none());
    }
}
