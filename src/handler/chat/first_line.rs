//! Classifies a client by its first line: an IRC client, a person, or a program that speaks another protocol.
//!
//! The whole line decides. `NICK bob` begins a registration, and the next line may be a password, so neither must reach a
//! room. `nick of time` is a message.

use super::other_protocol::{OtherProtocol, is_text};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// Only spaces: the next line decides.
    Blank,
    /// IRC clients or servers begin with it.
    Irc,
    OtherProtocol(OtherProtocol),
    /// A message, or a command for people.
    Text,
}

/// Some programs send it before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Removes spaces around a line, and byte order marks before it.
pub(super) fn strip(line: &[u8]) -> &[u8] {
    let mut line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK) {
        line = rest.trim_ascii_start();
    }
    line
}

/// Classifies a client by a line without its end.
pub(super) fn classify(line: &[u8]) -> FirstLine {
    let line = strip(line);
    if line.is_empty() {
        return FirstLine::Blank;
    }
    if let Some(protocol) = OtherProtocol::detect(line) {
        return FirstLine::OtherProtocol(protocol);
    }
    // A line in another encoding can still be a registration.
    if Command::parse(&String::from_utf8_lossy(line)).is_irc() {
        return FirstLine::Irc;
    }
    if is_text(line) { FirstLine::Text } else { FirstLine::OtherProtocol(OtherProtocol::NotText) }
}

/// A line parsed as an IRC message (RFC 2812, 2.3.1).
struct Command<'a> {
    name: &'a str,
    /// The parameters before the trailing one.
    middle: Vec<&'a str>,
    /// The parameter after ` :`, which may contain spaces.
    trailing: Option<&'a str>,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Command<'a> {
        let line = skip_prefix(skip_prefix(line, '@'), ':');
        let (head, trailing) = line.split_once(" :").map_or((line, None), |(head, rest)| (head, Some(rest)));
        let mut words = head.split(' ').filter(|word| !word.is_empty());
        Command { name: words.next().unwrap_or_default(), middle: words.collect(), trailing }
    }

    /// Whether an IRC program may begin with this command. Commands of the registration count in either case. Commands that
    /// are also English words count in capitals, with the parameters that programs send.
    fn is_irc(&self) -> bool {
        let count = self.middle.len() + usize::from(self.trailing.is_some());
        let name = self.name.to_ascii_uppercase();
        let is_in_capitals = name == self.name;
        match name.as_str() {
            "CAP" | "PASS" | "NICK" | "USER" if count == 0 => is_in_capitals,
            "CAP" => self.is_capability_negotiation(count) || is_in_capitals && count == 1,
            // Servers add the version of their protocol (RFC 2813, 4.1.1; TS6).
            "PASS" => count == 1 || self.parameter(1).is_some_and(|word| word == "TS" || is_number(word, 4)),
            "NICK" => count == 1,
            // FTP and POP3 clients send a name alone, then a password.
            "USER" if is_in_capitals && count == 1 => true,
            "USER" => self.middle.len() == 3 && self.trailing.is_some() || self.parameter(2) == Some("*"),
            "AUTHENTICATE" => count == 1 || is_in_capitals,
            "STARTTLS" => count == 0 || is_in_capitals,
            "PROTOCTL" => true,
            "SERVER" => self.trailing.is_some() && self.parameter(0).is_some_and(|word| word.contains('.')),
            "CAPAB" => is_in_capitals,
            "JOIN" if is_in_capitals && self.trailing.is_some() => true,
            "JOIN" => count <= 2 && self.parameter(0).is_some_and(|word| word.starts_with(['#', '&'])),
            "PING" | "PONG" => is_in_capitals && count == 1,
            "OPER" => is_in_capitals && count == 2,
            "PRIVMSG" => true,
            "NOTICE" => is_in_capitals && self.trailing.is_some(),
            "QUIT" => is_in_capitals && self.middle.is_empty(),
            _ => false,
        }
    }

    /// Whether the parameters are those of IRCv3's capability negotiation.
    fn is_capability_negotiation(&self, count: usize) -> bool {
        match self.parameter(0).unwrap_or_default().to_ascii_uppercase().as_str() {
            "LS" | "REQ" => true,
            "LIST" | "END" => count == 1,
            _ => false,
        }
    }

    fn parameter(&self, index: usize) -> Option<&'a str> {
        self.middle.get(index).copied()
    }
}

/// A line without its first word, if that begins with `mark`: the tags (`@`) or the source (`:`) of a message.
fn skip_prefix(line: &str, mark: char) -> &str {
    if !line.starts_with(mark) {
        return line;
    }
    line.split_once(' ').map_or("", |(_, rest)| rest.trim_start())
}

fn is_number(word: &str, min_digits: usize) -> bool {
    word.len() >= min_digits && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRATION: [&str; 19] = [
        "CAP LS",
        "CAP LS 302",
        "CAP LIST",
        "CAP REQ :server-time echo-message",
        "CAP REQ sasl",
        "CAP END",
        "PASS x",
        "PASS :two words",
        "NICK bob",
        "NICK :bob",
        "NICK 1!",
        "USER a b c :d",
        "USER a 0 * :A B C",
        "USER a 0 * A",
        "AUTHENTICATE PLAIN",
        "STARTTLS",
        "PROTOCTL NOQUIT",
        "SERVER irc.example 1 :a server",
        "JOIN #lobby",
    ];

    #[test]
    fn registration_is_irc_in_either_case_even_after_spaces_marks_tags_and_a_source() {
        for line in REGISTRATION {
            for line in [line.to_owned(), line.to_lowercase()] {
                for prefix in ["", "  ", "\t", "\u{feff}", "\u{feff} \u{feff}", "@time=1;a ", ":bob!b@host ", "@a :b "]
                {
                    let line = format!("{prefix}{line}");
                    assert_eq!(classify(line.as_bytes()), FirstLine::Irc, "{line:?}");
                }
            }
        }
    }

    #[test]
    fn other_irc_commands_are_irc_in_capitals() {
        for line in [
            "CAP",
            "PASS",
            "NICK",
            "USER",
            "USER a",
            "CAP NONSENSE",
            "PASS link TS 6 :0AA",
            "PASS link 0210 IRC|",
            "JOIN :",
            "PING x",
            "PING :acceptd",
            "OPER admin secret",
            "PRIVMSG NickServ :IDENTIFY secret",
            "NOTICE bob :hello",
            "QUIT",
            "QUIT :see you",
        ] {
            assert_eq!(classify(line.as_bytes()), FirstLine::Irc, "{line:?}");
        }
    }

    #[test]
    fn a_registration_that_is_not_utf_8_is_irc() {
        for line in [&b"NICK Ren\xe9"[..], b"USER u 0 * :Ren\xe9", b"PASS \xff\xfe", b"nick a\0b"] {
            assert_eq!(classify(line), FirstLine::Irc, "{line:?}");
        }
    }

    #[test]
    fn messages_are_text() {
        for line in [
            "User alice logged in",
            "User alice logged in today",
            "pass the salt",
            "PASS THE SALT",
            "Cap on the queue reached",
            "cap list of players",
            "nick of time",
            "NICKY is here",
            "nick",
            "user",
            "cap",
            "Captain",
            "passport please",
            "N",
            "join us",
            "JOIN US",
            "server is down",
            "ping",
            "ping me later",
            "PING ME LATER",
            "QUIT IT",
            "notice the time",
            "@alice hello",
            ":-) hello",
            ":)",
            "/name bob",
            "Grüße, 世界",
            "a\tb",
        ] {
            assert_eq!(classify(line.as_bytes()), FirstLine::Text, "{line:?}");
        }
    }

    #[test]
    fn a_blank_line_decides_nothing() {
        for line in ["", " ", "\t \t", "\u{feff}", "\r"] {
            assert_eq!(classify(line.as_bytes()), FirstLine::Blank, "{line:?}");
        }
    }
}
