//! Names of members and rooms. They keep their case, but are compared without it.

use std::fmt;

/// The longest name of a member, in bytes.
pub(super) const MAX_MEMBER_NAME: usize = 20;

/// The longest name of a room, in bytes, without IRC's `#`.
pub(super) const MAX_ROOM_NAME: usize = 30;

/// A name: ASCII letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

/// A name folded to lower case, for comparing and finding names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NameKey(String);

/// The error text for a malformed name.
pub(super) const MEMBER_NAME_RULE: &str = "a name is 1 to 20 letters (a to z), digits, _ or -";
pub(super) const CHANNEL_NAME_RULE: &str = "A channel's name is # and 1 to 30 letters (a to z), digits, _ or -";
pub(super) const ROOM_NAME_RULE: &str = "a room's name is 1 to 30 letters (a to z), digits, _ or -";

/// The server's name, and the first words of its own notices. Otherwise `/name you` and `/me read too slowly, closing` would
/// pass for a farewell.
const RESERVED: [&str; 15] = [
    "a", "acceptd", "goodbye", "nobody", "nothing", "server", "that", "the", "there", "to", "topic", "welcome", "what",
    "you", "your",
];

impl Name {
    pub(super) fn parse_member(text: &str) -> Option<Name> {
        Name::parse(text, MAX_MEMBER_NAME)
    }

    /// Parses a room's name, with or without IRC's `#`.
    pub(super) fn parse_room(text: &str) -> Option<Name> {
        Name::parse(text.strip_prefix('#').unwrap_or(text), MAX_ROOM_NAME)
    }

    fn parse(text: &str, max_length: usize) -> Option<Name> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        ((1..=max_length).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Name(text.to_owned()))
    }

    /// Whether no member may have this name.
    pub(super) fn is_reserved(&self) -> bool {
        RESERVED.iter().any(|word| self.0.eq_ignore_ascii_case(word))
    }

    pub(super) fn key(&self) -> NameKey {
        NameKey(self.0.to_ascii_lowercase())
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
    fn names_follow_the_rules() {
        for good in ["a", "Bob_2", "-_-", "42", "abcdefghijklmnopqrst"] {
            assert!(Name::parse_member(good).is_some(), "{good}");
        }
        for bad in ["", "abcdefghijklmnopqrstu", "a b", "bób", "a:b", "#a", "a,b", "a\u{0}", "*"] {
            assert!(Name::parse_member(bad).is_none(), "{bad}");
        }
        assert_eq!(Name::parse_room("#Lobby").unwrap().key(), Name::parse_room("lobby").unwrap().key());
        assert!(Name::parse_room("#").is_none() && Name::parse_room("##a").is_none());
        assert!(Name::parse_room(&"r".repeat(MAX_ROOM_NAME)).is_some());
        assert!(Name::parse_room(&"r".repeat(MAX_ROOM_NAME + 1)).is_none());
    }
}
