//! The command line: its options, and the handler and the limits that they give.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acceptd::handler::chat::{Chat, ChatOptions, MessageRate};
use acceptd::handler::kv::{Kv, KvOptions};
use acceptd::{Echo, Handler, Limits, Line};
use clap::{ArgAction, Parser};
use log::LevelFilter;

mod address;
mod help;
mod names;
mod parsing;
mod scope;
mod values;

use address::address;
pub(crate) use names::HandlerName;
use names::{ChatProtocolName, FsyncName, KvProtocolName};
use values::{at_least_one, backlog, bytes, flag_count, message_rate, nonzero_time, size, time};

/// A TCP server: an echo, a line of commands, a key-value store, or a chat
///
/// `scope.rs` says which handlers use an option. The help shows them after its text.
#[derive(Debug, Parser)]
#[command(version, long_about = None, max_term_width = 100)]
pub(crate) struct Cli {
    /// Where to listen: HOST:PORT or PORT
    ///
    /// Where to listen: HOST:PORT, [IPV6]:PORT, or PORT alone for this machine only. Port 0 takes a free one. 0.0.0.0
    /// as HOST is every IPv4 address of this machine, [::] every address.
    #[arg(env = "ACCEPTD_ADDRESS", default_value = "127.0.0.1:17007", value_parser = address)]
    pub(crate) address: String,

    /// What to serve: echo, line, kv or chat
    #[arg(short = 'H', long, env = "ACCEPTD_HANDLER", value_name = "NAME", default_value = "echo")]
    pub(crate) handler: HandlerName,

    /// Most clients at once
    ///
    /// Serve this many clients at once; more are refused, and told so
    #[arg(short, long, env = "ACCEPTD_MAX_CONNECTIONS", value_name = "N", default_value = "1024")]
    #[arg(value_parser = at_least_one, allow_hyphen_values = true)]
    max_connections: usize,

    /// Longest silence [default: 5m; kv, chat: 0]
    ///
    /// Close a client that is silent this long between requests; 0 = never [default: 5m; kv, chat: 0]
    #[arg(long, env = "ACCEPTD_IDLE_TIMEOUT", value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    idle_timeout: Option<Duration>,

    /// Time for a request to arrive
    ///
    /// Close a client whose request takes longer than this, from its first byte to its last
    #[arg(long, env = "ACCEPTD_REQUEST_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = nonzero_time)]
    #[arg(allow_hyphen_values = true)]
    request_timeout: Duration,

    /// Time to take 4 KiB of a reply
    ///
    /// Close a client that takes less than 4 KiB of what it is sent, or of the rest, in this time
    #[arg(long, env = "ACCEPTD_WRITE_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = nonzero_time)]
    #[arg(allow_hyphen_values = true)]
    write_timeout: Duration,

    /// Time for shutdown
    ///
    /// Wait this long for clients at shutdown, then cut them; 0 = cut at once
    #[arg(long, env = "ACCEPTD_DRAIN_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = time)]
    #[arg(allow_hyphen_values = true)]
    drain_timeout: Duration,

    /// Longest line
    ///
    /// Take lines up to this long, line end included
    #[arg(long, env = "ACCEPTD_MAX_LINE", value_name = "SIZE", default_value = "64KiB", value_parser = size)]
    #[arg(allow_hyphen_values = true)]
    max_line: usize,

    /// auto, text or resp
    ///
    /// Speak to clients in lines of text, or as Redis does
    #[arg(long, env = "ACCEPTD_KV_PROTOCOL", value_name = "NAME", default_value = "auto")]
    kv_protocol: KvProtocolName,

    /// Keep keys and values in this file
    ///
    /// Keep keys and values in this file, where they survive; without it, they are in memory
    #[arg(long, env = "ACCEPTD_STORE", value_name = "FILE")]
    store: Option<PathBuf>,

    /// Write to the disk always or everysec
    ///
    /// When what was written is on disk for sure: before it is acknowledged, or within a second; only with --store
    #[arg(long, env = "ACCEPTD_FSYNC", value_name = "WHEN", default_value = "always")]
    fsync: FsyncName,

    /// Ask for the password in this file
    ///
    /// Ask clients for the password that is the first line of this file
    #[arg(long, env = "ACCEPTD_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Longest value
    ///
    /// Take values up to this long
    #[arg(long, env = "ACCEPTD_MAX_VALUE", value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    #[arg(allow_hyphen_values = true)]
    max_value: usize,

    /// Most memory; 0 = no limit
    ///
    /// Refuse to store more when keys and values take this much memory; 0 = no limit; not with --store
    #[arg(long, env = "ACCEPTD_MAX_MEMORY", value_name = "SIZE", default_value = "0", value_parser = bytes)]
    #[arg(allow_hyphen_values = true)]
    max_memory: usize,

    /// Most unread bytes
    ///
    /// Cut a client that lets more than this wait of what others have sent to it
    #[arg(long, env = "ACCEPTD_MAX_OUTBOX", value_name = "SIZE", default_value = "256KiB", value_parser = size)]
    #[arg(allow_hyphen_values = true)]
    max_outbox: usize,

    /// Lines a second
    ///
    /// Take this many lines a second from each client, after a burst of so many; 0 = no limit
    #[arg(long, env = "ACCEPTD_MESSAGE_RATE", value_name = "N/BURST", default_value = "10/20")]
    #[arg(value_parser = message_rate, allow_hyphen_values = true)]
    message_rate: MessageRate,

    /// auto, text or irc
    ///
    /// Speak to clients in lines of text, or IRC
    #[arg(long, env = "ACCEPTD_CHAT_PROTOCOL", value_name = "NAME", default_value = "auto")]
    chat_protocol: ChatProtocolName,

    /// Length of the kernel's queue
    ///
    /// Let the kernel queue this many connections until they are accepted; it queues at most net.core.somaxconn
    #[arg(long, env = "ACCEPTD_BACKLOG", value_name = "N", default_value = "4096", value_parser = backlog)]
    #[arg(allow_hyphen_values = true)]
    backlog: u16,

    /// Log each connection
    ///
    /// Log more: each connection (in the environment: 1)
    #[arg(short, long, env = "ACCEPTD_VERBOSE", action = ArgAction::Count, value_parser = flag_count)]
    verbose: u8,

    /// Log less; -qq and -qqq still less
    ///
    /// Log less: -q warnings and errors, -qq errors, -qqq nothing (in the environment: 1 to 3)
    #[arg(short, long, env = "ACCEPTD_QUIET", action = ArgAction::Count, value_parser = flag_count)]
    quiet: u8,

    /// Warnings about the settings, for the log.
    #[arg(skip)]
    pub(crate) warnings: Vec<String>,
}

impl Cli {
    /// Parses the command line and the environment of this process. Ends the process after an error, and after `--help` or
    /// `--version`.
    pub(crate) fn read() -> Cli {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let variables: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
        parsing::parse(&arguments, &variables).unwrap_or_else(|error| error.exit())
    }

    /// Creates the handler.
    ///
    /// # Errors
    ///
    /// The handler can't be started. The message tells the operator what happened and what to do next.
    pub(crate) fn create_handler(&self) -> Result<Box<dyn Handler>, String> {
        Ok(match self.handler {
            HandlerName::Echo => Box::new(Echo),
            HandlerName::Line => Box::new(Line::default()),
            HandlerName::Kv => Box::new(self.create_store()?),
            HandlerName::Chat => Box::new(Chat::new(ChatOptions {
                protocol: self.chat_protocol.into(),
                rate: self.message_rate,
                ..ChatOptions::default()
            })),
        })
    }

    fn create_store(&self) -> Result<Kv, String> {
        let options = self.kv_options()?;
        match &self.store {
            None => Kv::in_memory(options).map_err(|error| format!("can't start the store: {}", with_advice(&error))),
            Some(file) => Kv::in_file(file, self.fsync.into(), options)
                .map_err(|error| format!("can't open the store {}: {}", file.display(), with_advice(&error))),
        }
    }

    /// The handler and where it keeps its data, for the log.
    pub(crate) fn describe_handler(&self) -> String {
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

    fn kv_options(&self) -> Result<KvOptions, String> {
        Ok(KvOptions {
            protocol: self.kv_protocol.into(),
            password: self.password_file.as_deref().map(read_password).transpose()?,
            max_value: self.max_value,
            max_memory: self.max_memory,
        })
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

    /// A warning if other machines can reach a handler that keeps state.
    pub(crate) fn exposure_warning(&self, addresses: &[SocketAddr]) -> Option<String> {
        if !self.handler.keeps_state() {
            return None;
        }
        let reachable = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback())?;
        Some(if self.password_file.is_some() {
            format!("{reachable} is not a loopback address: passwords and data are sent in the clear")
        } else {
            format!(
                "{reachable} is not a loopback address: everybody who can reach it can read and change what is there"
            )
        })
    }
}

/// The text of a store's error. If a thread could not be started, it includes what to do.
fn with_advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => format!("{error}; {}", acceptd::advice(error)),
        _ => error.to_string(),
    }
}

/// Reads the password: the first line of a file.
fn read_password(file: &Path) -> Result<Vec<u8>, String> {
    let path = file.display();
    let text = fs::read(file).map_err(|error| format!("can't read the password file {path}: {error}"))?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    if password.is_empty() {
        return Err(format!("the first line of the password file {path} is empty: write the password there"));
    }
    warn_if_others_can_read(file);
    Ok(password.to_vec())
}

fn warn_if_others_can_read(file: &Path) {
    let path = file.display();
    if fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        log::warn!("other users of this machine can read the password file {path}: run chmod 600 {path}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_are_those_of_the_library() {
        assert_eq!(Cli::parse_from(["acceptd"]).limits(), Limits::default());
    }

    #[test]
    fn every_option_sets_its_limit() {
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
    fn there_is_a_warning_if_other_machines_can_reach_a_handler_that_keeps_state() {
        let warning = |line: &str, bound: &[&str]| {
            let bound: Vec<SocketAddr> = bound.iter().map(|text| text.parse().unwrap()).collect();
            Cli::parse_from(line.split(' ')).exposure_warning(&bound)
        };
        let loopback = ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
        assert_eq!(warning("acceptd -H kv", &loopback), None);
        assert_eq!(warning("acceptd -H echo", &["0.0.0.0:1"]), None, "an echo keeps no state");
        let open = warning("acceptd -H chat", &["127.0.0.1:1", "0.0.0.0:1"]).unwrap();
        assert!(open.contains("everybody who can reach it can read and change"), "{open}");
        let with_password = warning("acceptd -H kv --password-file secret", &["0.0.0.0:1"]).unwrap();
        assert!(with_password.contains("in the clear") && !with_password.contains("everybody"), "{with_password}");
    }
}
