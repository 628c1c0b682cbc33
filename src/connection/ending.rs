//! The end of a conversation: what is still to be sent is sent, the client is told why, and the log gets its facts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::close::CloseReason;
use super::{Connection, Socket, State};
use crate::handler::{Farewell, Handler, last_words};
use crate::panics;
use crate::protocol_error::is_protocol_error;
use crate::totals::Totals;

/// What there is to say about a connection that is over.
pub(crate) struct Ended {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) reason: CloseReason,
    pub(crate) lasted: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Ended {
    /// Adds this connection to what the server has done.
    pub(crate) fn count(&self, totals: &Totals) {
        totals.bytes_in.add(self.received);
        totals.bytes_out.add(self.sent);
        totals.panicked.add(u64::from(matches!(self.reason, CloseReason::HandlerPanicked(_))));
    }
}

impl Connection {
    /// Ends the conversation, after the handler has returned, failed or panicked. The socket comes back when its client
    /// may still be sending: closing it now would turn into a reset, and the last words might be lost.
    pub(crate) fn finish(
        mut self,
        outcome: thread::Result<io::Result<()>>,
        handler: &dyn Handler,
    ) -> (Ended, Option<Arc<Socket>>) {
        let reason = self.reason(outcome);
        let told = reason.farewell(&self.context.limits);
        if self.is_draining() && !reason.aborts() {
            // The client is busy until it has taken its replies; how long that may take, the drain's deadline says.
            self.transport.socket().wait_until_sent(Instant::now() + self.context.limits.write_timeout);
        }
        let others = self.transport.close_outbox();
        self.output.note_sent(others.sent);
        let mut has_heard = false;
        if let Some(farewell) = told {
            let words = self.farewell.map_or_else(|| last_words(handler, farewell), |words| words(farewell));
            has_heard = self.transport.socket().say_last(&words);
            if has_heard {
                self.output.note_sent(words.len() as u64);
            }
        }
        let is_mute = told == Some(Farewell::TooSlow) && !has_heard;
        // What was cut in the middle should not look complete.
        let is_torn = reason == CloseReason::Cut && (self.output.is_mid_reply() || others.is_torn);
        let socket = if reason.aborts() || is_mute || is_torn {
            self.transport.socket().abort_on_close();
            None
        } else {
            self.leave(&reason)
        };
        let ended = Ended {
            id: self.id,
            peer: self.peer,
            reason,
            lasted: self.opened.elapsed(),
            received: self.input.received(),
            sent: self.output.sent(),
        };
        (ended, socket)
    }

    fn reason(&mut self, outcome: thread::Result<io::Result<()>>) -> CloseReason {
        let result = match outcome {
            Ok(result) => result,
            Err(panic) => {
                self.output.discard();
                return CloseReason::HandlerPanicked(panics::describe(&*panic));
            }
        };
        // Also after the end of the input, whatever ended it: these are replies to what came before.
        let pace = self.pace();
        let flushed = self.output.flush(&mut self.transport, pace);
        if let Err(error) = flushed {
            return if self.transport.socket().was_cut() { CloseReason::Cut } else { self.output_reason(&error) };
        }
        // And what others have sent to it comes before last words.
        let emptied = match &self.state {
            State::Ended(reason) if reason.aborts() => Ok(()),
            _ => self.transport.wait_for_others(pace.timeout),
        };
        match (&self.state, emptied, result) {
            _ if self.transport.socket().was_cut() => CloseReason::Cut,
            (State::Ended(reason), ..) => reason.clone(),
            (_, Err(error), _) => self.output_reason(&error),
            (.., Err(error)) if is_protocol_error(&error) => CloseReason::Misspoke(error.to_string()),
            (.., Err(error)) => CloseReason::HandlerFailed(error.to_string()),
            (State::ClientEnded, _, Ok(())) => CloseReason::ClientClosed,
            (State::DrainEnded, _, Ok(())) => CloseReason::Drained,
            (State::Open, _, Ok(())) => CloseReason::HandlerClosed,
        }
    }

    /// The socket, unless it can be closed right away: the client has sent its end, or is not sending during a drain,
    /// which should not wait for anybody.
    fn leave(&self, reason: &CloseReason) -> Option<Arc<Socket>> {
        let has_ended = matches!(reason, CloseReason::ClientClosed | CloseReason::Unfinished);
        if has_ended || (self.is_draining() && self.transport.arrived() == 0) {
            return None;
        }
        Some(Arc::clone(self.transport.socket()))
    }
}
