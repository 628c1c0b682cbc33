//! A chat to be tested, and its members: people at a terminal, and IRC clients.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use acceptd::Limits;
use acceptd::handler::chat::{Chat, Options, Rate};

use super::{Client, TestServer, eventually, text};

/// No line of IRC is longer, with its end and without its tags.
const LONGEST_OF_IRC: usize = 512;

/// As many lines as anybody likes.
pub const NO_RATE: Rate = Rate { per_second: 0, burst: 1 };

/// What most tests want: nobody has to wait because of what they have said.
pub fn options() -> Options {
    Options { rate: NO_RATE, ..Options::default() }
}

pub fn limits() -> Limits {
    Limits { descriptors_per_client: 2, ..Limits::default() }
}

pub fn serve() -> TestServer {
    serve_with(limits(), options())
}

pub fn serve_with(limits: Limits, options: Options) -> TestServer {
    TestServer::with(limits, Chat::new(options))
}

/// Somebody in a chat, who reads whole lines.
pub struct Member {
    pub client: Client,
    pub name: String,
    reader: BufReader<TcpStream>,
    is_irc: bool,
    fences: usize,
}

impl Member {
    /// A person at a terminal, in the lobby.
    pub fn person(server: &TestServer, name: &str) -> Member {
        let mut member = Member::of(server.connect(), name, false);
        member.say(&format!("/name {name}"));
        assert!(member.hears().contains(&format!("* you are now {name}")), "{name} is not let in");
        member
    }

    /// An IRC client, in no channel.
    pub fn irc(server: &TestServer, name: &str) -> Member {
        let mut member = Member::stranger(server);
        name.clone_into(&mut member.name);
        let replies = member.ask(&format!("NICK {name}\r\nUSER {name} 0 * :{name} in person"));
        assert!(replies[0].contains(" 001 "), "{name} is not let in: {replies:?}");
        member
    }

    /// An IRC client in the lobby.
    pub fn irc_in_lobby(server: &TestServer, name: &str) -> Member {
        let mut member = Member::irc(server, name);
        member.ask("JOIN #lobby");
        member
    }

    /// An IRC client that has said nothing yet.
    pub fn stranger(server: &TestServer) -> Member {
        Member::of(server.connect(), "*", true)
    }

    /// A person who has said nothing yet.
    pub fn guest(server: &TestServer) -> Member {
        Member::of(server.connect(), "", false)
    }

    fn of(client: Client, name: &str, is_irc: bool) -> Member {
        let reader = BufReader::new(client.stream.try_clone().unwrap());
        Member { client, name: name.to_owned(), reader, is_irc, fences: 0 }
    }

    pub fn say(&mut self, line: &str) {
        let end = if self.is_irc { "\r\n" } else { "\n" };
        self.client.send(format!("{line}{end}"));
    }

    /// The next line, without its end; nothing when the connection has ended.
    pub fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        if let Err(error) = self.reader.read_until(b'\n', &mut line) {
            panic!("{error}: {} waits for a line, after {:?}", self.name, text(&line));
        }
        if line.is_empty() {
            return None;
        }
        let line = String::from_utf8(line).expect("what a member hears is UTF-8");
        let end = if self.is_irc { "\r\n" } else { "\n" };
        let without_end = line.strip_suffix(end).unwrap_or_else(|| panic!("{line:?} has no end"));
        if self.is_irc {
            let untagged = if line.starts_with('@') { line.split_once(' ').unwrap().1 } else { &line };
            assert!(untagged.len() <= LONGEST_OF_IRC, "{} bytes: {line:?}", untagged.len());
        }
        Some(without_end.to_owned())
    }

    pub fn line(&mut self) -> String {
        let name = self.name.clone();
        self.next().unwrap_or_else(|| panic!("the connection of {name} has ended"))
    }

    /// All that has been said to this member up to now.
    pub fn hears(&mut self) -> Vec<String> {
        self.fences += 1;
        let (question, answer) = if self.is_irc {
            (format!("PING fence{}", self.fences), format!(":acceptd PONG acceptd :fence{}", self.fences))
        } else {
            let command = format!("/fence{}", self.fences);
            (command.clone(), format!("* there is no command {command}; /help lists them"))
        };
        self.say(&question);
        let mut lines = Vec::new();
        loop {
            match self.line() {
                line if line == answer => return lines,
                line => lines.push(line),
            }
        }
    }

    /// Says something; what is heard up to when that has been acted on.
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        self.say(line);
        self.hears()
    }

    /// Says something, to which one line is the answer.
    pub fn ask_one(&mut self, line: &str) -> String {
        let mut answer = self.ask(line);
        assert_eq!(answer.len(), 1, "{line:?}: {answer:?}");
        answer.remove(0)
    }

    /// All lines up to the end of the connection.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Listens until a line is heard.
    pub fn hears_in_the_end(&mut self, line: &str) {
        eventually(format!("{} hears {line:?}", self.name.clone()), || self.hears().iter().any(|heard| heard == line));
    }
}

/// The numbers of what are numeric replies.
pub fn numerics(lines: &[String]) -> Vec<u16> {
    lines.iter().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}
