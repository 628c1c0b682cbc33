//! The chat servers, each in a process of its own on a free port.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;

use acceptd_bench::process::{self, ServerProcess};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChatServer {
    Acceptd,
    AcceptdIrc,
    Textbook,
    TextbookOneWrite,
    Tokio,
    Ngircd,
}

/// The protocol in which members join a room and send messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatDialect {
    /// Plain lines of text. Every client is a member from the start.
    Plain,
    /// RFC 2812.
    Irc,
}

impl ChatServer {
    pub const ALL: [ChatServer; 6] = [
        ChatServer::Acceptd,
        ChatServer::Textbook,
        ChatServer::TextbookOneWrite,
        ChatServer::Tokio,
        ChatServer::Ngircd,
        ChatServer::AcceptdIrc,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ChatServer::Acceptd => "acceptd",
            ChatServer::AcceptdIrc => "acceptd, IRC",
            ChatServer::Textbook => "textbook",
            ChatServer::TextbookOneWrite => "textbook, one write",
            ChatServer::Tokio => "tokio",
            ChatServer::Ngircd => "ngircd",
        }
    }

    pub fn dialect(self) -> ChatDialect {
        match self {
            ChatServer::AcceptdIrc | ChatServer::Ngircd => ChatDialect::Irc,
            _ => ChatDialect::Plain,
        }
    }

    /// How many members connect before the first of them has joined: as many as the server's accept queue holds.
    /// acceptd delays the welcome of a client that sends nothing at first, so joining in small groups would take long.
    pub fn join_at_once(self) -> usize {
        match self {
            ChatServer::Acceptd | ChatServer::AcceptdIrc => 1000,
            ChatServer::Ngircd => 8,
            _ => 100,
        }
    }

    /// Why this server can't be measured on this machine, or `None` if it can.
    ///
    /// # Errors
    ///
    /// acceptd can't be started.
    pub fn unavailable_reason(self, acceptd: &str) -> io::Result<Option<&'static str>> {
        Ok(match self {
            ChatServer::Acceptd | ChatServer::AcceptdIrc if !has_chat(acceptd)? => Some("this acceptd has no chat"),
            ChatServer::Ngircd if !process::is_installed("ngircd") => {
                Some("ngircd is not installed; on Debian: apt-get install ngircd")
            }
            _ => None,
        })
    }

    /// # Errors
    ///
    /// The server can't be started, or does not listen.
    pub fn start(self, acceptd: &str) -> io::Result<ServerProcess> {
        match self {
            ChatServer::Acceptd | ChatServer::AcceptdIrc => {
                let mut command = Command::new(acceptd);
                command.args(["-H", "chat", "--message-rate", "0", "-q", "-m", "2000", "127.0.0.1:0"]);
                ServerProcess::start_announced(self.name(), &mut command)
            }
            ChatServer::Textbook => {
                ServerProcess::start_announced(self.name(), &mut Command::new(env!("CARGO_BIN_EXE_textbook-chat")))
            }
            ChatServer::TextbookOneWrite => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_textbook-chat"));
                ServerProcess::start_announced(self.name(), command.arg("--one-write"))
            }
            ChatServer::Tokio => {
                ServerProcess::start_announced(self.name(), &mut Command::new(env!("CARGO_BIN_EXE_tokio-chat")))
            }
            ChatServer::Ngircd => start_ngircd(),
        }
    }
}

fn has_chat(acceptd: &str) -> io::Result<bool> {
    let help = Command::new(acceptd).arg("--help").output()?;
    Ok(String::from_utf8_lossy(&help.stdout).split_whitespace().any(|word| word == "--message-rate"))
}

/// Starts ngircd in the foreground, where it logs to its standard output, which is discarded. The settings lift each
/// limit that the other servers do not have, above all the penalty for senders of many messages.
fn start_ngircd() -> io::Result<ServerProcess> {
    let addr: SocketAddr = process::free_addr()?;
    let settings = format!(
        "[Global]\nName = bench.localhost\nListen = {}\nPorts = {}\nMotdPhrase = hello\n\
         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxPenaltyTime = 0\nPingTimeout = 3600\n\
         [Options]\nDNS = no\nIdent = no\nPAM = no\n",
        addr.ip(),
        addr.port()
    );
    // A pipe serves as the configuration file: it holds all of the settings, and needs no removal.
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(settings.as_bytes())?;
    drop(writer);
    let mut command = Command::new("ngircd");
    command.args(["--nodaemon", "--config", "/dev/stdin"]).stdin(reader);
    ServerProcess::start_at("ngircd", &mut command, addr)
}

/// The name and version of ngircd, or `None` if it is not installed.
pub fn ngircd_version() -> Option<String> {
    let output = Command::new("ngircd").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split(['-', '\n']).next()?.trim().to_owned())
}
