//! [`Connection`]: one client, as its handler sees it.
//!
//! Bytes come from the socket into `input`, where the handler reads them. What the handler writes goes through `output`
//! back to the socket. Three things happen here so that no handler has to think of them: output is flushed right before a
//! wait for input, every wait has a deadline, and the reason for the end is noted, for the farewell and for the log.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::farewell::FarewellReason;
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::socket::Socket;
use crate::totals::{Stats, Totals};
use crate::waker::Waker;

mod client_handle;
mod end_reason;
mod ending;
mod input;
mod keep_reading;
mod output;
mod own_limits;
mod reading;
mod stream;
mod transport;
mod wait;
mod writing;

pub use client_handle::ClientHandle;
pub use end_reason::EndReason;
pub use ending::ClosedConnection;
use input::Input;
pub use keep_reading::KeepReading;
use output::Output;
pub use reading::Next;
use transport::{SendError, Transport};
pub use wait::Paused;

/// One client: its input and output, its address, and the state of the server.
///
/// It is [`BufRead`](io::BufRead) and [`Write`](io::Write). Written bytes are held back and sent together: before the handler waits for its client
/// (in a read or a [`pause`](Connection::pause)), at [`flush`](io::Write::flush), at the end, and when there are more than
/// [`Limits::max_output`]. So the replies to a batch of requests go into one packet. `TCP_NODELAY` is set.
///
/// [`read_line`](Connection::read_line) and [`read_request`](Connection::read_request) know where a request begins and ends.
/// They enforce a deadline for the whole request, and a limit on its size. Reading by `Read` and `BufRead` has only the
/// idle timeout, and what `BufRead`'s own methods collect has no limit.
///
/// An error of a method means that the connection is over. Return it with `?`. After such an error, every method returns
/// it again.
pub struct Connection {
    id: u64,
    peer: SocketAddr,
    opened: Instant,
    limits: Arc<Limits>,
    context: Arc<ConnectionContext>,
    transport: Transport,
    input: Input,
    output: Output,
    /// How long the handler has waited for the rest of the request that has begun to arrive.
    request_waited: Duration,
    /// How long the handler has waited for the next request without a byte from the client.
    idle_waited: Duration,
    /// During a drain: how many bytes may still be read, of those that had arrived when it began.
    drain_budget: Option<usize>,
    /// A [`Waker`] was used, and no wait has reported it yet.
    is_woken: bool,
    /// A pause has reported that the client has closed its side.
    is_client_end_reported: bool,
    /// A pause has reported a drain, and no request was read since.
    is_drain_reported: bool,
    /// Whether the input or the whole connection has ended, and why.
    state: ConnectionState,
}

enum ConnectionState {
    Open,
    /// The client has closed its side. Output can still be sent.
    ClientEnded,
    /// A drain has ended the input. Output can still be sent.
    DrainEnded,
    /// The connection is over.
    Ended(EndReason),
}

/// What all connections of a server share.
pub(crate) struct ConnectionContext {
    /// The receive timeout that clients' sockets have inherited from their listener.
    pub(crate) receive_timeout: Option<Duration>,
    pub(crate) shutdown: Shutdown,
    pub(crate) totals: Totals,
    pub(crate) started: Instant,
}

impl Connection {
    pub(crate) fn new(
        id: u64,
        peer: SocketAddr,
        socket: Arc<Socket>,
        limits: Arc<Limits>,
        context: Arc<ConnectionContext>,
    ) -> Connection {
        let transport = Transport::new(socket, context.receive_timeout);
        Connection {
            id,
            peer,
            opened: Instant::now(),
            limits,
            context,
            transport,
            input: Input::default(),
            output: Output::default(),
            request_waited: Duration::ZERO,
            idle_waited: Duration::ZERO,
            drain_budget: None,
            is_woken: false,
            is_client_end_reported: false,
            is_drain_reported: false,
            state: ConnectionState::Open,
        }
    }

    /// The number of this connection, which the log uses too. The first client of a server has 1.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's address. An IPv4 client of an IPv6 socket has its IPv4 address: 127.0.0.1, not `::ffff:127.0.0.1`.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client connected to.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.transport.socket().local_addr().map(canonical)
    }

    /// Whether this connection should end soon: the server is shutting down, or another thread has called
    /// [`ClientHandle::drain`]. A handler that reads is told by [`Next::Draining`] or by an error. This is for a handler
    /// that computes for long, writes without reading, or [keeps reading](Connection::keep_reading).
    pub fn is_draining(&self) -> bool {
        self.context.shutdown.is_requested() || self.transport.socket().drain_state().is_requested()
    }

    /// Why the connection is over, once a method has returned an error.
    pub fn end_reason(&self) -> Option<&EndReason> {
        match &self.state {
            ConnectionState::Ended(reason) => Some(reason),
            ConnectionState::Open | ConnectionState::ClientEnded | ConnectionState::DrainEnded => None,
        }
    }

    /// The server's counters.
    pub fn stats(&self) -> Stats {
        self.context.totals.stats()
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.context.started.elapsed()
    }

    /// Ends the connection: the handler holds a part of a request, and the rest has not come in time.
    #[cfg(feature = "chat")]
    pub(crate) fn time_out(&mut self) -> io::Error {
        self.end(EndReason::RequestTimeout)
    }

    /// Whether a flush would have to send something.
    #[cfg(feature = "chat")]
    pub(crate) fn has_output(&self) -> bool {
        self.output.is_pending()
    }

    /// The handle by which other threads send to this client. From now on their messages and this handler's replies arrive one
    /// after the other, each whole; a reply is whole from flush to flush (or read). Every call returns the same outbox.
    ///
    /// A message that is queued before the handler flushes its reply may overtake the reply, so [`flush`](io::Write::flush) before
    /// you hand the outbox out. A reply that is flushed after a message was queued comes after it. The
    /// [guide](crate::guide#pushing) shows how a client subscribes without a gap.
    ///
    /// A handler that calls this should have [`Limits::descriptors_per_client`] count 2.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn outbox(&mut self) -> io::Result<Outbox> {
        self.check_output_open()?;
        self.transport.outbox(self.limits.max_outbox, self.limits.write_timeout)
    }

    /// The handle by which other threads wake this handler while it waits for its client.
    ///
    /// It takes a descriptor, which it shares with the [`outbox`](Connection::outbox): a handler that calls this should have
    /// [`Limits::descriptors_per_client`] count 2.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn waker(&mut self) -> io::Result<Waker> {
        Ok(self.transport.socket().make_wakeup()?.waker())
    }

    /// The handle by which other threads end this connection, or look at it.
    pub fn handle(&self) -> ClientHandle {
        ClientHandle::new(self.id, self.peer, self.opened, self.transport.socket())
    }

    /// Keeps the input open in a drain, for work that takes more than one request: a mail that is being received, a job that
    /// is to be confirmed. While the guard lives, reading goes on as before when a drain begins, until the drain's deadline
    /// ([`Limits::drain_timeout`]). Once the guard is dropped, requests that have arrived whole can still be read, and then
    /// the input ends.
    ///
    /// Take the guard before the work begins, and begin no work if [`is_draining`](Connection::is_draining) is true then: a
    /// guard that is taken during a drain may have no effect.
    ///
    /// [`is_draining`](Connection::is_draining) tells that a drain has begun. A handler that waits is told as well if it has
    /// asked for a [`waker`](Connection::waker) before: the beginning of the drain is a wake.
    pub fn keep_reading(&self) -> KeepReading {
        KeepReading::new(self.transport.socket(), self.context.shutdown.clone())
    }

    /// Replaces [`Handler::farewell`](crate::Handler::farewell) for this client, for every reason. For a handler of several
    /// dialects, once it knows which one the client speaks, and for a farewell that depends on the conversation. The closure
    /// captures what it needs of the connection, such as its [`id`](Connection::id). Another thread may call it while the
    /// handler is busy. If it returns nothing, there is no farewell.
    ///
    /// ```
    /// use acceptd::Connection;
    /// use std::io;
    ///
    /// fn handle(client: &mut Connection) -> io::Result<()> {
    ///     if client.read_line()?.as_deref() == Some(b"json") {
    ///         client.set_farewell(|why| format!("{{\"error\": \"{why}\"}}\n").into_bytes().into());
    ///     }
    ///     client.read_line().map(drop)
    /// }
    /// # let _: &dyn acceptd::Handler = &handle;
    /// ```
    pub fn set_farewell(&mut self, farewell: impl Fn(FarewellReason) -> Cow<'static, [u8]> + Send + Sync + 'static) {
        self.transport.socket().set_farewell(Arc::new(farewell));
    }

    fn fail_input(&mut self, error: &io::Error) -> io::Error {
        let was_cut = self.transport.socket().was_cut();
        let reason = || if was_cut { EndReason::Cut } else { EndReason::of_input(error) };
        self.end(self.outbox_reason().unwrap_or_else(reason))
    }

    fn fail_output(&mut self, error: SendError) -> io::Error {
        self.end(self.output_reason(error))
    }

    fn output_reason(&self, error: SendError) -> EndReason {
        self.outbox_reason().unwrap_or_else(|| EndReason::of_output(error))
    }

    /// Why the outbox has ended, if it has.
    fn outbox_reason(&self) -> Option<EndReason> {
        self.transport.end_of_outbox().map(|end| EndReason::of_outbox(end, &self.limits))
    }

    /// Notes why the connection is over, and returns the error for the handler.
    fn end(&mut self, reason: EndReason) -> io::Error {
        let error = reason.to_error();
        self.state = ConnectionState::Ended(reason);
        error
    }

    fn check_open(&self) -> io::Result<()> {
        match &self.state {
            ConnectionState::Ended(reason) => Err(reason.to_error()),
            ConnectionState::Open | ConnectionState::ClientEnded | ConnectionState::DrainEnded => Ok(()),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// An address in canonical form: IPv4 mapped into IPv6 becomes IPv4 (RFC 4291, 2.5.5.2).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), v6.port())
        }
        other => other,
    }
}
