//! Line: a command protocol of lines, as telnet servers have it.
//!
//! A line comes in, a reply goes out. What the reply is, is a pure function ([`commands`] has the built-in one); this
//! file is the conversation around it: line ends, telnet's own bytes, invalid text, HTTP.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::shared::telnet::{Item, Scanner};
use super::shared::{http, tls};
use super::{Farewell, Handler};
use crate::connection::Connection;
use crate::protocol_error::protocol_error;
use crate::totals::Stats;

pub mod commands;
mod text;

use text::readable;

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
/// The handler takes care of the rest:
///
/// - A line ends with LF, CRLF, CR NUL (RFC 854) or a CR alone, which is what a terminal program sends for Return. The reply
///   ends the same way: with LF, or else with CRLF. A line is not longer than [`Limits::max_line`](crate::Limits::max_line)
///   with its end. An empty one is not answered.
/// - Backspace, DEL and telnet's EC erase the last character (grapheme), EL the whole line. A byte order mark at the very
///   start is dropped.
/// - Telnet's commands (`IAC` and what belongs to it) may stand anywhere. AYT is answered with `[yes]`, `DO TIMING-MARK`
///   (RFC 860) with `WONT`, both at once; no other option is answered. Between lines they do not begin a request.
/// - A line that is not text (invalid UTF-8, control characters other than a tab) is answered with `ERROR` and why, and the
///   conversation goes on.
/// - A client that speaks HTTP or TLS is told so in its own protocol, and closed.
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
    /// Bytes of these lines, their ends and the telnet commands in them included. An end with CR counts as CRLF.
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

    fn answer(&self, line: &[u8], facts: &Facts) -> Reply {
        match readable(line) {
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
        refuse_tls(client)?;
        let (mut lines, mut bytes) = (0, 0);
        let mut scanner = Scanner::default();
        let limit = client.limits().max_line;
        while let Some(item) = client.read_request(limit, |unread| next_item(&mut scanner, unread, limit))? {
            let line = match item {
                Item::Line(line) => line,
                Item::Skip { reply, .. } => {
                    client.write_all(reply)?;
                    continue;
                }
            };
            lines += 1;
            bytes += line.size() as u64;
            let facts = Facts {
                id: client.id(),
                peer: client.peer_addr(),
                lines,
                bytes,
                now: Timestamp::now(),
                uptime: client.uptime(),
                stats: client.stats(),
            };
            // The line is read where it lies: no copy of it is kept while its reply is sent.
            let text = line.text(client.fill_buf()?);
            if http::is_http(&text) {
                client.write_all(http::response(USAGE).as_bytes())?;
                return Err(protocol_error("HTTP spoken to a line protocol"));
            }
            let reply = (!text.is_empty()).then(|| self.answer(&text, &facts));
            client.consume(line.length);
            let Some(Reply { text, then }) = reply else { continue };
            send(client, text, line.end)?;
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

/// Ends the connection of a client that begins with a TLS handshake.
fn refuse_tls(client: &mut Connection) -> io::Result<()> {
    let is_tls = client.read_request(tls::DETECTION_BYTES, |unread| tls::is_handshake(unread).map(|is| (is, 0)))?;
    if is_tls != Some(true) {
        return Ok(());
    }
    client.write_all(&tls::ALERT)?;
    Err(protocol_error("TLS spoken to a plain port"))
}

/// What comes next. A line that is not longer than `limit` stays unread.
fn next_item(scanner: &mut Scanner, unread: &[u8], limit: usize) -> Option<(Item, usize)> {
    match scanner.scan(unread)? {
        Item::Line(line) => (line.size() <= limit).then_some((Item::Line(line), 0)),
        Item::Skip { length, reply } => Some((Item::Skip { length, reply }, length)),
    }
}

/// Sends the lines of a reply. What it has more than them is given back first: sending may take a while.
fn send(client: &mut Connection, mut text: Cow<'static, str>, end: &str) -> io::Result<()> {
    if let Cow::Owned(text) = &mut text {
        text.shrink_to_fit();
    }
    for part in text.lines().chain(text.is_empty().then_some("")) {
        client.write_all(part.as_bytes())?;
        client.write_all(end.as_bytes())?;
    }
    Ok(())
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}
