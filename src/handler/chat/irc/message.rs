//! Parses a line as an IRC message (RFC 2812, 2.3.1; IRCv3 message tags).

use crate::handler::chat::text::{CTCP_DELIMITER, sanitize};

/// The last parameter takes the rest of the line (RFC 2812, 2.3).
const MAX_PARAMETERS: usize = 15;

/// A client's command. All of its text is sanitized.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IrcMessage {
    /// In upper case.
    pub(super) command: String,
    pub(super) parameters: Vec<String>,
    /// The CTCP command, such as `ACTION`, if a PRIVMSG or NOTICE has one. Then the last parameter is the text after the
    /// command.
    pub(super) ctcp: Option<String>,
}

impl IrcMessage {
    /// Parses a line. Returns `None` if it has no command.
    pub(super) fn parse(line: &str) -> Option<IrcMessage> {
        let line = line.trim_end_matches(['\r', ' ']).trim_start();
        // No capability gives tags from clients a meaning, and the server knows a client's source.
        let line = skip_prefix(skip_prefix(line, '@'), ':');
        let (command, mut rest) = line.split_once(' ').unwrap_or((line, ""));
        if command.is_empty() {
            return None;
        }
        let mut parameters = Vec::new();
        while !rest.trim_start_matches(' ').is_empty() {
            rest = rest.trim_start_matches(' ');
            let is_last = rest.starts_with(':') || parameters.len() + 1 == MAX_PARAMETERS;
            let (parameter, after) = match rest.split_once(' ') {
                Some(parts) if !is_last => parts,
                _ => (if is_last { rest.strip_prefix(':').unwrap_or(rest) } else { rest }, ""),
            };
            parameters.push(parameter);
            rest = after;
        }
        let command = sanitize(command).to_ascii_uppercase();
        let mut ctcp = None;
        if let "PRIVMSG" | "NOTICE" = command.as_str()
            && let Some(last) = parameters.last_mut()
            && let Some(quoted) = last.strip_prefix(CTCP_DELIMITER)
        {
            let quoted = quoted.strip_suffix(CTCP_DELIMITER).unwrap_or(quoted);
            let (quoted, text) = quoted.split_once(' ').unwrap_or((quoted, ""));
            ctcp = Some(sanitize(quoted).to_ascii_uppercase());
            *last = text;
        }
        let parameters = parameters.into_iter().map(sanitize).collect();
        Some(IrcMessage { command, parameters, ctcp })
    }

    /// A parameter that is not empty.
    pub(super) fn parameter(&self, index: usize) -> Option<&str> {
        self.parameters.get(index).map(String::as_str).filter(|parameter| !parameter.is_empty())
    }
}

/// A line without its first word, if that begins with `mark`.
fn skip_prefix(line: &str, mark: char) -> &str {
    match line.strip_prefix(mark) {
        Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest.trim_start_matches(' ')),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> String {
        let Some(message) = IrcMessage::parse(line) else { return "nothing".to_owned() };
        let ctcp = message.ctcp.map_or(String::new(), |ctcp| format!(" {{{ctcp}}}"));
        format!("{}({}){ctcp}", message.command, message.parameters.join("|"))
    }

    #[test]
    fn a_message_has_a_command_and_parameters() {
        for (line, expected) in [
            ("nick bob\r", "NICK(bob)"),
            ("USER bob 0 * :Bob  the builder ", "USER(bob|0|*|Bob  the builder)"),
            ("PRIVMSG  #lobby   hello", "PRIVMSG(#lobby|hello)"),
            ("PRIVMSG #lobby :", "PRIVMSG(#lobby|)"),
            ("PRIVMSG #lobby ::-)", "PRIVMSG(#lobby|:-))"),
            ("@a=b;c=d :source PING :x y", "PING(x y)"),
            (":source", "nothing"),
            ("@a=b", "nothing"),
            ("   ", "nothing"),
            ("", "nothing"),
            ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "1(2|3|4|5|6|7|8|9|10|11|12|13|14|15|16 17)"),
            ("PRIVMSG a :\u{1}ACTION waves \u{2}both\u{2} arms\u{1}", "PRIVMSG(a|waves both arms) {ACTION}"),
            ("PRIVMSG a :\u{1}version\u{1}", "PRIVMSG(a|) {VERSION}"),
            ("NOTICE a :\u{1}b\u{1b}c", "NOTICE(a|) {B\u{FFFD}C}"),
            ("TOPIC #a :\u{1}b", "TOPIC(#a|\u{FFFD}b)"),
        ] {
            assert_eq!(parsed(line), expected, "{line:?}");
        }
    }
}
