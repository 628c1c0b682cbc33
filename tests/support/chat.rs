//! A chat under test and its members: people at a terminal, and IRC clients.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use acceptd::Limits;
use acceptd::handler::chat::{Chat, ChatOptions, MessageRate};

use super::{Client, TestServer, eventually, text};

/// The longest line of IRC, with its end and without its tags.
const MAX_IRC_LINE: usize = 512;

/// No flood control.
pub const UNLIMITED_RATE: MessageRate = MessageRate { per_second: 0, burst: 1 };

/// The options of most tests: without flood control, no line waits.
pub fn options() -> ChatOptions {
    ChatOptions { rate: UNLIMITED_RATE, ..ChatOptions::default() }
}

pub fn limits() -> Limits {
    Limits { descriptors_per_client: 2, ..Limits::default() }
}

pub fn serve() -> TestServer {
    serve_with(limits(), options())
}

pub fn serve_with(limits: Limits, options: ChatOptions) -> TestServer {
    TestServer::with(limits, Chat::new(options))
}

/// A chat's client that reads whole lines.
pub struct ChatClient {
    pub client: Client,
    pub name: String,
    reader: BufReader<TcpStream>,
    is_irc: bool,
    /// How many times [`received`](ChatClient::received) has been called.
    sync_count: usize,
}

impl ChatClient {
    /// A person at a terminal, in the lobby.
    pub fn person(server: &TestServer, name: &str) -> ChatClient {
        let mut member = ChatClient::new(server.connect(), name, false);
        member.send_line(&format!("/name {name}"));
        assert!(member.received().contains(&format!("* you are now {name}")), "{name} was refused");
        member
    }

    /// An IRC client, in no channel.
    pub fn irc(server: &TestServer, name: &str) -> ChatClient {
        let mut member = ChatClient::unregistered(server);
        name.clone_into(&mut member.name);
        let replies = member.ask(&format!("NICK {name}\r\nUSER {name} 0 * :{name} in person"));
        assert!(replies[0].contains(" 001 "), "{name} was refused: {replies:?}");
        member
    }

    /// An IRC client in the lobby.
    pub fn irc_in_lobby(server: &TestServer, name: &str) -> ChatClient {
        let mut member = ChatClient::irc(server, name);
        member.ask("JOIN #lobby");
        member
    }

    /// An IRC client that has not sent anything.
    pub fn unregistered(server: &TestServer) -> ChatClient {
        ChatClient::new(server.connect(), "*", true)
    }

    /// A person who has not sent anything.
    pub fn guest(server: &TestServer) -> ChatClient {
        ChatClient::new(server.connect(), "", false)
    }

    fn new(client: Client, name: &str, is_irc: bool) -> ChatClient {
        let reader = BufReader::new(client.stream.try_clone().unwrap());
        ChatClient { client, name: name.to_owned(), reader, is_irc, sync_count: 0 }
    }

    pub fn send_line(&mut self, line: &str) {
        let end = if self.is_irc { "\r\n" } else { "\n" };
        self.client.send(format!("{line}{end}"));
    }

    /// The next line without its end, or `None` at the end of the connection.
    pub fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        if let Err(error) = self.reader.read_until(b'\n', &mut line) {
            panic!("{error}: {} was waiting for a line, and got {:?}", self.name, text(&line));
        }
        if line.is_empty() {
            return None;
        }
        let line = String::from_utf8(line).expect("members receive UTF-8");
        let end = if self.is_irc { "\r\n" } else { "\n" };
        let without_end = line.strip_suffix(end).unwrap_or_else(|| panic!("{line:?} has the wrong line end"));
        if self.is_irc {
            let untagged = if line.starts_with('@') { line.split_once(' ').unwrap().1 } else { &line };
            assert!(untagged.len() <= MAX_IRC_LINE, "{} bytes: {line:?}", untagged.len());
        }
        Some(without_end.to_owned())
    }

    pub fn line(&mut self) -> String {
        let name = self.name.clone();
        self.next().unwrap_or_else(|| panic!("the connection of {name} has ended"))
    }

    /// The lines that the server has sent to this member so far. A command with a known reply marks their end.
    pub fn received(&mut self) -> Vec<String> {
        self.sync_count += 1;
        let (command, reply) = if self.is_irc {
            (format!("PING sync{}", self.sync_count), format!(":acceptd PONG acceptd :sync{}", self.sync_count))
        } else {
            let command = format!("/sync{}", self.sync_count);
            (command.clone(), format!("* there is no command {command}; /help lists them"))
        };
        self.send_line(&command);
        let mut lines = Vec::new();
        loop {
            match self.line() {
                line if line == reply => return lines,
                line => lines.push(line),
            }
        }
    }

    /// Sends a line. Returns the lines received until the server has handled it.
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        self.send_line(line);
        self.received()
    }

    /// Sends a line that is answered with exactly one line.
    pub fn ask_one(&mut self, line: &str) -> String {
        let mut lines = self.ask(line);
        assert_eq!(lines.len(), 1, "{line:?}: {lines:?}");
        lines.remove(0)
    }

    /// All lines up to the end of the connection.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Waits until this member receives a line.
    pub fn eventually_receives(&mut self, line: &str) {
        eventually(format!("{} receives {line:?}", self.name.clone()), || {
            self.received().iter().any(|received| received == line)
        });
    }
}

/// The numbers of the numeric replies among the lines.
pub fn numerics(lines: &[String]) -> Vec<u16> {
    lines.iter().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}
