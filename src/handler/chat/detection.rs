//! Serves a client until its first complete line decides which dialect it speaks.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::delivery::Delivery;
use super::event::MAX_IRC_LINE;
use super::first_line::{FirstLine, classify, trim_invisible};
use super::line_reader::{InputLine, LineReader};
use super::other_protocol::{OtherProtocol, is_binary};
use super::plain::PlainSession;
use super::session::{Flow, Session, run_session};
use super::{Chat, ChatProtocol, irc, plain};
use crate::connection::{Connection, Next};
use crate::handler::FarewellReason;
use crate::handler::shared::tls;
use crate::protocol_error::protocol_error;

/// A client that sends nothing for this long is greeted: it becomes a guest, and joins the lobby. By then IRC clients have
/// sent their first line, and port scanners have left.
const GREETING_DELAY: Duration = Duration::from_secs(1);

/// How long to check the socket once more right before the greeting. On a busy machine this thread may wake up late, when a
/// line has already begun to arrive.
const LAST_CHECK: Duration = Duration::from_millis(1);

/// The length of CRLF, which counts towards the longest line in IRC.
const LINE_END: usize = 2;

/// Serves a client from its first byte to its last.
///
/// # Errors
///
/// The connection's errors.
pub(super) fn serve(chat: &Chat, client: &mut Connection) -> io::Result<()> {
    let protocol = chat.options.protocol;
    let max_line = if protocol == ChatProtocol::Irc { MAX_IRC_LINE } else { plain::MAX_LINE };
    let mut lines = LineReader::new(max_line, chat.options.rate);
    let mut detection = Detection::new(chat, client);
    client.set_farewell(if protocol == ChatProtocol::Irc { irc::farewell } else { Detection::farewell });
    let outcome = detection.run(client, &mut lines);
    let Detection { guest, decision, .. } = detection;
    if outcome.is_err() {
        if let Some(guest) = guest {
            guest.quit_after(&outcome);
        }
        return outcome;
    }
    match decision {
        None => Ok(()),
        Some(Decision::Text(line)) => {
            let guest = guest.map_or_else(|| PlainSession::start(chat, client), Ok)?;
            plain::serve(guest, client, line, &mut lines)
        }
        Some(Decision::Irc(line)) => {
            if let Some(guest) = guest {
                guest.quit_with_reason("goes on in IRC");
            }
            lines.set_max_length(MAX_IRC_LINE);
            irc::serve(chat, client, line, &mut lines)
        }
        Some(Decision::OtherProtocol(protocol)) => {
            if let Some(guest) = guest {
                guest.quit_with_reason("wrong protocol");
            }
            client.write_all(&protocol.reply())?;
            Err(protocol_error(format!("{} spoken to a chat", protocol.name())))
        }
    }
}

/// A session that lasts until the client's dialect is decided. Then it ends with [`Flow::Close`], and the session of that
/// dialect begins.
struct Detection<'a> {
    chat: &'a Chat,
    /// The client's session as a guest in the lobby, if it has been silent for so long that it was greeted.
    guest: Option<PlainSession<'a>>,
    /// When to greet the client. If the chat speaks only IRC: when to close it.
    deadline: Instant,
    decision: Option<Decision>,
    delivery: Delivery,
}

/// What the client speaks, with its first line.
enum Decision {
    Text(InputLine),
    Irc(InputLine),
    OtherProtocol(OtherProtocol),
}

impl<'a> Detection<'a> {
    fn new(chat: &'a Chat, client: &Connection) -> Detection<'a> {
        let delay = match chat.options.protocol {
            ChatProtocol::Auto | ChatProtocol::Text => GREETING_DELAY,
            ChatProtocol::Irc => client.limits().request_timeout,
        };
        let deadline = Instant::now() + delay;
        Detection { chat, guest: None, deadline, decision: None, delivery: Delivery::default() }
    }

    /// Runs until there is a decision, or the client leaves.
    fn run(&mut self, client: &mut Connection, lines: &mut LineReader) -> io::Result<()> {
        match self.check_first_bytes(client)? {
            Flow::Continue => run_session(self, client, lines),
            Flow::Close => Ok(()),
        }
    }

    /// Detects binary protocols. Their clients wait for a reply before they send anything that ends a line.
    fn check_first_bytes(&mut self, client: &mut Connection) -> io::Result<Flow> {
        loop {
            let first = client.read_request_until(self.deadline(), usize::MAX, |unread| {
                let protocol = if tls::is_handshake(unread)? {
                    Some(OtherProtocol::Tls)
                } else if is_binary(unread)? {
                    Some(OtherProtocol::NotText)
                } else {
                    None
                };
                Some((protocol, 0))
            })?;
            match first {
                Next::Request(None) => return Ok(Flow::Continue),
                Next::Request(Some(protocol)) => return Ok(self.decide(Decision::OtherProtocol(protocol))),
                Next::Deadline if self.on_deadline(client)? == Flow::Continue => {}
                Next::Woken => {}
                Next::Deadline | Next::End | Next::Draining => return Ok(Flow::Close),
            }
        }
    }

    /// Ends this session with a decision.
    fn decide(&mut self, decision: Decision) -> Flow {
        self.decision = Some(decision);
        Flow::Close
    }
}

impl Session for Detection<'_> {
    fn on_line(&mut self, client: &mut Connection, line: InputLine) -> io::Result<Flow> {
        let bytes = match line {
            InputLine::Complete(bytes) => bytes,
            InputLine::LongHttpRequest => return Ok(self.decide(Decision::OtherProtocol(OtherProtocol::Http))),
            // The next line decides.
            InputLine::TooLong => {
                match self.chat.options.protocol {
                    ChatProtocol::Auto | ChatProtocol::Text => plain::refuse_long_line(client)?,
                    ChatProtocol::Irc => irc::refuse_long_line(client, "*")?,
                }
                return Ok(Flow::Continue);
            }
        };
        let line = InputLine::Complete(trim_invisible(&bytes).to_vec());
        Ok(match (classify(&bytes), self.chat.options.protocol) {
            (FirstLine::Blank, _) => Flow::Continue,
            (FirstLine::OtherProtocol(protocol), _) => self.decide(Decision::OtherProtocol(protocol)),
            (FirstLine::Irc, ChatProtocol::Auto) | (_, ChatProtocol::Irc) => {
                let is_too_long = bytes.len() + LINE_END > MAX_IRC_LINE;
                self.decide(Decision::Irc(if is_too_long { InputLine::TooLong } else { line }))
            }
            (FirstLine::Irc | FirstLine::Text, ChatProtocol::Auto | ChatProtocol::Text) => {
                self.decide(Decision::Text(line))
            }
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.guest.is_none().then_some(self.deadline)
    }

    fn on_deadline(&mut self, client: &mut Connection) -> io::Result<Flow> {
        if self.chat.options.protocol == ChatProtocol::Irc {
            irc::write_error(client, irc::REGISTRATION_TIMEOUT)?;
            return Ok(Flow::Close);
        }
        let outcome = client.read_request_until(Some(Instant::now() + LAST_CHECK), usize::MAX, |_| Some(((), 0)))?;
        match outcome {
            // A line has begun to arrive, or a telnet command, which is not a line. Check again later.
            Next::Request(()) => self.deadline = Instant::now() + GREETING_DELAY,
            Next::Deadline => self.guest = Some(PlainSession::start(self.chat, client)?),
            Next::End | Next::Draining => return Ok(Flow::Close),
            Next::Woken => {}
        }
        Ok(Flow::Continue)
    }

    fn on_flood(&mut self, client: &mut Connection) -> io::Result<()> {
        match self.chat.options.protocol {
            ChatProtocol::Auto | ChatProtocol::Text => plain::refuse_flood(client),
            ChatProtocol::Irc => irc::write_error(client, irc::FLOOD),
        }
    }

    fn delivery(&mut self) -> &mut Delivery {
        match &mut self.guest {
            Some(guest) => guest.delivery(),
            None => &mut self.delivery,
        }
    }

    /// A farewell in IRC, which people can read too. Only a client with an incomplete line gets a plain one, because it may be
    /// a person.
    fn farewell(reason: FarewellReason) -> Cow<'static, [u8]> {
        match reason {
            FarewellReason::Unfinished | FarewellReason::RequestTimeout { .. } => PlainSession::farewell(reason),
            other => irc::farewell(other),
        }
    }
}
