//! [`FarewellReason`]: why a client is refused or loses its connection, as it is told.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What to say to a client for each reason.
pub(crate) type FarewellFn = Arc<dyn Fn(FarewellReason) -> Cow<'static, [u8]> + Send + Sync>;

/// Why a client is refused or cut off. Its `Display` is a message for people: one line of printable ASCII, without a full stop.
/// The words may change; match on the variant if the reason matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FarewellReason {
    /// Refused: the limit on clients is reached.
    Full {
        /// The limit.
        limit: usize,
    },
    /// Refused: the system gives the server no more threads.
    NoThread,
    /// Refused, or cut while busy, because the server is shutting down.
    ShuttingDown,
    /// Disconnected while idle because the server is shutting down. Requests that had arrived whole were answered. Half a
    /// request was not carried out.
    Draining,
    /// Ended by another thread of the server: see [`Outbox::close`](crate::Outbox::close) and
    /// [`ClientHandle::drain`](crate::ClientHandle::drain).
    ServerClosed,
    /// Silent between requests for too long.
    Idle {
        /// The limit.
        timeout: Duration,
    },
    /// Began a request and did not complete it in time.
    RequestTimeout {
        /// The limit.
        timeout: Duration,
    },
    /// Sent a request longer than allowed.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Did not read what others sent to it: see [`Outbox`](crate::Outbox).
    TooSlow,
    /// Closed its side in the middle of a request. The request was not carried out.
    Unfinished,
    /// The handler failed or panicked.
    Failed,
}

impl fmt::Display for FarewellReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FarewellReason::Full { limit } => write!(f, "too many connections (the limit is {limit}), try again later"),
            FarewellReason::NoThread => f.write_str("the server has no thread left, try again later"),
            FarewellReason::ShuttingDown | FarewellReason::Draining => f.write_str("the server is shutting down"),
            FarewellReason::ServerClosed => f.write_str("the server closes this connection"),
            FarewellReason::Idle { timeout } => write!(f, "nothing was sent for {timeout:?}, closing"),
            FarewellReason::RequestTimeout { timeout } => {
                write!(f, "the request was not complete after {timeout:?}, closing")
            }
            FarewellReason::TooLong { limit } => write!(f, "the request is longer than {limit} bytes, closing"),
            FarewellReason::TooSlow => f.write_str("you read too slowly, closing"),
            FarewellReason::Unfinished => f.write_str("the last request was not complete and was not carried out"),
            FarewellReason::Failed => f.write_str("the server failed to answer, closing"),
        }
    }
}
