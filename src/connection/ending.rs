//! The end of a connection: what is still to be sent is sent, the client is told why, and the log gets its facts.
//!
//! What was cut in the middle never looks complete: [`Connection::finish`] decides for every reason whether the client
//! finds the end of the stream, behind whole messages and its farewell, or a reset.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::end_reason::EndReason;
use super::{Connection, ConnectionState};
use crate::farewell::FarewellReason;
use crate::outbox::LastMessage;
use crate::panics;
use crate::protocol_error::is_protocol_error;
use crate::socket::Socket;
use crate::totals::Totals;

/// The facts about a connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClosedConnection {
    /// The number of the connection.
    pub id: u64,
    /// The client's address.
    pub peer_addr: SocketAddr,
    /// Why it ended.
    pub reason: EndReason,
    /// How long it lasted.
    pub duration: Duration,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes that the kernel accepted for the client. It may not have received all of them.
    pub bytes_out: u64,
}

impl ClosedConnection {
    /// Adds this connection to what the server has done.
    pub(crate) fn count(&self, totals: &Totals) {
        totals.bytes_in.add(self.bytes_in);
        totals.bytes_out.add(self.bytes_out);
        totals.panicked.add(u64::from(matches!(self.reason, EndReason::HandlerPanicked(_))));
    }
}

impl Connection {
    /// Ends the connection, after the handler has returned, failed or panicked; `farewell` is what the handler says for a
    /// reason. The socket comes back when its client may still be sending: closing it now would turn into a reset, and the
    /// farewell might be lost.
    pub(crate) fn finish(
        mut self,
        outcome: thread::Result<io::Result<()>>,
        farewell: impl FnOnce(&Socket, FarewellReason) -> Cow<'static, [u8]>,
    ) -> (ClosedConnection, Option<Arc<Socket>>) {
        let (reason, delivered) = self.finish_output(outcome);
        let is_torn = self.output.is_torn();
        let is_torn = self.transport.close_outbox() == LastMessage::Torn || is_torn;
        let socket = self.transport.socket();
        let ends_cleanly = match reason.farewell_reason(&self.limits) {
            _ if is_torn => false,
            // The thread that cut the client has sent the farewell, or reset the connection.
            _ if delivered == Err(EndReason::Cut) => true,
            _ if delivered.is_err() || reason.aborts() => false,
            Some(why) => socket.send_farewell(&farewell(socket, why)),
            None => true,
        };
        let lingering = if ends_cleanly {
            self.may_still_send(&reason).then(|| Arc::clone(socket))
        } else {
            socket.reset_on_close();
            None
        };
        let closed = ClosedConnection {
            id: self.id,
            peer_addr: self.peer,
            reason,
            duration: self.opened.elapsed(),
            bytes_in: socket.bytes_received(),
            bytes_out: socket.bytes_accepted(),
        };
        (closed, lingering)
    }

    /// Delivers what is complete, and decides why the connection ends. A fault of the handler stays the reason, even if its
    /// client takes nothing more.
    fn finish_output(&mut self, outcome: thread::Result<io::Result<()>>) -> (EndReason, Result<(), EndReason>) {
        let fault = self.fault_of(&outcome);
        if fault.is_none() {
            self.output.note_whole();
        }
        self.output.drop_incomplete();
        let delivered = self.deliver();
        let reason = match (fault, &delivered) {
            (Some(fault), _) => fault,
            (None, Err(reason)) => reason.clone(),
            (None, Ok(())) => self.reason_for(outcome),
        };
        (reason, delivered)
    }

    /// What the handler has done wrong, if it has failed or panicked.
    fn fault_of(&self, outcome: &thread::Result<io::Result<()>>) -> Option<EndReason> {
        match outcome {
            Err(panic) => Some(EndReason::HandlerPanicked(panics::describe(&**panic))),
            Ok(Err(_)) if matches!(self.state, ConnectionState::Ended(_)) => None,
            Ok(Err(error)) if !is_protocol_error(error) => Some(EndReason::HandlerFailed(error.to_string())),
            Ok(_) => None,
        }
    }

    /// Why the connection ends, if the handler is not at fault and all output was delivered.
    fn reason_for(&self, outcome: thread::Result<io::Result<()>>) -> EndReason {
        match (&self.state, outcome) {
            (ConnectionState::Ended(reason), _) => reason.clone(),
            (_, Ok(Err(error))) => EndReason::ProtocolError(error.to_string()),
            (ConnectionState::ClientEnded, _) => EndReason::ClientClosed,
            (ConnectionState::DrainEnded, _) => self.drain_reason(),
            (ConnectionState::Open, _) if self.is_drain_reported => self.drain_reason(),
            (ConnectionState::Open, _) if self.is_client_end_reported => EndReason::ClientClosed,
            (ConnectionState::Open, _) => EndReason::HandlerClosed,
        }
    }

    /// Sends the rest of the output and of others' messages, and waits until they have left. The client is served until then;
    /// in a drain, the drain's deadline cuts this short.
    ///
    /// # Errors
    ///
    /// Why the client does not get the rest.
    fn deliver(&mut self) -> Result<(), EndReason> {
        let gets_time = match &self.state {
            ConnectionState::Ended(reason) => reason.waits_for_client(),
            ConnectionState::Open | ConnectionState::ClientEnded | ConnectionState::DrainEnded => true,
        };
        let outcome = if gets_time && !self.output.is_torn() { self.deliver_all() } else { Ok(()) };
        if self.transport.socket().was_cut() { Err(EndReason::Cut) } else { outcome }
    }

    fn deliver_all(&mut self) -> Result<(), EndReason> {
        let limits = self.send_limits();
        self.output.flush(&mut self.transport, limits).map_err(|error| self.output_reason(error))?;
        // Others' messages come before the farewell.
        if let Err(error) = self.transport.wait_for_others() {
            return Err(self.outbox_reason().unwrap_or(EndReason::Lost(error.kind())));
        }
        let has_left = self.transport.socket().wait_until_all_left(limits.write_timeout);
        if has_left { Ok(()) } else { Err(EndReason::WriteTimeout) }
    }

    /// Whether the socket must linger because the client may still be sending. Not after the client's end. In a drain, only
    /// if input has arrived, because the drain should not wait for a silent client.
    fn may_still_send(&self, reason: &EndReason) -> bool {
        let has_ended = matches!(reason, EndReason::ClientClosed | EndReason::Unfinished);
        !has_ended && (!self.is_draining() || self.transport.socket().arrived() > 0)
    }
}
