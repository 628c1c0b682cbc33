//! A client's session in either dialect: it handles the client's lines one after the other.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Instant;

use super::delivery::Delivery;
use super::line_reader::{InputLine, LineReader, ReadOutcome};
use crate::connection::Connection;
use crate::handler::FarewellReason;
use crate::protocol_error::protocol_error;

/// What a dialect does with a client's lines. Errors are those of the connection, and end the session.
pub(super) trait Session {
    /// Handles a line.
    fn on_line(&mut self, client: &mut Connection, line: InputLine) -> io::Result<Flow>;

    /// When to call [`on_deadline`](Session::on_deadline) if no line arrives before.
    fn deadline(&self) -> Option<Instant>;

    /// No line arrived before the deadline.
    fn on_deadline(&mut self, client: &mut Connection) -> io::Result<Flow>;

    /// Tells the client that it sends too fast. Afterwards it is closed.
    fn on_flood(&mut self, client: &mut Connection) -> io::Result<()>;

    fn delivery(&mut self) -> &mut Delivery;

    /// Sends the replies so far, so that the client gets them before the events that are queued in its outbox next. This may
    /// wait for the client, so messages for other members go first.
    fn flush_reply(&mut self, client: &mut Connection) -> io::Result<()> {
        if client.has_output() {
            self.delivery().flush();
            client.flush()?;
        }
        Ok(())
    }

    fn farewell(reason: FarewellReason) -> Cow<'static, [u8]>;
}

/// Whether a session continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Close,
}

/// Like [`run_session`], but begins with a line that has been read already.
pub(super) fn run_session_from<S: Session>(
    first: InputLine,
    session: &mut S,
    client: &mut Connection,
    lines: &mut LineReader,
) -> io::Result<()> {
    match session.on_line(client, first)? {
        Flow::Continue => run_session(session, client, lines),
        Flow::Close => Ok(()),
    }
}

/// Runs a session until its client leaves, or is closed.
pub(super) fn run_session<S: Session>(
    session: &mut S,
    client: &mut Connection,
    lines: &mut LineReader,
) -> io::Result<()> {
    loop {
        // Flushes only before a wait, so that the messages of many lines that arrive together are sent together.
        let outcome = match lines.read_line(client, Some(Instant::now()))? {
            ReadOutcome::Deadline => {
                session.delivery().flush();
                lines.read_line(client, session.deadline())?
            }
            outcome => outcome,
        };
        let flow = match outcome {
            ReadOutcome::Line(line) => session.on_line(client, line)?,
            ReadOutcome::Deadline => session.on_deadline(client)?,
            ReadOutcome::End => Flow::Close,
            ReadOutcome::Unfinished => {
                // In a drain, the server sends the farewell.
                if !client.is_draining() {
                    client.write_all(&S::farewell(FarewellReason::Unfinished))?;
                }
                Flow::Close
            }
            ReadOutcome::Flood => {
                session.on_flood(client)?;
                return Err(protocol_error("flood: sends faster than allowed"));
            }
        };
        if flow == Flow::Close {
            return Ok(());
        }
        // Sending a reply may wait for this client. Messages for other members should not.
        if client.has_output() {
            session.delivery().flush();
        }
    }
}
