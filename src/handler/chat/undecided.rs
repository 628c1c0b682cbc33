//! A client whose dialect is not known yet: it is served here until its first whole line decides.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::event::LONGEST_OF_IRC;
use super::first_line::{FirstLine, classify, stripped};
use super::foreign::{Foreign, is_binary};
use super::lines::{Line, Lines};
use super::mail::Mail;
use super::plain::Plain;
use super::session::{Session, Then, attend};
use super::{Chat, Protocol, irc, plain};
use crate::connection::{Connection, Next};
use crate::handler::Farewell;
use crate::handler::shared::tls;
use crate::protocol_error::protocol_error;

/// How long a client may be silent before it is greeted as a person, and the others are told that it is here. IRC clients
/// and port scanners have had their say by then.
const GREETING_DELAY: Duration = Duration::from_secs(1);

/// How long to look in the socket for a line that has begun, on a machine that is late itself.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// Serves a client from its first byte to its last.
///
/// # Errors
///
/// The connection's.
pub(super) fn serve(chat: &Chat, client: &mut Connection) -> io::Result<()> {
    let protocol = chat.options.protocol;
    let longest = if protocol == Protocol::Irc { LONGEST_OF_IRC } else { plain::LONGEST };
    let mut lines = Lines::new(longest, chat.options.rate);
    let mut undecided = Undecided::new(chat, client);
    client.set_farewell(if protocol == Protocol::Irc { irc::farewell } else { Undecided::farewell });
    let outcome = undecided.decide(client, &mut lines);
    let Undecided { person, decision, .. } = undecided;
    if outcome.is_err() {
        person.into_iter().for_each(|person| person.leave_after(client, &outcome));
        return outcome;
    }
    match decision {
        None => Ok(()),
        Some(Decision::Text(line)) => {
            let person = person.map_or_else(|| Plain::enter(chat, client), Ok)?;
            plain::serve(person, client, line, &mut lines)
        }
        Some(Decision::Irc(line)) => {
            person.into_iter().for_each(|person| person.leave_because("goes on in IRC"));
            lines.set_longest(LONGEST_OF_IRC);
            irc::serve(chat, client, line, &mut lines)
        }
        Some(Decision::Foreign(foreign)) => {
            person.into_iter().for_each(|person| person.leave_because("wrong protocol"));
            client.write_all(&foreign.answer())?;
            Err(protocol_error(format!("{} spoken to a chat", foreign.name())))
        }
    }
}

/// The bytes of CRLF, which count in the longest line of IRC.
const LINE_END: usize = 2;

struct Undecided<'a> {
    chat: &'a Chat,
    /// The client has been greeted: a guest in the lobby.
    person: Option<Plain<'a>>,
    /// When to greet it; where only IRC is spoken, when to give it up.
    deadline: Instant,
    /// Its first line has begun, and is waited for before it is greeted.
    is_in_line: bool,
    decision: Option<Decision>,
    mail: Mail,
}

/// What a client is, and the line that says so.
enum Decision {
    Text(Line),
    Irc(Line),
    Foreign(Foreign),
}

impl<'a> Undecided<'a> {
    fn new(chat: &'a Chat, client: &Connection) -> Undecided<'a> {
        let delay = match chat.options.protocol {
            Protocol::Auto | Protocol::Text => GREETING_DELAY,
            Protocol::Irc => client.limits().request_timeout,
        };
        let deadline = Instant::now() + delay;
        Undecided { chat, person: None, deadline, is_in_line: false, decision: None, mail: Mail::default() }
    }

    /// Reads until there is a decision, or the client has left.
    fn decide(&mut self, client: &mut Connection, lines: &mut Lines) -> io::Result<()> {
        match self.look_at_first_bytes(client)? {
            Then::Continue => attend(self, client, lines),
            Then::Close => Ok(()),
        }
    }

    /// Binary protocols wait for an answer before anything that looks like the end of a line.
    fn look_at_first_bytes(&mut self, client: &mut Connection) -> io::Result<Then> {
        loop {
            let first = client.read_request_until(self.deadline(), usize::MAX, |unread| {
                let is_tls = tls::is_handshake(unread)?;
                let foreign = if is_tls { Some(Foreign::Tls) } else { is_binary(unread).then_some(Foreign::NotText) };
                Some((foreign, 0))
            })?;
            match first {
                Next::Request(None) => return Ok(Then::Continue),
                Next::Request(Some(foreign)) => return Ok(self.decided(Decision::Foreign(foreign))),
                Next::Deadline if self.wonder(client)? == Then::Continue => {}
                Next::Deadline | Next::End => return Ok(Then::Close),
            }
        }
    }

    fn decided(&mut self, decision: Decision) -> Then {
        self.decision = Some(decision);
        Then::Close
    }
}

impl Session for Undecided<'_> {
    fn hear(&mut self, client: &mut Connection, line: Line) -> io::Result<Then> {
        self.is_in_line = false;
        let Line::Whole(bytes) = line else {
            // It may be a URL of HTTP, so the next line decides.
            match self.chat.options.protocol {
                Protocol::Auto | Protocol::Text => plain::refuse_long_line(client)?,
                Protocol::Irc => irc::refuse_long_line(client, "*")?,
            }
            return Ok(Then::Continue);
        };
        let line = Line::Whole(stripped(&bytes).to_vec());
        Ok(match (classify(&bytes), self.chat.options.protocol) {
            (FirstLine::Blank, _) => Then::Continue,
            (FirstLine::Foreign(foreign), _) => self.decided(Decision::Foreign(foreign)),
            (FirstLine::Irc, Protocol::Auto) | (_, Protocol::Irc) => {
                let is_too_long = bytes.len() + LINE_END > LONGEST_OF_IRC;
                self.decided(Decision::Irc(if is_too_long { Line::TooLong } else { line }))
            }
            (FirstLine::Irc | FirstLine::Text, Protocol::Auto | Protocol::Text) => self.decided(Decision::Text(line)),
        })
    }

    fn deadline(&self) -> Option<Instant> {
        (self.person.is_none() && !self.is_in_line).then_some(self.deadline)
    }

    fn wonder(&mut self, client: &mut Connection) -> io::Result<Then> {
        if self.chat.options.protocol == Protocol::Irc {
            irc::write_error(client, irc::REGISTRATION_TIMEOUT)?;
            return Ok(Then::Close);
        }
        let look = client.read_request_until(Some(Instant::now() + LAST_LOOK), usize::MAX, |_| Some(((), 0)))?;
        match look {
            Next::Request(()) => self.is_in_line = true,
            Next::Deadline => self.person = Some(Plain::enter(self.chat, client)?),
            Next::End => return Ok(Then::Close),
        }
        Ok(Then::Continue)
    }

    fn object(&mut self, client: &mut Connection) -> io::Result<()> {
        match self.chat.options.protocol {
            Protocol::Auto | Protocol::Text => plain::refuse_flood(client),
            Protocol::Irc => irc::write_error(client, irc::FLOOD),
        }
    }

    fn mail(&mut self) -> &mut Mail {
        match &mut self.person {
            Some(person) => person.mail(),
            None => &mut self.mail,
        }
    }

    /// In IRC's words, which people can read as well; about half a line in a person's.
    fn farewell(reason: Farewell) -> Cow<'static, [u8]> {
        match reason {
            Farewell::Unfinished | Farewell::RequestTimeout { .. } => Plain::farewell(reason),
            other => irc::farewell(other),
        }
    }
}
