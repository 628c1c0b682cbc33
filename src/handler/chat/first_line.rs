//! What a client's first line says about the client: an IRC client, a person, or a program of another protocol.
//!
//! The whole line decides. `NICK bob` is registration and may carry on with a password, so nobody may hear it; `nick of time`
//! is something that a person says.

use super::foreign::{Foreign, is_text};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// Nothing but spaces: the next line decides.
    Blank,
    /// What IRC clients, and servers, begin with.
    Irc,
    /// What programs of other protocols begin with.
    Foreign(Foreign),
    /// What a person says.
    Text,
}

/// The Unicode byte order mark, with which some programs begin UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line without the byte order marks and spaces around it.
pub(super) fn stripped(line: &[u8]) -> &[u8] {
    let mut line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(BOM) {
        line = rest.trim_ascii_start();
    }
    line
}

/// Decides by a line without its end.
pub(super) fn classify(line: &[u8]) -> FirstLine {
    let line = stripped(line);
    if line.is_empty() {
        return FirstLine::Blank;
    }
    if let Some(foreign) = Foreign::recognise(line) {
        return FirstLine::Foreign(foreign);
    }
    // A name in another encoding is still part of a registration.
    if Command::parse(&String::from_utf8_lossy(line)).is_irc() {
        return FirstLine::Irc;
    }
    if is_text(line) { FirstLine::Text } else { FirstLine::Foreign(Foreign::NotText) }
}

/// A line taken apart as IRC has it (RFC 2812, 2.3.1).
struct Command<'a> {
    name: &'a str,
    /// The parameters before the last one that begins with a colon.
    words: Vec<&'a str>,
    /// That last one.
    trailing: Option<&'a str>,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Command<'a> {
        let line = without_word(without_word(line, '@'), ':');
        let (head, trailing) = line.split_once(" :").map_or((line, None), |(head, rest)| (head, Some(rest)));
        let mut words = head.split(' ').filter(|word| !word.is_empty());
        Command { name: words.next().unwrap_or_default(), words: words.collect(), trailing }
    }

    /// Whether an IRC program begins so. The commands of registration count in either case. Those that are also English
    /// words count in capitals, with the parameters that programs give them.
    fn is_irc(&self) -> bool {
        let count = self.words.len() + usize::from(self.trailing.is_some());
        let name = self.name.to_ascii_uppercase();
        let is_in_capitals = name == self.name;
        match name.as_str() {
            "CAP" | "PASS" | "NICK" | "USER" if count == 0 => is_in_capitals,
            "CAP" => self.is_cap(count) || is_in_capitals && count == 1,
            // Servers add their protocol's version (RFC 2813, 4.1.1; TS6).
            "PASS" => count == 1 || self.word(1).is_some_and(|word| word == "TS" || is_number(word, 4)),
            "NICK" => count == 1,
            // With a name alone: FTP's and POP3's, whose password comes next.
            "USER" if is_in_capitals && count == 1 => true,
            "USER" => self.words.len() == 3 && self.trailing.is_some() || self.word(2) == Some("*"),
            "AUTHENTICATE" => count == 1 || is_in_capitals,
            "STARTTLS" => count == 0 || is_in_capitals,
            "PROTOCTL" => true,
            "SERVER" => self.trailing.is_some() && self.word(0).is_some_and(|word| word.contains('.')),
            "CAPAB" => is_in_capitals,
            "JOIN" if is_in_capitals && self.trailing.is_some() => true,
            "JOIN" => count <= 2 && self.word(0).is_some_and(|word| word.starts_with(['#', '&'])),
            "PING" | "PONG" => is_in_capitals && count == 1,
            "OPER" => is_in_capitals && count == 2,
            "PRIVMSG" => true,
            "NOTICE" => is_in_capitals && self.trailing.is_some(),
            "QUIT" => is_in_capitals && self.words.is_empty(),
            _ => false,
        }
    }

    /// Capability negotiation (IRCv3).
    fn is_cap(&self, count: usize) -> bool {
        match self.word(0).unwrap_or_default().to_ascii_uppercase().as_str() {
            "LS" | "REQ" => true,
            "LIST" | "END" => count == 1,
            _ => false,
        }
    }

    fn word(&self, place: usize) -> Option<&'a str> {
        self.words.get(place).copied()
    }
}

/// The line after a word that begins with `mark`: the tags or the source of a message.
fn without_word(line: &str, mark: char) -> &str {
    if !line.starts_with(mark) {
        return line;
    }
    line.split_once(' ').map_or("", |(_, rest)| rest.trim_start())
}

fn is_number(word: &str, digits: usize) -> bool {
    word.len() >= digits && word.bytes().all(|byte| byte.is_ascii_digit())
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
    fn registration_is_irc_in_either_case_behind_marks_tags_and_a_source() {
        for line in REGISTRATION {
            for line in [line.to_owned(), line.to_lowercase()] {
                for front in ["", "  ", "\t", "\u{feff}", "\u{feff} \u{feff}", "@time=1;a ", ":bob!b@host ", "@a :b "] {
                    let line = format!("{front}{line}");
                    assert_eq!(classify(line.as_bytes()), FirstLine::Irc, "{line:?}");
                }
            }
        }
    }

    #[test]
    fn what_irc_programs_begin_with_in_capitals_is_irc() {
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
    fn a_name_that_is_not_utf_8_is_irc_still() {
        for line in [&b"NICK Ren\xe9"[..], b"USER u 0 * :Ren\xe9", b"PASS \xff\xfe", b"nick a\0b"] {
            assert_eq!(classify(line), FirstLine::Irc, "{line:?}");
        }
    }

    #[test]
    fn what_people_say_is_text() {
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
    fn a_line_of_spaces_decides_nothing() {
        for line in ["", " ", "\t \t", "\u{feff}", "\r"] {
            assert_eq!(classify(line.as_bytes()), FirstLine::Blank, "{line:?}");
        }
    }
}
