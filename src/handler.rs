//! [`Handler`]: the trait for protocols, and the built-in ones, one module each.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use crate::connection::Connection;
use crate::farewell::Farewell;

#[cfg(feature = "chat")]
pub mod chat;
mod echo;
#[cfg(feature = "kv")]
pub mod kv;
#[cfg(feature = "line")]
pub mod line;
// Each handler uses only a part of this module.
#[cfg(any(feature = "chat", feature = "kv", feature = "line"))]
#[cfg_attr(not(all(feature = "chat", feature = "kv", feature = "line")), allow(dead_code))]
mod shared;

#[cfg(feature = "chat")]
pub use chat::Chat;
pub use echo::Echo;
#[cfg(feature = "kv")]
pub use kv::Kv;
#[cfg(feature = "line")]
pub use line::Line;

/// A protocol. The server calls it for each client, on a thread that serves only this client.
///
/// Write straight-line code, and keep a client's state in local variables. One value serves all clients at the same time,
/// hence `&self`; state that clients share goes into the value. The client is borrowed, hence `&mut`: the server owns it,
/// and closes, counts and logs it, however the handler ends.
///
/// Any `Fn(&mut Connection) -> io::Result<()>` is a handler. Say the parameter's type (`|client: &mut Connection|`).
pub trait Handler: Send + Sync + 'static {
    /// Serves one client. The connection ends when this returns:
    ///
    /// - `Ok(())`: all output is sent, then the connection is closed.
    /// - an error that a method of `client` returned: return it with `?`. The server knows the reason. It sends the client
    ///   the [`farewell`](Handler::farewell) for it, and logs it.
    /// - any other error, of any kind: the client is told that the server failed, and the error is logged as a
    ///   warning. Replies to earlier requests are sent. An incomplete reply is dropped. If a part of it was already sent, the
    ///   connection is reset.
    /// - a panic: the same, and the panic is logged and counted. No other client notices. A lock that was held is poisoned:
    ///   decide what that means for the data that it guards. (With `panic = "abort"`, a panic ends the process. So does a
    ///   stack overflow, which is not a panic.)
    /// - [`protocol_error`](crate::protocol_error()): the client violates the protocol, and the handler has sent it an error.
    ///   All output is sent, and the reason is logged.
    ///
    /// A handler that computes for long without reading or writing can look at
    /// [`is_draining`](Connection::is_draining) now and then: nothing can end its thread from outside.
    ///
    /// # Errors
    ///
    /// Any reason to end the connection early.
    fn handle(&self, client: &mut Connection) -> io::Result<()>;

    /// The farewell for a client that is refused or cut off: whole messages of this protocol, at most about 1 KiB. Return
    /// nothing to end without a farewell. The default is a line: `ERROR` and the reason in plain English.
    ///
    /// The accept loop calls this for clients that it refuses, so it must not wait for anything.
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

/// Keep a clone of the `Arc` to look at a handler's state while it serves.
impl<H: Handler> Handler for Arc<H> {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        (**self).handle(client)
    }

    fn farewell(&self, reason: Farewell) -> Cow<'static, [u8]> {
        (**self).farewell(reason)
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
