//! Classifies a client by its first line: an IRC client, a person, or a program that speaks another protocol.
//!
//! The whole line decides. `NICK bob` begins a registration, and the next line may be a password, so neither must reach a
//! room. `nick of time` is a message.

use super::other_protocol::{OtherProtocol, is_text};

/// What a first line says about the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// Only spaces: the next line decides.
    Blank,
    /// A line with which IRC clients or servers begin.
    Irc,
    OtherProtocol(OtherProtocol),
    /// A message, or a command for people.
    Text,
}

/// Characters without width that may come before a line: the byte order mark, which some programs send before UTF-8, and
/// characters that are copied along with text.
const INVISIBLE: [char; 5] = ['\u{feff}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}'];

/// Removes white space around a line, and invisible characters and a terminal's control sequence before it.
pub(super) fn trim_invisible(line: &[u8]) -> &[u8] {
    let line = without_control_sequence(line.trim_ascii());
    // The text at the beginning is enough: the rest may be in another encoding.
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(line.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
    };
    let start = text.trim_start_matches(|character: char| character.is_whitespace() || INVISIBLE.contains(&character));
    line.get(text.len() - start.len()..).unwrap_or_default()
}

/// A line without a control sequence at its beginning (ECMA-48, 5.4). A terminal's "bracketed paste" begins with one.
fn without_control_sequence(line: &[u8]) -> &[u8] {
    let Some(parameters) = line.strip_prefix(b"\x1b[") else { return line };
    let end = parameters.iter().position(|byte| matches!(byte, b'@'..=b'~')).map_or(parameters.len(), |end| end + 1);
    parameters.get(end..).unwrap_or_default()
}

/// Classifies a client by a line without its end.
pub(super) fn classify(line: &[u8]) -> FirstLine {
    let line = trim_invisible(line);
    if line.is_empty() {
        return FirstLine::Blank;
    }
    if let Some(protocol) = OtherProtocol::detect(line) {
        return FirstLine::OtherProtocol(protocol);
    }
    // A line in another encoding can still be a registration.
    if IrcCandidate::parse(&String::from_utf8_lossy(line)).is_some_and(|candidate| candidate.is_irc()) {
        return FirstLine::Irc;
    }
    if is_text(line) { FirstLine::Text } else { FirstLine::OtherProtocol(OtherProtocol::NotText) }
}

/// A line parsed as an IRC message (RFC 2812, 2.3.1), which it may or may not be.
struct IrcCandidate<'a> {
    command: &'a str,
    /// The parameters before the trailing one.
    middle: Vec<&'a str>,
    /// The parameter after ` :`, which may contain spaces.
    trailing: Option<&'a str>,
}

impl<'a> IrcCandidate<'a> {
    fn parse(line: &'a str) -> Option<IrcCandidate<'a>> {
        let (tags, rest) = split_prefix(line, '@');
        let (source, rest) = split_prefix(rest, ':');
        let (head, trailing) = rest.split_once(" :").map_or((rest, None), |(head, rest)| (head, Some(rest)));
        let mut words = head.split_whitespace();
        let candidate = IrcCandidate { command: words.next()?, middle: words.collect(), trailing };
        // People begin lines with `@name` and `:)`.
        let is_source = |source: &str| source.starts_with(|character: char| character.is_alphanumeric());
        let is_message = match (tags, source.and_then(|source| source.strip_prefix(':'))) {
            (None, None) => true,
            (_, Some(source)) => is_source(source),
            (Some(tags), None) => tags.contains('='),
        };
        (is_message || candidate.is_in_capitals()).then_some(candidate)
    }

    fn is_in_capitals(&self) -> bool {
        self.command.bytes().all(|byte| byte.is_ascii_uppercase())
    }

    /// Whether an IRC program may begin like this. In capitals, a command of the registration always counts, so that no
    /// password reaches a room. Otherwise it has to have the parameters that programs send, because commands are also English
    /// words.
    fn is_irc(&self) -> bool {
        let count = self.middle.len() + usize::from(self.trailing.is_some());
        let is_in_capitals = self.is_in_capitals();
        match self.command.to_ascii_uppercase().as_str() {
            "CAP" | "PASS" | "NICK" | "USER" | "AUTHENTICATE" | "STARTTLS" | "SERVICE" | "CAPAB" | "OPER"
                if is_in_capitals =>
            {
                true
            }
            "CAP" => self.is_capability_negotiation(count),
            // Servers add the version of their protocol (RFC 2813, 4.1.1; TS6).
            "PASS" => count == 1 || self.parameter(1).is_some_and(|word| word == "TS" || is_number(word, 4)),
            "NICK" | "AUTHENTICATE" => count == 1,
            "USER" => self.is_user(),
            "STARTTLS" => count == 0,
            "OPER" => count == 2,
            "PROTOCTL" => is_in_capitals || self.parameter(0).is_some_and(is_protoctl_token),
            "SERVER" => self.trailing.is_some() && self.parameter(0).is_some_and(|word| word.contains('.')),
            "JOIN" if is_in_capitals && self.middle.is_empty() && self.trailing.is_some() => true,
            "JOIN" => count <= 2 && self.parameter(0).is_some_and(|word| word.starts_with(['#', '&', '0'])),
            "PING" | "PONG" => is_in_capitals && count == 1,
            "PRIVMSG" => is_in_capitals || self.trailing.is_some(),
            "NOTICE" => is_in_capitals && self.trailing.is_some(),
            "QUIT" => is_in_capitals && self.middle.is_empty(),
            _ => false,
        }
    }

    /// Whether the parameters are those of USER (RFC 2812, 3.1.3): a name, a mode, an unused one, and the real name. A
    /// sentence may begin with `User`, so after that the mode has to be a number or `*`, as clients send it. `USER` never gets
    /// here: in capitals it always counts.
    fn is_user(&self) -> bool {
        let is_mode = |word: &str| word == "*" || is_number(word, 1);
        let has_mode = self.parameter(1).is_some_and(is_mode);
        let is_lower_case = self.command.bytes().all(|byte| byte.is_ascii_lowercase());
        match (self.middle.len(), self.trailing) {
            // FTP and POP3 clients send a name alone, and then a password.
            (1, None) => true,
            (3, Some(_)) => is_lower_case || has_mode,
            (4.., None) => has_mode && self.parameter(2).is_some_and(is_mode),
            _ => false,
        }
    }

    /// Whether the parameters are those of IRCv3's capability negotiation.
    fn is_capability_negotiation(&self, count: usize) -> bool {
        match self.parameter(0).unwrap_or_default().to_ascii_uppercase().as_str() {
            "LS" => count == 1 || count == 2 && self.parameter(1).is_some_and(|version| is_number(version, 1)),
            "REQ" => self.trailing.is_some() || count == 2,
            "LIST" | "END" => count == 1,
            _ => false,
        }
    }

    fn parameter(&self, index: usize) -> Option<&'a str> {
        self.middle.get(index).copied()
    }
}

/// Splits off a first word that begins with `mark`: the tags (`@`) or the source (`:`) of a message.
fn split_prefix(line: &str, mark: char) -> (Option<&str>, &str) {
    if !line.starts_with(mark) {
        return (None, line);
    }
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (Some(word), rest.trim_start())
}

/// Whether a word is a token of PROTOCTL. With these, clients and servers announce what they support.
fn is_protoctl_token(word: &str) -> bool {
    let known = ["NAMESX", "UHNAMES", "NOQUIT"];
    word.contains('=') || known.iter().any(|token| token.eq_ignore_ascii_case(word))
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
    fn other_commands_of_irc_programs_are_irc() {
        for line in [
            "CAP",
            "PASS",
            "NICK",
            "USER",
            "USER a",
            "CAP NONSENSE",
            "CAP ACK x",
            "PASS my secret",
            "PASS\tSECRET",
            "\u{a0}PASS SECRET",
            "\u{200b}PASS SECRET",
            "NICK bob 1",
            "USER bot bot bot bot",
            "USER a 0 0 a",
            "USER a 8 x a",
            "user a 0 * a",
            "SERVICE x * *.fr 0 0 :d",
            "oper admin SECRET",
            "user bob",
            "\u{1b}[200~PASS SECRET",
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
            "@alice pass it",
            ":-) hello",
            ":) join #foo",
            "privmsg is an irc command",
            "protoctl what",
            "JOIN us :)",
            "cap ls is broken",
            "User alice logged * in",
            "User alice logged in :-)",
            "user joined the chat today",
            "\u{1b}[A is a key",
            ":)",
            "/name bob",
            "Grüße, 世界",
            "a\tb",
        ] {
            assert_eq!(classify(line.as_bytes()), FirstLine::Text, "{line:?}");
        }
    }

    #[test]
    fn a_blank_line_does_not_decide_the_dialect() {
        for line in ["", " ", "\t \t", "\u{feff}", "\r", "\u{1b}[A", "\u{1b}["] {
            assert_eq!(classify(line.as_bytes()), FirstLine::Blank, "{line:?}");
        }
    }
}
