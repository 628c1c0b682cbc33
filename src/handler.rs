//! [`Handler`]: what a server serves. The built-in ones are here too, one module each.

use std::borrow::Cow;
use std::io;

use crate::connection::Connection;
use crate::farewell::Farewell;

pub mod chat;
mod echo;
pub mod kv;
pub mod line;
mod shared;

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
    /// - any other error, of whatever kind: the client is told that the server failed, and the error is logged as a
    ///   warning. Replies to earlier requests are sent; a reply that was begun is dropped.
    /// - a panic: the same for this client, and the panic is logged and counted. No other client notices. A lock that was held is poisoned: decide what that means for what it guards. (Only
    ///   an unwinding panic can be caught: not with `panic = "abort"`, and not a stack that overflows.)
    /// - [`protocol_error`](crate::protocol_error()): the client does not keep to the protocol, and the handler has told
    ///   it so. What was written is sent, and the log says why.
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
