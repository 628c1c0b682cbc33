//! The command line: what can be set, how it is written, and what is said when it is wrong.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acceptd::handler::chat::{self, Chat};
use acceptd::handler::kv::{self, Kv};
use acceptd::{Echo, Handler, Limits, Line};
use clap::{ArgAction, Parser, ValueEnum};
use log::LevelFilter;

mod values;

use values::{address, at_least_one, bytes, size, some_time, time};

const EXAMPLES: &str = "\
Examples:
  acceptd                               echo on 127.0.0.1:17007; then: nc 127.0.0.1 17007
  acceptd --handler line '[::1]:0'      a command server on a free port
  acceptd --handler kv --store data    a key-value store in a file; then: redis-cli -p 17007
  acceptd --handler chat               a chat; then: nc 127.0.0.1 17007, or irssi -c 127.0.0.1 -p 17007
  acceptd --idle-timeout 30s -v 0.0.0.0:7007

Times are written 250ms, 10s, 5m, 2h; a bare number is seconds.
Sizes are written 64KiB, 1MiB; a bare number is bytes. At most a year, and 1GiB.
Each option can be given in the environment too, the command line outranks it; RUST_LOG outranks -v and -q.
Ctrl-C (SIGINT), SIGTERM or SIGHUP lets clients finish, then ends; another one, a second later, ends at once.";

/// A TCP server with a thread for each client
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Where to listen: HOST:PORT or [IPV6]:PORT; port 0 takes a free one
    #[arg(env = "ACCEPTD_ADDRESS", default_value = "127.0.0.1:17007", value_parser = address)]
    pub(crate) address: String,

    /// What to serve
    #[arg(short = 'H', long, env = "ACCEPTD_HANDLER", value_name = "NAME", default_value = "echo")]
    pub(crate) handler: HandlerName,

    /// Serve this many clients at once; more are refused, and told so
    #[arg(short, long, env = "ACCEPTD_MAX_CONNECTIONS", value_name = "N", default_value = "1024")]
    #[arg(value_parser = at_least_one)]
    max_connections: usize,

    /// Close a client that is silent this long between requests; 0 = never [default: 5m; kv and chat: 0]
    #[arg(long, env = "ACCEPTD_IDLE_TIMEOUT", value_name = "TIME", value_parser = time)]
    idle_timeout: Option<Duration>,

    /// Close a client whose request takes longer than this, from its first byte to its last (line, kv, chat)
    #[arg(long, env = "ACCEPTD_REQUEST_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = some_time)]
    request_timeout: Duration,

    /// Close a client that takes less than 4 KiB of what it is sent, or of the rest, in this time
    #[arg(long, env = "ACCEPTD_WRITE_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = some_time)]
    write_timeout: Duration,

    /// Wait this long for clients at shutdown, then cut them; 0 = cut at once
    #[arg(long, env = "ACCEPTD_DRAIN_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = time)]
    drain_timeout: Duration,

    /// Take lines up to this long, line end included (line)
    #[arg(long, env = "ACCEPTD_MAX_LINE", value_name = "SIZE", default_value = "64KiB", value_parser = size)]
    max_line: usize,

    /// Speak to clients in lines of text, or as Redis does (kv)
    #[arg(long, env = "ACCEPTD_KV_PROTOCOL", value_name = "NAME", default_value = "auto")]
    kv_protocol: KvProtocol,

    /// Keep keys and values in this file, where they survive (kv); without it, they are in memory
    #[arg(long, env = "ACCEPTD_STORE", value_name = "FILE")]
    store: Option<PathBuf>,

    /// When what was written is on disk for sure: before it is acknowledged, or within a second (kv)
    #[arg(long, env = "ACCEPTD_FSYNC", value_name = "WHEN", default_value = "always")]
    fsync: FsyncName,

    /// Ask clients for the password that is the first line of this file (kv)
    #[arg(long, env = "ACCEPTD_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Take values up to this long (kv)
    #[arg(long, env = "ACCEPTD_MAX_VALUE", value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    max_value: usize,

    /// Refuse to store more when keys and values take this much memory; 0 = no limit (kv, in memory)
    #[arg(long, env = "ACCEPTD_MAX_MEMORY", value_name = "SIZE", default_value = "0", value_parser = bytes)]
    max_memory: usize,

    /// Cut a client that lets more than this wait of what others have sent to it (chat)
    #[arg(long, env = "ACCEPTD_MAX_OUTBOX", value_name = "SIZE", default_value = "256KiB", value_parser = size)]
    max_outbox: usize,

    /// Take this many lines a second from each client, after a burst of so many; 0 = no limit (chat)
    #[arg(long, env = "ACCEPTD_MESSAGE_RATE", value_name = "N/BURST", default_value = "10/20", value_parser = rate)]
    message_rate: chat::Rate,

    /// Speak to clients in lines of text, or IRC (chat)
    #[arg(long, env = "ACCEPTD_CHAT_PROTOCOL", value_name = "NAME", default_value = "auto")]
    chat_protocol: ChatProtocol,

    /// Let the kernel queue this many connections until they are accepted
    #[arg(long, env = "ACCEPTD_BACKLOG", value_name = "N", default_value = "4096")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    backlog: u16,

    /// Log more: each connection (in the environment: 1)
    #[arg(short, long, env = "ACCEPTD_VERBOSE", action = ArgAction::Count)]
    verbose: u8,

    /// Log less: -q warnings and errors, -qq errors, -qqq nothing (in the environment: 1 to 3)
    #[arg(short, long, env = "ACCEPTD_QUIET", action = ArgAction::Count)]
    quiet: u8,
}

/// The built-in handlers. A new one is a file in `src/handler/`, and a line in each match here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandlerName {
    /// Sends back what it gets (RFC 862)
    Echo,
    /// Answers commands, a line each; begin with HELP
    Line,
    /// Keeps keys and values, for people and for Redis's clients
    Kv,
    /// Rooms to talk in, for people and for IRC clients
    Chat,
}

impl HandlerName {
    /// Whether clients can change what other clients get.
    fn keeps_state(self) -> bool {
        match self {
            HandlerName::Echo | HandlerName::Line => false,
            HandlerName::Kv | HandlerName::Chat => true,
        }
    }

    /// How long its clients may be silent: those of a store wait for their own users, and people may listen.
    fn idle_timeout(self) -> Option<Duration> {
        match self {
            HandlerName::Echo | HandlerName::Line => Some(Duration::from_secs(5 * 60)),
            HandlerName::Kv | HandlerName::Chat => None,
        }
    }

    /// How many descriptors a client of it takes.
    fn descriptors_per_client(self) -> usize {
        match self {
            HandlerName::Echo | HandlerName::Line | HandlerName::Kv => 1,
            HandlerName::Chat => 2,
        }
    }
}

/// How a key-value store is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KvProtocol {
    /// The first byte of a connection decides
    Auto,
    /// Lines, as people type them
    Text,
    /// RESP, as Redis's clients speak it; lines are answered in it too
    Resp,
}

/// How a chat is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChatProtocol {
    /// The first line of a connection decides
    Auto,
    /// Lines, as people type them
    Text,
    /// IRC
    Irc,
}

impl From<ChatProtocol> for chat::Protocol {
    fn from(name: ChatProtocol) -> chat::Protocol {
        match name {
            ChatProtocol::Auto => chat::Protocol::Auto,
            ChatProtocol::Text => chat::Protocol::Text,
            ChatProtocol::Irc => chat::Protocol::Irc,
        }
    }
}

/// When the store's file is synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FsyncName {
    /// Before a write is acknowledged
    Always,
    /// Within a second: a crash may take back that much
    Everysec,
}

impl From<FsyncName> for kv::Fsync {
    fn from(name: FsyncName) -> kv::Fsync {
        match name {
            FsyncName::Always => kv::Fsync::Always,
            FsyncName::Everysec => kv::Fsync::EverySecond,
        }
    }
}

impl Cli {
    /// What is served.
    ///
    /// # Errors
    ///
    /// It can't be started: what a person should know and do.
    pub(crate) fn handler(&self) -> Result<Box<dyn Handler>, String> {
        Ok(match self.handler {
            HandlerName::Echo => Box::new(Echo),
            HandlerName::Line => Box::new(Line::default()),
            HandlerName::Kv => {
                let options = self.kv_options()?;
                Box::new(match &self.store {
                    None => {
                        Kv::in_memory(options).map_err(|error| format!("can't start the store: {}", advised(&error)))?
                    }
                    Some(file) => {
                        let store = Kv::in_file(file, self.fsync.into(), options);
                        store
                            .map_err(|error| format!("can't open the store {}: {}", file.display(), advised(&error)))?
                    }
                })
            }
            HandlerName::Chat => Box::new(Chat::new(chat::Options {
                protocol: self.chat_protocol.into(),
                rate: self.message_rate,
                ..chat::Options::default()
            })),
        })
    }

    /// What is served and where it is kept, for the log.
    pub(crate) fn served(&self) -> String {
        match (self.handler, &self.store) {
            (HandlerName::Echo, _) => "echo".to_owned(),
            (HandlerName::Line, _) => "line".to_owned(),
            (HandlerName::Chat, _) => "chat".to_owned(),
            (HandlerName::Kv, None) => "kv in memory".to_owned(),
            (HandlerName::Kv, Some(file)) => {
                let fsync = match self.fsync {
                    FsyncName::Always => "always",
                    FsyncName::Everysec => "everysec",
                };
                format!("kv in {} (fsync {fsync})", file.display())
            }
        }
    }

    fn kv_options(&self) -> Result<kv::Options, String> {
        let protocol = match self.kv_protocol {
            KvProtocol::Auto => kv::Protocol::Auto,
            KvProtocol::Text => kv::Protocol::Text,
            KvProtocol::Resp => kv::Protocol::Resp,
        };
        let password = self.password_file.as_deref().map(password).transpose()?;
        Ok(kv::Options { protocol, password, max_value: self.max_value, max_memory: self.max_memory })
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            idle_timeout: match self.idle_timeout {
                Some(timeout) => Some(timeout).filter(|timeout| !timeout.is_zero()),
                None => self.handler.idle_timeout(),
            },
            request_timeout: self.request_timeout,
            write_timeout: self.write_timeout,
            drain_timeout: self.drain_timeout,
            max_line: self.max_line,
            max_outbox: self.max_outbox,
            descriptors_per_client: self.handler.descriptors_per_client(),
            backlog: self.backlog,
            ..Limits::default()
        }
    }

    pub(crate) fn log_level(&self) -> LevelFilter {
        match i16::from(self.verbose) - i16::from(self.quiet) {
            ..=-3 => LevelFilter::Off,
            -2 => LevelFilter::Error,
            -1 => LevelFilter::Warn,
            0 => LevelFilter::Info,
            1 => LevelFilter::Debug,
            2.. => LevelFilter::Trace,
        }
    }

    /// What to warn of, if strangers can reach a handler that they can change.
    pub(crate) fn exposure(&self, bound: &[SocketAddr]) -> Option<String> {
        if self.handler.keeps_state() { exposed(bound) } else { None }
    }
}

/// An error of the store; where there was no thread for it, with what to do about that.
fn advised(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => format!("{error}; {}", acceptd::advice(error)),
        _ => error.to_string(),
    }
}

/// Lines a second, and after a slash how many at once.
fn rate(text: &str) -> Result<chat::Rate, String> {
    let wrong = || "write 10/20 for 10 lines a second after a burst of 20, or 0 for no limit".to_owned();
    let (per_second, burst) = text.split_once('/').unwrap_or((text, "1"));
    match (per_second.parse(), burst.parse()) {
        (Ok(per_second), Ok(burst @ 1..=10_000)) if per_second <= 1_000_000 => Ok(chat::Rate { per_second, burst }),
        _ => Err(wrong()),
    }
}

/// The first line of a file.
fn password(file: &Path) -> Result<Vec<u8>, String> {
    let show = file.display();
    let text = fs::read(file).map_err(|error| format!("can't read the password file {show}: {error}"))?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match line.strip_suffix(b"\r").unwrap_or(line) {
        [] => Err(format!("the first line of the password file {show} is empty: write the password there")),
        password => Ok(password.to_vec()),
    }
}

fn exposed(bound: &[SocketAddr]) -> Option<String> {
    let open = bound.iter().find(|address| !address.ip().to_canonical().is_loopback())?;
    Some(format!("{open} is not a loopback address: everybody who can reach it can change what is served here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn its_defaults_are_those_of_the_library() {
        assert_eq!(Cli::parse_from(["acceptd"]).limits(), Limits::default());
    }

    #[test]
    fn every_flag_lands_in_its_limit() {
        let line = "acceptd -m 7 --idle-timeout 1s --request-timeout 2s --write-timeout 3s \
                    --drain-timeout 4s --max-line 5 --backlog 6";
        let seconds = Duration::from_secs;
        let expected = Limits {
            max_connections: 7,
            idle_timeout: Some(seconds(1)),
            request_timeout: seconds(2),
            write_timeout: seconds(3),
            drain_timeout: seconds(4),
            max_line: 5,
            backlog: 6,
            ..Limits::default()
        };
        assert_eq!(Cli::parse_from(line.split(' ')).limits(), expected);
        assert_eq!(Cli::parse_from(["acceptd", "--idle-timeout", "0"]).limits().idle_timeout, None);
    }

    #[test]
    fn strangers_are_warned_of_where_they_can_do_harm() {
        let parse =
            |addresses: &[&str]| exposed(&addresses.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(parse(&["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"]), None);
        assert!(parse(&["127.0.0.1:1", "0.0.0.0:1"]).is_some());
        let echo = Cli::parse_from(["acceptd", "0.0.0.0:0"]);
        assert_eq!(echo.exposure(&["0.0.0.0:1".parse().unwrap()]), None, "an echo changes for nobody");
    }
}
