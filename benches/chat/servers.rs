//! The servers, each a process of its own on a free port.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;

use acceptd_bench::process::{self, ServerProcess};

/// A chat server, and the dialect that its members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Server {
    Acceptd,
    AcceptdIrc,
    Textbook,
    TextbookOneWrite,
    Tokio,
    Ngircd,
}

/// How members join a room and talk in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Lines for people: everybody is in the room from the start.
    Plain,
    /// RFC 2812.
    Irc,
}

impl Server {
    pub const ALL: [Server; 6] = [
        Server::Acceptd,
        Server::Textbook,
        Server::TextbookOneWrite,
        Server::Tokio,
        Server::Ngircd,
        Server::AcceptdIrc,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Server::Acceptd => "acceptd",
            Server::AcceptdIrc => "acceptd, IRC",
            Server::Textbook => "textbook",
            Server::TextbookOneWrite => "textbook, one write",
            Server::Tokio => "tokio",
            Server::Ngircd => "ngircd",
        }
    }

    pub fn dialect(self) -> Dialect {
        match self {
            Server::AcceptdIrc | Server::Ngircd => Dialect::Irc,
            _ => Dialect::Plain,
        }
    }

    /// This many connect before they are welcomed: what the server's queue holds. acceptd's holds all of them, and
    /// whoever says nothing at first waits there, so that it would take long in small groups.
    pub fn join_at_once(self) -> usize {
        match self {
            Server::Acceptd | Server::AcceptdIrc => 1000,
            Server::Ngircd => 8,
            _ => 100,
        }
    }

    /// What keeps it from being measured here.
    ///
    /// # Errors
    ///
    /// acceptd can't be started.
    pub fn why_not(self, acceptd: &str) -> io::Result<Option<&'static str>> {
        Ok(match self {
            Server::Acceptd | Server::AcceptdIrc if !has_chat(acceptd)? => Some("this acceptd has no chat"),
            Server::Ngircd if !process::is_installed("ngircd") => {
                Some("ngircd is not installed; on Debian: apt-get install ngircd")
            }
            _ => None,
        })
    }

    /// # Errors
    ///
    /// It can't be started, or does not listen.
    pub fn start(self, acceptd: &str) -> io::Result<ServerProcess> {
        match self {
            Server::Acceptd | Server::AcceptdIrc => {
                let mut command = Command::new(acceptd);
                command.args(["-H", "chat", "--message-rate", "0", "-q", "-m", "2000", "127.0.0.1:0"]);
                ServerProcess::start_announced(self.name(), &mut command)
            }
            Server::Textbook => {
                ServerProcess::start_announced(self.name(), &mut Command::new(env!("CARGO_BIN_EXE_textbook-chat")))
            }
            Server::TextbookOneWrite => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_textbook-chat"));
                ServerProcess::start_announced(self.name(), command.arg("--one-write"))
            }
            Server::Tokio => {
                ServerProcess::start_announced(self.name(), &mut Command::new(env!("CARGO_BIN_EXE_tokio-chat")))
            }
            Server::Ngircd => start_ngircd(),
        }
    }
}

fn has_chat(acceptd: &str) -> io::Result<bool> {
    let help = Command::new(acceptd).arg("--help").output()?;
    Ok(String::from_utf8_lossy(&help.stdout).split_whitespace().any(|word| word == "--message-rate"))
}

/// In the foreground, where it logs to its standard output and so to nowhere, with each limit lifted that acceptd's and
/// the other peers' members do not have: penalties for quick senders above all.
fn start_ngircd() -> io::Result<ServerProcess> {
    let addr: SocketAddr = process::free_addr()?;
    let settings = format!(
        "[Global]\nName = bench.localhost\nListen = {}\nPorts = {}\nMotdPhrase = hello\n\
         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxPenaltyTime = 0\nPingTimeout = 3600\n\
         [Options]\nDNS = no\nIdent = no\nPAM = no\n",
        addr.ip(),
        addr.port()
    );
    // It reads a file; a pipe is one that nobody has to remove, and holds all of it.
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(settings.as_bytes())?;
    drop(writer);
    let mut command = Command::new("ngircd");
    command.args(["--nodaemon", "--config", "/dev/stdin"]).stdin(reader);
    ServerProcess::start_at("ngircd", &mut command, addr)
}

/// Name and number alone, if it is installed.
pub fn version_of_ngircd() -> Option<String> {
    let output = Command::new("ngircd").arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(said.split(['-', '\n']).next()?.trim().to_owned())
}
