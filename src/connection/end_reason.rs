//! [`EndReason`]: why a connection ended, for its handler, for the log and for the farewell.

use std::error::Error;
use std::fmt;
use std::io;

use log::Level;

use super::transport::SendError;
use crate::farewell::FarewellReason;
use crate::limits::Limits;
use crate::outbox::End;

/// Why a connection has ended. Its `Display` is the reason in the log.
///
/// An error that a method of [`Connection`](crate::Connection) returns carries it:
///
/// ```
/// use acceptd::{Connection, EndReason};
/// use std::io;
///
/// fn handle(client: &mut Connection) -> io::Result<()> {
///     if let Err(error) = client.read_line() {
///         if matches!(EndReason::of(&error), Some(EndReason::Idle | EndReason::Drained)) {
///             // Release what this client has reserved.
///         }
///         return Err(error);
///     }
///     Ok(())
/// }
/// # let _: &dyn acceptd::Handler = &handle;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The client closed its side between requests.
    ClientClosed,
    /// The client closed its side in the middle of a request.
    Unfinished,
    /// The client is gone: it reset the connection, became unreachable, or no longer answers keepalive.
    Lost(io::ErrorKind),
    /// The handler returned while the client was still there, for example after a `QUIT`.
    HandlerClosed,
    /// The client was silent between requests for longer than [`Limits::idle_timeout`](crate::Limits::idle_timeout).
    Idle,
    /// The client began a request and did not complete it within
    /// [`Limits::request_timeout`](crate::Limits::request_timeout).
    RequestTimeout,
    /// The client did not take a reply within [`Limits::write_timeout`](crate::Limits::write_timeout).
    WriteTimeout,
    /// More than this many bytes of messages waited in the client's [`Outbox`](crate::Outbox).
    OutboxFull(usize),
    /// The client did not take the messages of its [`Outbox`](crate::Outbox) within
    /// [`Limits::write_timeout`](crate::Limits::write_timeout).
    OutboxTimeout,
    /// The client sent a request longer than this many bytes.
    TooLong(usize),
    /// A drain ended the connection.
    Drained,
    /// Another thread has ended the connection, for this reason: see [`Outbox::close`](crate::Outbox::close) and
    /// [`ClientHandle::drain`](crate::ClientHandle::drain).
    ServerClosed(String),
    /// The connection was cut: at the drain deadline, by [`Shutdown::cut`](crate::Shutdown::cut), or by another thread.
    Cut,
    /// The client violated the protocol, and the handler has told it so: see [`protocol_error`](crate::protocol_error()).
    ProtocolError(String),
    /// The handler returned an error of its own.
    HandlerFailed(String),
    /// The handler panicked.
    HandlerPanicked(String),
}

impl EndReason {
    /// The reason that an error of a [`Connection`](crate::Connection) carries. `None` for any other error.
    pub fn of(error: &io::Error) -> Option<&EndReason> {
        error.get_ref()?.downcast_ref()
    }
}

impl Error for EndReason {}

impl EndReason {
    /// The meaning of an error of reading that is not a timeout.
    pub(super) fn of_input(error: &io::Error) -> EndReason {
        EndReason::Lost(error.kind())
    }

    /// The meaning of the end of an outbox.
    pub(super) fn of_outbox(end: End, limits: &Limits) -> EndReason {
        match end {
            End::Full => EndReason::OutboxFull(limits.max_outbox),
            End::Slow => EndReason::OutboxTimeout,
            End::Lost(io::ErrorKind::ConnectionAborted) => EndReason::Cut,
            End::Lost(kind) => EndReason::Lost(kind),
            End::Closed => EndReason::HandlerClosed,
        }
    }

    pub(super) fn of_output(error: SendError) -> EndReason {
        match error {
            SendError::Late => EndReason::WriteTimeout,
            SendError::Cut => EndReason::Cut,
            SendError::Lost(kind) => EndReason::Lost(kind),
        }
    }

    /// The level of its line in the log. A disconnect is ordinary, a client that the server cut off is worth a line, and a handler
    /// that fails is a fault.
    pub(crate) fn level(&self) -> Level {
        match self {
            EndReason::ClientClosed
            | EndReason::Unfinished
            | EndReason::Lost(_)
            | EndReason::HandlerClosed
            | EndReason::Drained => Level::Debug,
            EndReason::Idle
            | EndReason::RequestTimeout
            | EndReason::WriteTimeout
            | EndReason::OutboxFull(_)
            | EndReason::OutboxTimeout
            | EndReason::TooLong(_)
            | EndReason::ProtocolError(_)
            | EndReason::ServerClosed(_)
            | EndReason::Cut => Level::Info,
            EndReason::HandlerFailed(_) => Level::Warn,
            EndReason::HandlerPanicked(_) => Level::Error,
        }
    }

    /// The farewell. `None` if the client left by itself or can't be told.
    pub(super) fn farewell_reason(&self, limits: &Limits) -> Option<FarewellReason> {
        match self {
            EndReason::Idle => Some(FarewellReason::Idle { timeout: limits.idle_timeout.unwrap_or_default() }),
            EndReason::RequestTimeout => Some(FarewellReason::RequestTimeout { timeout: limits.request_timeout }),
            EndReason::TooLong(limit) => Some(FarewellReason::TooLong { limit: *limit }),
            EndReason::OutboxFull(_) | EndReason::OutboxTimeout => Some(FarewellReason::TooSlow),
            EndReason::Unfinished => Some(FarewellReason::Unfinished),
            EndReason::Drained => Some(FarewellReason::Draining),
            EndReason::ServerClosed(_) => Some(FarewellReason::ServerClosed),
            EndReason::HandlerFailed(_) | EndReason::HandlerPanicked(_) => Some(FarewellReason::Failed),
            EndReason::ClientClosed
            | EndReason::Lost(_)
            | EndReason::HandlerClosed
            | EndReason::WriteTimeout
            | EndReason::ProtocolError(_)
            | EndReason::Cut => None,
        }
    }

    /// Whether the connection is reset and unsent output discarded. The kernel would keep it for minutes for a peer that does
    /// not read.
    pub(super) fn aborts(&self) -> bool {
        matches!(self, EndReason::WriteTimeout | EndReason::Lost(_))
    }

    /// Whether the client still gets time to take what was sent. Not if its time is over.
    pub(super) fn waits_for_client(&self) -> bool {
        !matches!(self, EndReason::OutboxFull(_) | EndReason::OutboxTimeout | EndReason::Cut) && !self.aborts()
    }

    /// The error that a method returns to the handler.
    pub(super) fn to_error(&self) -> io::Error {
        let kind = match self {
            EndReason::Idle
            | EndReason::RequestTimeout
            | EndReason::WriteTimeout
            | EndReason::OutboxFull(_)
            | EndReason::OutboxTimeout => io::ErrorKind::TimedOut,
            EndReason::TooLong(_) => io::ErrorKind::InvalidData,
            EndReason::Unfinished | EndReason::Drained | EndReason::ServerClosed(_) => io::ErrorKind::UnexpectedEof,
            EndReason::Lost(kind) => *kind,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self.clone())
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::ClientClosed => f.write_str("closed by the client"),
            EndReason::Unfinished => f.write_str("closed by the client in the middle of a request"),
            EndReason::Lost(kind) => write!(f, "lost: {kind}"),
            EndReason::HandlerClosed => f.write_str("closed by the handler"),
            EndReason::Idle => f.write_str("idle too long"),
            EndReason::RequestTimeout => f.write_str("request not complete in time"),
            EndReason::WriteTimeout => f.write_str("reply not taken in time"),
            EndReason::OutboxFull(limit) => write!(f, "too slow: more than {limit} bytes waited for it"),
            EndReason::OutboxTimeout => f.write_str("too slow: a message was not taken in time"),
            EndReason::TooLong(limit) => write!(f, "request longer than {limit} bytes"),
            EndReason::Drained => f.write_str("drained"),
            EndReason::ServerClosed(why) => write!(f, "closed by the server: {why}"),
            EndReason::Cut => f.write_str("cut"),
            EndReason::ProtocolError(what) => f.write_str(what),
            EndReason::HandlerFailed(error) => write!(f, "handler failed: {error}"),
            EndReason::HandlerPanicked(message) => write!(f, "handler panicked: {message}"),
        }
    }
}
