//! A client's command, as RFC 1939 writes it, and `XSEND`, by which this server gets its mails.

/// A command with its arguments. Messages have the numbers 1, 2, 3 …
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    User(String),
    Pass(String),
    Apop {
        name: String,
        digest: String,
    },
    Stat,
    List(Option<usize>),
    Retr(usize),
    Dele(usize),
    Noop,
    Rset,
    Top {
        number: usize,
        lines: usize,
    },
    Uidl(Option<usize>),
    Quit,
    /// RFC 2449.
    Capa,
    /// Not in any RFC: a mail for this user follows, and ends with a line with a dot.
    Xsend(String),
}

impl Command {
    /// Parses a line.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the client.
    pub fn parse(line: &[u8]) -> Result<Command, &'static str> {
        let text = std::str::from_utf8(line).map_err(|_| "a command is UTF-8 text")?;
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
        match (verb.to_ascii_uppercase().as_str(), words.as_slice()) {
            ("USER", [name]) => Ok(Command::User((*name).to_owned())),
            // A password may contain spaces (RFC 1939, section 7).
            ("PASS", [_, ..]) => Ok(Command::Pass(rest.to_owned())),
            ("APOP", [name, digest]) => {
                Ok(Command::Apop { name: (*name).to_owned(), digest: digest.to_ascii_lowercase() })
            }
            ("STAT", []) => Ok(Command::Stat),
            ("LIST", []) => Ok(Command::List(None)),
            ("LIST", [number]) => Ok(Command::List(Some(message_number(number)?))),
            ("RETR", [number]) => Ok(Command::Retr(message_number(number)?)),
            ("DELE", [number]) => Ok(Command::Dele(message_number(number)?)),
            ("NOOP", []) => Ok(Command::Noop),
            ("RSET", []) => Ok(Command::Rset),
            ("TOP", [number, lines]) => {
                let lines = lines.parse().map_err(|_| "TOP takes a number of lines")?;
                Ok(Command::Top { number: message_number(number)?, lines })
            }
            ("UIDL", []) => Ok(Command::Uidl(None)),
            ("UIDL", [number]) => Ok(Command::Uidl(Some(message_number(number)?))),
            ("QUIT", []) => Ok(Command::Quit),
            ("CAPA", []) => Ok(Command::Capa),
            ("XSEND", [name]) => Ok(Command::Xsend((*name).to_owned())),
            ("USER" | "PASS" | "APOP" | "STAT" | "LIST" | "RETR" | "DELE" | "NOOP" | "RSET", _) => {
                Err("wrong arguments")
            }
            ("TOP" | "UIDL" | "QUIT" | "CAPA" | "XSEND", _) => Err("wrong arguments"),
            _ => Err("unknown command"),
        }
    }
}

fn message_number(word: &str) -> Result<usize, &'static str> {
    match word.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("a message has a number from 1 on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_taken_in_any_case_and_arguments_as_they_are() {
        assert_eq!(Command::parse(b"uSeR Ann"), Ok(Command::User("Ann".into())));
        assert_eq!(Command::parse(b"PASS two  words "), Ok(Command::Pass("two  words ".into())));
        assert_eq!(Command::parse(b"LIST"), Ok(Command::List(None)));
        assert_eq!(Command::parse(b"top 3 0"), Ok(Command::Top { number: 3, lines: 0 }));
        let apop = Command::Apop { name: "ann".into(), digest: "c4c9".into() };
        assert_eq!(Command::parse(b"APOP ann C4C9"), Ok(apop));
    }

    #[test]
    fn what_is_no_command_is_named() {
        for line in ["", " ", "HELP", "\0", "RETRIEVE 1"] {
            assert_eq!(Command::parse(line.as_bytes()), Err("unknown command"), "{line:?}");
        }
        for line in ["USER", "PASS", "PASS ", "STAT 1", "RETR", "RETR 1 2", "TOP 1", "QUIT now"] {
            assert_eq!(Command::parse(line.as_bytes()), Err("wrong arguments"), "{line:?}");
        }
        for line in ["RETR 0", "DELE -1", "LIST x", "RETR 99999999999999999999999"] {
            assert_eq!(Command::parse(line.as_bytes()), Err("a message has a number from 1 on"), "{line:?}");
        }
        assert_eq!(Command::parse(b"USER \xff"), Err("a command is UTF-8 text"));
    }
}
