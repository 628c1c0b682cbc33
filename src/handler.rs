//! [`Handler`]: the trait for protocols, and the built-in ones, one module each.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use crate::connection::Connection;
use crate::farewell::FarewellReason;
use crate::limits::Limits;

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
/// Any `Fn(&mut Connection) -> io::Result<()>` is a handler. Say the parameter's type (`|client: &mut Connection|`). Its
/// farewell is a line of text; [`with_farewell`](Handler::with_farewell) gives it another one.
///
/// The [guide](crate::guide) shows how to write one.
pub trait Handler: Send + Sync + 'static {
    /// Serves one client. The connection ends when this returns:
    ///
    /// - `Ok(())`: all output is sent, then the connection is closed.
    /// - an error that a method of `client` returned: return it with `?`. The server knows the reason. It sends the client
    ///   the [`farewell`](Handler::farewell) for it, and logs it. It does the same if the handler returns something else after
    ///   such an error.
    /// - any other error, of any kind: the client is told that the server failed, and the error is logged as a
    ///   warning. Replies to earlier requests are sent. An incomplete reply is dropped. If a part of it was already sent, the
    ///   connection is reset.
    /// - a panic: the same, and the panic is logged and counted. No other client notices. A lock that was held is poisoned:
    ///   decide what that means for the data that it guards. (With `panic = "abort"`, a panic ends the process. So does a
    ///   stack overflow, which is not a panic.)
    /// - [`protocol_error`](crate::protocol_error()): the client violates the protocol, and the handler has sent it an error.
    ///   All output is sent, and the reason is logged.
    ///
    /// Local variables are dropped before the client sees the end of the connection, so a lock that one of them holds is free by
    /// then. The exception is a cut: another thread ends the connection, and the handler finds out later.
    ///
    /// A handler that computes for long without reading or writing can look at
    /// [`is_draining`](Connection::is_draining) now and then: nothing can end its thread from outside.
    ///
    /// # Errors
    ///
    /// Any reason to end the connection early.
    fn handle(&self, client: &mut Connection) -> io::Result<()>;

    /// The farewell for a client that is refused or cut off: whole messages of this protocol, at most about 1 KiB. A longer one
    /// may be cut off, because it is sent in one go. Return nothing to end without a farewell. The default is a line: `ERROR`
    /// and the reason in plain English.
    ///
    /// It comes behind the last whole message. There is none if the handler has ended the conversation by itself, if the client
    /// has closed its side between two requests, or if it does not take its output. If a drain has ended the input and the
    /// handler returns `Ok(())`, there is one. The client has 5 seconds to read it, and its slot is free meanwhile.
    ///
    /// The accept loop calls this for clients that it refuses, so it must not wait for anything. If it panics, there is no
    /// farewell.
    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        format!("ERROR {reason}\n").into_bytes().into()
    }

    /// The limits that this protocol needs, from those that the server was bound with. [`Server::run`](crate::Server::run)
    /// calls it once, so that nobody who binds a server has to know them. The default changes nothing.
    ///
    /// `max_connections`, `backlog` and `keepalive` are in use by then, and a change of them does nothing. A value that
    /// [`Server::bind`](crate::Server::bind) would refuse is replaced by the nearest one that it takes.
    ///
    /// ```
    /// # use acceptd::{Connection, Handler, Limits};
    /// # use std::time::Duration;
    /// # struct Mail;
    /// # impl Handler for Mail {
    /// # fn handle(&self, _: &mut Connection) -> std::io::Result<()> { Ok(()) }
    /// fn limits(&self, limits: Limits) -> Limits {
    ///     // RFC 1939, section 3: at least 10 minutes.
    ///     Limits { idle_timeout: Some(Duration::from_secs(600)), max_line: 512, ..limits }
    /// }
    /// # }
    /// ```
    fn limits(&self, limits: Limits) -> Limits {
        limits
    }

    /// This handler with another farewell: for closures, which have no farewell of their own.
    ///
    /// ```
    /// use acceptd::{Connection, Handler};
    ///
    /// let handler = (|client: &mut Connection| client.write_back(1)).with_farewell(|why| format!("-ERR {why}\r\n").into_bytes().into());
    /// # let _: &dyn Handler = &handler;
    /// ```
    fn with_farewell<F>(self, farewell: F) -> WithFarewell<Self, F>
    where
        Self: Sized,
        F: Fn(FarewellReason) -> Cow<'static, [u8]> + Send + Sync + 'static,
    {
        WithFarewell { handler: self, farewell }
    }
}

/// A handler with another farewell: see [`Handler::with_farewell`].
#[derive(Clone, Debug)]
pub struct WithFarewell<H, F> {
    handler: H,
    farewell: F,
}

impl<H, F> Handler for WithFarewell<H, F>
where
    H: Handler,
    F: Fn(FarewellReason) -> Cow<'static, [u8]> + Send + Sync + 'static,
{
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        self.handler.handle(client)
    }

    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        (self.farewell)(reason)
    }

    fn limits(&self, limits: Limits) -> Limits {
        self.handler.limits(limits)
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

/// Keep a clone of the `Arc` to look at a handler's state while it serves:
///
/// ```
/// use acceptd::testing::TestServer;
/// use acceptd::{Connection, Handler};
/// use std::io;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Counter(AtomicU64);
///
/// impl Handler for Counter {
///     fn handle(&self, client: &mut Connection) -> io::Result<()> {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         client.read_line().map(drop)
///     }
/// }
///
/// let counter = Arc::new(Counter::default());
/// let server = TestServer::start(Arc::clone(&counter));
/// server.connect().send("hello\n");
/// # server.connect().send("hello\n");
/// server.stop();
/// println!("{} clients", counter.0.load(Ordering::Relaxed));
/// ```
impl<H: Handler> Handler for Arc<H> {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        (**self).handle(client)
    }

    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        (**self).farewell(reason)
    }

    fn limits(&self, limits: Limits) -> Limits {
        (**self).limits(limits)
    }
}

impl Handler for Box<dyn Handler> {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        (**self).handle(client)
    }

    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        (**self).farewell(reason)
    }

    fn limits(&self, limits: Limits) -> Limits {
        (**self).limits(limits)
    }
}
