//! [`Handler`]: what a server serves. The built-in ones are here too, one module each.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use crate::{Connection, panics};

pub mod chat;
mod echo;
mod http;
pub mod kv;
pub mod line;
mod telnet;
mod tls;

pub use chat::Chat;
pub use echo::Echo;
pub use kv::Kv;
pub use line::Line;

/// A protocol: converses with one client at a time, on a thread that this client has for itself.
///
/// Straight-line code is all it takes, and what a client is up to is kept in local variables. One value serves all
/// clients at once, hence `&self`; what they share goes into the value. The client is lent, hence `&mut`: the server
/// keeps it, and closes, counts and logs it, however the conversation ends.
///
/// Any `Fn(&mut Connection) -> io::Result<()>` is a handler. Say the parameter's type (`|client: &mut Connection|`).
pub trait Handler: Send + Sync + 'static {
    /// Converses with one client. The connection ends when this returns:
    ///
    /// - `Ok(())`: what was written is sent, then the connection is closed.
    /// - an error that a method of `client` returned: hand it up with `?`. The server knows why it happened, tells the
    ///   client in the words of [`farewell`](Handler::farewell), and logs it.
    /// - an error of the handler's own: what was written is sent, the client is told that the server failed, and the
    ///   error is logged as a warning.
    /// - a panic: this client is closed, what was written and not yet sent is dropped, the panic is logged and counted.
    ///   No other client notices. A lock that was held is poisoned: decide what that means for what it guards. (Only
    ///   an unwinding panic can be caught: not with `panic = "abort"`, and not a stack that overflows.)
    /// - an error of kind `InvalidData` of the handler's own: the client does not keep to the protocol, and the handler
    ///   has told it so. What was written is sent, and the log says why.
    ///
    /// A handler that computes for long without reading or writing can look at
    /// [`is_draining`](Connection::is_draining) now and then: nothing can end its thread from outside.
    ///
    /// # Errors
    ///
    /// Whatever ended the conversation early.
    fn handle(&self, client: &mut Connection) -> io::Result<()>;

    /// Last words for a client that is turned away or cut off, as whole messages of this protocol, at most about 1 KiB.
    /// Empty: say nothing. The default is a line: `ERROR`, and the reason in plain English.
    ///
    /// The accept loop calls this for those it turns away, so it must not wait for anything.
    fn farewell(&self, reason: Farewell) -> Cow<'static, [u8]> {
        format!("ERROR {reason}\n").into_bytes().into()
    }
}

impl<F> Handler for F
where
    F: Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
{
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        self(client)
    }
}

impl Handler for Box<dyn Handler> {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        (**self).handle(client)
    }

    fn farewell(&self, reason: Farewell) -> Cow<'static, [u8]> {
        (**self).farewell(reason)
    }
}

/// What `handler` says to a client that it loses for this reason; nothing if it panics over that.
pub(crate) fn last_words(handler: &dyn Handler, reason: Farewell) -> Cow<'static, [u8]> {
    let words = panic::catch_unwind(AssertUnwindSafe(|| handler.farewell(reason)));
    words.unwrap_or_else(|panic| {
        log::error!("a handler's farewell panicked: {:?}", panics::describe(&*panic));
        Cow::Borrowed(b"")
    })
}

/// Why a client is turned away or cut off. Displayed, it is what to tell a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Farewell {
    /// Turned away: as many clients as are allowed are connected.
    Full {
        /// How many that is.
        limit: usize,
    },
    /// Turned away: the system gives the server no more threads.
    NoThread,
    /// Turned away, or cut in the middle of something, because the server is shutting down.
    ShuttingDown,
    /// Asked to leave because the server is shutting down. What it had sent in full was answered; half a request was
    /// not carried out.
    Draining,
    /// Silent between requests for too long.
    Idle {
        /// How long was allowed.
        timeout: Duration,
    },
    /// Began a request and did not complete it in time.
    RequestTimeout {
        /// How long was allowed.
        timeout: Duration,
    },
    /// Sent a request longer than allowed.
    TooLong {
        /// How many bytes were allowed.
        limit: usize,
    },
    /// Did not read what others have sent to it: see [`Outbox`](crate::Outbox).
    TooSlow,
    /// Closed its side in the middle of a request, which was not carried out.
    Unfinished,
    /// The handler failed, by its own fault.
    Failed,
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Farewell::Full { limit } => write!(f, "too many connections (the limit is {limit}), try again later"),
            Farewell::NoThread => f.write_str("the server has no thread left, try again later"),
            Farewell::ShuttingDown | Farewell::Draining => f.write_str("the server is shutting down"),
            Farewell::Idle { timeout } => write!(f, "nothing was sent for {timeout:?}, closing"),
            Farewell::RequestTimeout { timeout } => {
                write!(f, "the request was not complete after {timeout:?}, closing")
            }
            Farewell::TooLong { limit } => write!(f, "the request is longer than {limit} bytes, closing"),
            Farewell::TooSlow => f.write_str("you read too slowly, closing"),
            Farewell::Unfinished => f.write_str("the last request was not complete and was not carried out"),
            Farewell::Failed => f.write_str("the server failed to answer, closing"),
        }
    }
}
