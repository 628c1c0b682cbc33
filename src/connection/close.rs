//! [`CloseReason`]: why a connection ended, for the log and for the farewell.

use std::fmt;
use std::io;

use log::Level;

use super::transport::SendError;
use crate::farewell::Farewell;
use crate::limits::Limits;
use crate::outbox::End;

/// Every way a connection can end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client closed its side, between requests.
    ClientClosed,
    /// The client closed its side in the middle of a request.
    Unfinished,
    /// Reset, timed out by keepalive, unreachable: the client is gone.
    Lost(io::ErrorKind),
    /// The handler returned while the client was still there: a `QUIT`.
    HandlerClosed,
    /// Silent between requests, longer than allowed.
    Idle,
    /// Began a request and did not complete it in time.
    RequestTimeout,
    /// Did not take a reply in time.
    WriteTimeout,
    /// Left more than this many bytes of others' messages waiting.
    OutboxFull(usize),
    /// Did not take others' messages in time.
    OutboxTimeout,
    /// Sent a request longer than this many bytes.
    TooLong(usize),
    /// Left in a drain.
    Drained,
    /// Cut, by the drain deadline or by a second signal.
    Cut,
    /// Violated the protocol. The handler has told the client so.
    ProtocolError(String),
    /// The handler returned an error of its own.
    HandlerFailed(String),
    /// The handler panicked.
    HandlerPanicked(String),
}

impl CloseReason {
    /// The meaning of an error of reading that is not a timeout.
    pub(super) fn of_input(error: &io::Error) -> CloseReason {
        CloseReason::Lost(error.kind())
    }

    /// The meaning of the end of an outbox.
    pub(super) fn of_outbox(end: End, limits: &Limits) -> CloseReason {
        match end {
            End::Full => CloseReason::OutboxFull(limits.max_outbox),
            End::Slow => CloseReason::OutboxTimeout,
            End::Lost(io::ErrorKind::ConnectionAborted) => CloseReason::Cut,
            End::Lost(kind) => CloseReason::Lost(kind),
            End::Closed => CloseReason::HandlerClosed,
        }
    }

    pub(super) fn of_output(error: SendError) -> CloseReason {
        match error {
            SendError::Late => CloseReason::WriteTimeout,
            SendError::Cut => CloseReason::Cut,
            SendError::Lost(kind) => CloseReason::Lost(kind),
        }
    }

    /// The level of its line in the log. A disconnect is ordinary, a client that the server cut off is worth a line, and a handler
    /// that fails is a fault.
    pub(crate) fn level(&self) -> Level {
        match self {
            CloseReason::ClientClosed
            | CloseReason::Unfinished
            | CloseReason::Lost(_)
            | CloseReason::HandlerClosed
            | CloseReason::Drained => Level::Debug,
            CloseReason::Idle
            | CloseReason::RequestTimeout
            | CloseReason::WriteTimeout
            | CloseReason::OutboxFull(_)
            | CloseReason::OutboxTimeout
            | CloseReason::TooLong(_)
            | CloseReason::ProtocolError(_)
            | CloseReason::Cut => Level::Info,
            CloseReason::HandlerFailed(_) => Level::Warn,
            CloseReason::HandlerPanicked(_) => Level::Error,
        }
    }

    /// The farewell. `None` if the client left by itself or can't be told.
    pub(super) fn farewell(&self, limits: &Limits) -> Option<Farewell> {
        match self {
            CloseReason::Idle => Some(Farewell::Idle { timeout: limits.idle_timeout.unwrap_or_default() }),
            CloseReason::RequestTimeout => Some(Farewell::RequestTimeout { timeout: limits.request_timeout }),
            CloseReason::TooLong(limit) => Some(Farewell::TooLong { limit: *limit }),
            CloseReason::OutboxFull(_) | CloseReason::OutboxTimeout => Some(Farewell::TooSlow),
            CloseReason::Unfinished => Some(Farewell::Unfinished),
            CloseReason::Drained => Some(Farewell::Draining),
            CloseReason::HandlerFailed(_) | CloseReason::HandlerPanicked(_) => Some(Farewell::Failed),
            CloseReason::ClientClosed
            | CloseReason::Lost(_)
            | CloseReason::HandlerClosed
            | CloseReason::WriteTimeout
            | CloseReason::ProtocolError(_)
            | CloseReason::Cut => None,
        }
    }

    /// Whether the connection is reset and unsent output discarded. The kernel would keep it for minutes for a peer that does
    /// not read.
    pub(super) fn aborts(&self) -> bool {
        matches!(self, CloseReason::WriteTimeout | CloseReason::Lost(_))
    }

    /// Whether the client still gets time to take what was sent. Not if its time is over.
    pub(super) fn waits_for_client(&self) -> bool {
        !matches!(self, CloseReason::OutboxFull(_) | CloseReason::OutboxTimeout | CloseReason::Cut) && !self.aborts()
    }

    /// The error that a method returns to the handler.
    pub(super) fn to_error(&self) -> io::Error {
        let kind = match self {
            CloseReason::Idle
            | CloseReason::RequestTimeout
            | CloseReason::WriteTimeout
            | CloseReason::OutboxFull(_)
            | CloseReason::OutboxTimeout => io::ErrorKind::TimedOut,
            CloseReason::TooLong(_) => io::ErrorKind::InvalidData,
            CloseReason::Unfinished | CloseReason::Drained => io::ErrorKind::UnexpectedEof,
            CloseReason::Lost(kind) => *kind,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self.to_string())
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::ClientClosed => f.write_str("closed by the client"),
            CloseReason::Unfinished => f.write_str("closed by the client in the middle of a request"),
            CloseReason::Lost(kind) => write!(f, "lost: {kind}"),
            CloseReason::HandlerClosed => f.write_str("closed by the handler"),
            CloseReason::Idle => f.write_str("idle too long"),
            CloseReason::RequestTimeout => f.write_str("request not complete in time"),
            CloseReason::WriteTimeout => f.write_str("reply not taken in time"),
            CloseReason::OutboxFull(limit) => write!(f, "too slow: more than {limit} bytes waited for it"),
            CloseReason::OutboxTimeout => f.write_str("too slow: a message was not taken in time"),
            CloseReason::TooLong(limit) => write!(f, "request longer than {limit} bytes"),
            CloseReason::Drained => f.write_str("drained"),
            CloseReason::Cut => f.write_str("cut"),
            CloseReason::ProtocolError(what) => f.write_str(what),
            CloseReason::HandlerFailed(error) => write!(f, "handler failed: {error}"),
            CloseReason::HandlerPanicked(message) => write!(f, "handler panicked: {message}"),
        }
    }
}
