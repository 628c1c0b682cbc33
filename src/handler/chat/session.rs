//! A client's session, in either dialect: its lines one after the other, and its place among the members.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::time::Instant;

use super::Chat;
use super::lines::{Arrival, Line, Lines};
use super::mail::Mail;
use crate::connection::Connection;
use crate::handler::Farewell;
use crate::protocol_error::protocol_error;

/// What each dialect makes of a client's lines.
pub(super) trait Session {
    /// # Errors
    ///
    /// The connection's.
    fn hear(&mut self, client: &mut Connection, line: Line) -> io::Result<Then>;

    /// When to act although nothing is heard.
    fn deadline(&self) -> Option<Instant>;

    /// Nothing was heard until then.
    ///
    /// # Errors
    ///
    /// The connection's.
    fn wonder(&mut self, client: &mut Connection) -> io::Result<Then>;

    /// Says that the client sends too much.
    ///
    /// # Errors
    ///
    /// The connection's.
    fn object(&mut self, client: &mut Connection) -> io::Result<()>;

    fn mail(&mut self) -> &mut Mail;

    /// Sends what was answered so far, so that it is read before what comes by way of the outbox. Who reads slowly is waited
    /// for, and what was said to others goes first.
    ///
    /// # Errors
    ///
    /// The connection's.
    fn settle(&mut self, client: &mut Connection) -> io::Result<()> {
        if client.has_output() {
            self.mail().send();
            client.flush()?;
        }
        Ok(())
    }

    /// Last words.
    fn farewell(reason: Farewell) -> Cow<'static, [u8]>;
}

/// What comes after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Continue,
    Close,
}

/// As [`attend`], beginning with a line that was read before.
pub(super) fn attend_from<S: Session>(
    session: &mut S,
    client: &mut Connection,
    first: Option<Line>,
    lines: &mut Lines,
) -> io::Result<()> {
    match first.map(|line| session.hear(client, line)).transpose()? {
        Some(Then::Close) => Ok(()),
        Some(Then::Continue) | None => attend(session, client, lines),
    }
}

/// A session from its next line to its last.
pub(super) fn attend<S: Session>(session: &mut S, client: &mut Connection, lines: &mut Lines) -> io::Result<()> {
    loop {
        // What was said goes out when there is nothing more to be heard at the moment, so that many lines that come at
        // once are sent at once.
        let arrival = match lines.next(client, Some(Instant::now()))? {
            Arrival::Deadline => {
                session.mail().send();
                lines.next(client, session.deadline())?
            }
            arrival => arrival,
        };
        let then = match arrival {
            Arrival::Line(line) => session.hear(client, line)?,
            Arrival::Deadline => session.wonder(client)?,
            Arrival::End => Then::Close,
            Arrival::Unfinished => {
                // A drain has its own last words.
                if !client.is_draining() {
                    client.write_all(&S::farewell(Farewell::Unfinished))?;
                }
                Then::Close
            }
            Arrival::Flood => {
                session.object(client)?;
                return Err(protocol_error("flood: sends faster than allowed"));
            }
        };
        if then == Then::Close {
            return Ok(());
        }
        // An answer may have to wait for who asked, and what was said to others should not.
        if client.has_output() {
            session.mail().send();
        }
    }
}

/// A member's place in the hall, given back when it is dropped, whatever happened.
pub(super) struct Place<'a> {
    pub(super) chat: &'a Chat,
    pub(super) id: u64,
    /// What the others are told when the member leaves.
    pub(super) reason: String,
    pub(super) mail: Mail,
}

impl<'a> Place<'a> {
    pub(super) fn new(chat: &'a Chat, client: &Connection) -> Place<'a> {
        let mail = Mail::new(chat.courier.clone(), client.limits().max_outbox);
        Place { chat, id: client.id(), reason: String::new(), mail }
    }

    /// Notes how the conversation ended, unless the member has said why.
    pub(super) fn note(&mut self, client: &mut Connection, outcome: &io::Result<()>) {
        let Err(error) = outcome else { return };
        if !self.reason.is_empty() {
            return;
        }
        self.reason = match error.kind() {
            ErrorKind::TimedOut if client.outbox().is_ok_and(|outbox| !outbox.is_open()) => "read too slowly",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::UnexpectedEof => "",
            _ => "connection lost",
        }
        .to_owned();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.chat.hall().quit(self.id, &self.reason, &mut self.mail);
    }
}
