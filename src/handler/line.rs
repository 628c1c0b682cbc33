//! Line: a command protocol of lines, as telnet servers have it.
//!
//! A line comes in, a reply goes out. What the reply is, is a pure function ([`commands`] has the built-in one); this
//! file is the conversation around it: line ends, telnet's own bytes, invalid text, HTTP.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::{Farewell, Handler, http, telnet, tls};
use crate::connection::Connection;
use crate::totals::Stats;

pub mod commands;

/// A server for a protocol of lines.
///
/// [`Line::default`] answers the built-in [`commands`]; [`Line::new`] makes a server of a function of your own:
///
/// ```
/// use acceptd::Line;
///
/// let handler = Line::new(|line| format!("you said {line}"));
/// # let _: &dyn acceptd::Handler = &handler;
/// ```
///
/// The handler takes care of the rest. Lines end with LF or CRLF, and so does the reply to each. An empty line is not
/// answered. A line that is not text (invalid UTF-8, control characters other than a tab) is answered with `ERROR` and
/// why, and the conversation goes on. Telnet's commands (RFC 854: `IAC` and what belongs to it) are taken out. A client
/// that speaks HTTP is told that it is at the wrong port, and closed.
pub struct Line {
    reply: Box<ReplyTo>,
}

type ReplyTo = dyn Fn(&str, &Facts) -> Reply + Send + Sync;

/// What to answer to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The lines to send; their ends are added.
    pub text: Cow<'static, str>,
    /// Whether the conversation goes on.
    pub then: Then,
}

/// What comes after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next line.
    Continue,
    /// The end of the connection.
    Close,
}

impl<T: Into<Cow<'static, str>>> From<T> for Reply {
    fn from(text: T) -> Reply {
        Reply { text: text.into(), then: Then::Continue }
    }
}

/// What a reply may depend on, besides the line: with these, it is a pure function.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The connection's number.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Lines that this client has sent, this one included.
    pub lines: u64,
    /// Bytes of these lines, line ends and telnet's commands included.
    pub bytes: u64,
    /// What time it is.
    pub now: Timestamp,
    /// How long the server has been up.
    pub uptime: Duration,
    /// How busy the server is.
    pub stats: Stats,
}

impl Line {
    /// A server that answers each line with what `reply` makes of it. It gets the line without its end, as text that is
    /// not empty and has no control characters but tabs.
    pub fn new<R: Into<Reply>>(reply: impl Fn(&str) -> R + Send + Sync + 'static) -> Line {
        Line::with_facts(move |line, _| reply(line).into())
    }

    /// The same, for replies that depend on more than the line.
    pub fn with_facts(reply: impl Fn(&str, &Facts) -> Reply + Send + Sync + 'static) -> Line {
        Line { reply: Box::new(reply) }
    }

    fn answer(&self, line: &telnet::Line, facts: &Facts) -> Reply {
        match readable(&line.text) {
            Ok(text) => (self.reply)(text, facts),
            Err(why) => format!("ERROR {why}").into(),
        }
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::with_facts(commands::reply)
    }
}

impl Handler for Line {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        let (mut lines, mut bytes) = (0, 0);
        let speaks_tls = client.read_request(3, |unread| tls::is_handshake(unread).map(|is| (is, 0)))?;
        if speaks_tls == Some(true) {
            client.write_all(&tls::ALERT)?;
            return Err(protocol_error("TLS spoken to a plain port"));
        }
        let mut scanner = telnet::Scanner::default();
        while let Some(line) = client.read_request(client.limits().max_line, |unread| scanner.scan(unread))? {
            lines += 1;
            bytes += line.length as u64;
            if line.asks_for_mark {
                client.write_all(telnet::MARK)?;
            }
            if line.text.is_empty() {
                continue;
            }
            if http::is_http(&line.text) {
                client.write_all(http::response(USAGE).as_bytes())?;
                return Err(protocol_error("HTTP spoken to a line protocol"));
            }
            let facts = Facts {
                id: client.id(),
                peer: client.peer_addr(),
                lines,
                bytes,
                now: Timestamp::now(),
                uptime: client.uptime(),
                stats: client.stats(),
            };
            let Reply { text, then } = self.answer(&line, &facts);
            for part in text.lines().chain(text.is_empty().then_some("")) {
                client.write_all(part.as_bytes())?;
                client.write_all(line.end.as_bytes())?;
            }
            if then == Then::Close {
                return Ok(());
            }
        }
        Ok(())
    }

    fn farewell(&self, reason: Farewell) -> Cow<'static, [u8]> {
        format!("ERROR {reason}\r\n").into_bytes().into()
    }
}

/// What whoever speaks HTTP is told.
const USAGE: &str = "It takes lines of text and answers each: connect with nc or telnet, and type one.";

fn protocol_error(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The line as text, or why it is none.
fn readable(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|_| "invalid UTF-8".to_owned())?;
    match text.chars().find(|&character| character.is_control() && character != '\t') {
        None => Ok(text),
        Some(control) => Err(format!("control character U+{:04X}, send plain text", u32::from(control))),
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}
