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

use super::close::CloseReason;
use super::{Connection, State};
use crate::farewell::Farewell;
use crate::outbox::Closed;
use crate::panics;
use crate::protocol_error::is_protocol_error;
use crate::socket::Socket;
use crate::totals::Totals;

/// The facts about a connection that has ended.
pub(crate) struct ConnectionSummary {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) reason: CloseReason,
    pub(crate) lasted: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl ConnectionSummary {
    /// Adds this connection to what the server has done.
    pub(crate) fn count(&self, totals: &Totals) {
        totals.bytes_in.add(self.received);
        totals.bytes_out.add(self.sent);
        totals.panicked.add(u64::from(matches!(self.reason, CloseReason::HandlerPanicked(_))));
    }
}

impl Connection {
    /// Ends the connection, after the handler has returned, failed or panicked; `farewell` is what the handler says for a
    /// reason. The socket comes back when its client may still be sending: closing it now would turn into a reset, and the
    /// farewell might be lost.
    pub(crate) fn finish(
        mut self,
        outcome: thread::Result<io::Result<()>>,
        farewell: impl FnOnce(Farewell) -> Cow<'static, [u8]>,
    ) -> (ConnectionSummary, Option<Arc<Socket>>) {
        let reason = self.settle(outcome);
        let is_torn = self.output.is_torn();
        let is_torn = self.transport.close_outbox() == Closed::Torn || is_torn;
        let socket = self.transport.socket();
        let is_told = match reason.farewell(&self.context.limits) {
            _ if reason.aborts() || is_torn => false,
            Some(why) => socket.send_farewell(&farewell(why)),
            None => true,
        };
        let lingering = if is_told {
            self.may_still_send(&reason).then(|| Arc::clone(socket))
        } else {
            socket.reset_on_close();
            None
        };
        let summary = ConnectionSummary {
            id: self.id,
            peer: self.peer,
            reason,
            lasted: self.opened.elapsed(),
            received: socket.received(),
            sent: socket.sent(),
        };
        (summary, lingering)
    }

    /// Sends what is complete, and says why the connection ends.
    fn settle(&mut self, outcome: thread::Result<io::Result<()>>) -> CloseReason {
        let reason = match outcome {
            Ok(result) => self.flush_last(result),
            Err(panic) => {
                self.output.discard();
                CloseReason::HandlerPanicked(panics::describe(&*panic))
            }
        };
        // The client is served until its replies have left. In a drain, the drain's deadline cuts this short.
        let socket = self.transport.socket();
        let is_late = reason.waits_for_client()
            && !self.output.is_torn()
            && !socket.wait_until_sent(self.context.limits.write_timeout);
        match reason {
            _ if socket.was_cut() => CloseReason::Cut,
            _ if is_late => CloseReason::WriteTimeout,
            reason => reason,
        }
    }

    /// Sends the rest of what the handler has written and of what others have sent, and says why the connection ends.
    fn flush_last(&mut self, result: io::Result<()>) -> CloseReason {
        match &result {
            Err(error) if !is_protocol_error(error) => {}
            _ => self.output.note_whole(),
        }
        self.output.drop_incomplete();
        let pace = self.pace();
        let mut flushed = Ok(());
        if !self.output.is_torn() {
            // Also after the end of the input, whatever ended it: these are replies to what came before.
            flushed = self.output.flush(&mut self.transport, pace);
        }
        if let Err(error) = flushed {
            return self.output_reason(error);
        }
        // And what others have sent to it comes before the farewell.
        let emptied = match &self.state {
            State::Ended(reason) if reason.aborts() => Ok(()),
            _ => self.transport.wait_for_others(),
        };
        match (&self.state, emptied, result) {
            (State::Ended(reason), ..) => reason.clone(),
            (_, Err(error), _) => self.outbox_reason().unwrap_or(CloseReason::Lost(error.kind())),
            (.., Err(error)) if is_protocol_error(&error) => CloseReason::ProtocolError(error.to_string()),
            (.., Err(error)) => CloseReason::HandlerFailed(error.to_string()),
            (State::ClientEnded, _, Ok(())) => CloseReason::ClientClosed,
            (State::DrainEnded, _, Ok(())) => CloseReason::Drained,
            (State::Open, _, Ok(())) => CloseReason::HandlerClosed,
        }
    }

    /// Whether the client may still be sending. Not when it has sent its end, and not when nothing comes from it during a
    /// drain, which should not wait for anybody.
    fn may_still_send(&self, reason: &CloseReason) -> bool {
        let has_ended = matches!(reason, CloseReason::ClientClosed | CloseReason::Unfinished);
        !has_ended && (!self.is_draining() || self.transport.socket().arrived() > 0)
    }
}
