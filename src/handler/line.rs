//! Line: a request is a line of text, and so is its reply, as with classic telnet services.
//!
//! A pure function computes the reply ([`commands`] has the built-in one). This file does the rest: line ends, telnet's
//! commands, invalid text, and clients that speak HTTP or TLS.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::shared::telnet::{Item, LineSpan, Scanner};
use super::shared::{http, tls};
use super::{FarewellReason, Handler};
use crate::connection::Connection;
use crate::protocol_error::protocol_error;
use crate::totals::Stats;

pub mod commands;
mod text;

use text::decode;

/// A handler for a protocol of text lines without states: each line has its reply. For anything else, such as a login,
/// implement [`Handler`] (the [guide](crate::guide) shows how).
///
/// [`Line::default`] serves the built-in [`commands`]. [`Line::new`] serves a function of your own:
///
/// ```
/// use acceptd::Line;
///
/// let handler = Line::new(|line| format!("you said {line}"));
/// # let _: &dyn acceptd::Handler = &handler;
/// ```
///
/// In detail:
///
/// - A line ends with LF, CRLF, CR NUL (RFC 854) or CR alone, which is what a terminal program sends for Return. After LF,
///   the reply ends with LF too; otherwise it ends with CRLF. [`Limits::max_line`](crate::Limits::max_line) limits the
///   length of a line with its end. An empty line gets no reply.
/// - Backspace, DEL and telnet's EC erase the last character (grapheme), EL the whole line. A byte order mark at the very
///   start is skipped.
/// - Telnet's commands (`IAC` and the bytes after it) may appear anywhere. AYT is answered with `[yes]` and
///   `DO TIMING-MARK` (RFC 860) with `WONT`, both at once. No other option gets an answer. Between lines, a command does not
///   begin a request.
/// - A line that is not text (invalid UTF-8, control characters other than a tab) is answered with `ERROR` and the reason.
///   The connection stays open.
/// - A client that speaks HTTP or TLS gets an error in that protocol, and is closed. [`Line::without_protocol_detection`]
///   turns this off.
pub struct Line {
    reply: Box<ReplyFn>,
    detects_protocols: bool,
}

type ReplyFn = dyn Fn(&str, &LineContext) -> Reply + Send + Sync;

/// The reply to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The lines to send; their ends are added.
    pub text: Cow<'static, str>,
    /// Whether the connection stays open.
    pub after: AfterReply,
}

/// What the handler does after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReply {
    /// Reads the next line.
    Continue,
    /// Closes the connection.
    Close,
}

impl<T: Into<Cow<'static, str>>> From<T> for Reply {
    fn from(text: T) -> Reply {
        Reply { text: text.into(), after: AfterReply::Continue }
    }
}

/// What a reply may depend on in addition to the line. It is an argument, so that a reply function can be pure.
#[derive(Clone, Debug)]
pub struct LineContext {
    /// The connection's number.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// How many lines this client has sent, including this one.
    pub lines: u64,
    /// How many bytes these lines have, including their ends and telnet commands. A line end with CR counts as CRLF.
    pub bytes: u64,
    /// The current time.
    pub now: Timestamp,
    /// How long the server has been up.
    pub uptime: Duration,
    /// Counts of the server's connections.
    pub stats: Stats,
}

impl Line {
    /// A handler that answers each line with `reply`. It gets the line without its end: text that is not empty and
    /// has no control characters other than tabs.
    pub fn new<R: Into<Reply>>(reply: impl Fn(&str) -> R + Send + Sync + 'static) -> Line {
        Line::with_context(move |line, _| reply(line).into())
    }

    /// Like [`Line::new`], for replies that depend on more than the line.
    pub fn with_context(reply: impl Fn(&str, &LineContext) -> Reply + Send + Sync + 'static) -> Line {
        Line { reply: Box::new(reply), detects_protocols: true }
    }

    /// Does not look for HTTP and TLS. `GET / HTTP/1.1` and `Host: example.org` are then ordinary lines, and so is what a TLS
    /// client sends. Use it for a protocol that has such lines itself, such as one with request lines or mail headers.
    ///
    /// Detection protects the server from web pages: a page can make a browser send commands of this protocol, in the body of
    /// a request, to any port that the browser can reach. Without detection, a command that changes anything should need
    /// something that no page knows, such as a password.
    ///
    /// ```
    /// use acceptd::Line;
    ///
    /// let handler = Line::new(|line| format!("header: {line}")).without_protocol_detection();
    /// # let _: &dyn acceptd::Handler = &handler;
    /// ```
    #[must_use]
    pub fn without_protocol_detection(self) -> Line {
        Line { detects_protocols: false, ..self }
    }

    /// Returns what the unread bytes begin with, and how many of them to consume. A line of at most `limit` bytes stays
    /// unread, so that it can be borrowed. A longer line is not found, so the connection reports it as too long.
    fn receive(&self, scanner: &mut Scanner, unread: &[u8], limit: usize) -> Option<(LineInput, usize)> {
        // What lies beyond the limit is never looked at, however much has arrived at once.
        match scanner.scan(unread.get(..limit).unwrap_or(unread)) {
            Some(Item::Line(line)) if line.size() <= limit => return Some((LineInput::Line(line), 0)),
            Some(Item::Skip { length, reply }) => return Some((LineInput::Telnet { reply }, length)),
            Some(Item::Line(_)) | None => {}
        }
        let is_long_http = self.detects_protocols && unread.len() >= limit && http::begins_request(unread);
        is_long_http.then_some((LineInput::LongHttpRequest, 0))
    }

    fn reply_to(&self, line: &[u8], context: &LineContext) -> Reply {
        match decode(line) {
            Ok(text) => (self.reply)(text, context),
            Err(why) => format!("ERROR {why}").into(),
        }
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::with_context(commands::reply)
    }
}

impl Handler for Line {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        if self.detects_protocols {
            refuse_tls(client)?;
        }
        let (mut lines, mut bytes) = (0, 0);
        let mut scanner = Scanner::default();
        let limit = client.limits().max_line;
        while let Some(received) = client.read_request(limit, |unread| self.receive(&mut scanner, unread, limit))? {
            let line = match received {
                LineInput::Line(line) => line,
                LineInput::Telnet { reply } => {
                    client.write_all(reply)?;
                    continue;
                }
                LineInput::LongHttpRequest => return refuse_http(client),
            };
            lines += 1;
            bytes += line.size() as u64;
            let context = LineContext {
                id: client.id(),
                peer: client.peer_addr(),
                lines,
                bytes,
                now: Timestamp::now(),
                uptime: client.uptime(),
                stats: client.stats(),
            };
            // Borrows the line from the input buffer, so that no copy of it is kept while its reply is sent.
            let text = line.text(client.fill_buf()?);
            if self.detects_protocols && http::is_http(&text) {
                return refuse_http(client);
            }
            let reply = (!text.is_empty()).then(|| self.reply_to(&text, &context));
            client.consume(line.length);
            let Some(Reply { text, after }) = reply else { continue };
            send(client, text, line.end)?;
            if after == AfterReply::Close {
                return Ok(());
            }
        }
        Ok(())
    }

    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        format!("ERROR {reason}\r\n").into_bytes().into()
    }
}

/// The text of the response to a client that speaks HTTP.
const USAGE: &str = "It takes lines of text and answers each: connect with nc or telnet, and type one.";

/// Ends the connection of a client that begins with a TLS handshake.
fn refuse_tls(client: &mut Connection) -> io::Result<()> {
    let is_tls = client.read_request(tls::DETECTION_BYTES, |unread| Some((tls::is_handshake(unread)?, 0)))?;
    if is_tls != Some(true) {
        return Ok(());
    }
    client.write_all(&tls::ALERT)?;
    Err(protocol_error("TLS spoken to a plain port"))
}

/// Ends the connection of a client that speaks HTTP.
fn refuse_http(client: &mut Connection) -> io::Result<()> {
    client.write_all(http::response(USAGE).as_bytes())?;
    Err(protocol_error("HTTP spoken to a line protocol"))
}

/// What has arrived from a client.
enum LineInput {
    /// A line, which is still unread.
    Line(LineSpan),
    /// Bytes outside a line, such as a telnet command, and the reply to them.
    Telnet { reply: &'static [u8] },
    /// The beginning of an HTTP request that is longer than a line may be.
    LongHttpRequest,
}

/// Sends the lines of a reply. Frees the spare capacity of its buffer first, because sending may take a while.
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
        f.debug_struct("Line").field("detects_protocols", &self.detects_protocols).finish_non_exhaustive()
    }
}
