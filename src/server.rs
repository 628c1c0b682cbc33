//! [`Server`]: binds, accepts, hands each client to a thread of its own, and drains.
//!
//! The phases of a server are *serving → draining → closed*. While it serves, the accept loop waits in `poll` for a
//! client or for [`Shutdown`]. It accepts, admits and hands over, and does nothing else.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::connection::ConnectionContext;
use crate::farewell::FarewellReason;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::shutdown::Shutdown;
use crate::totals::Totals;

mod admission;
mod capacity;
mod client_thread;
mod connections;
mod drain;
mod event;
mod event_log;
mod farewells;
mod handle;
mod linger;
mod listener;
mod shared;
mod summary;
mod system;
mod threads;

use admission::{Admission, Admitted};
use capacity::Capacity;
use client_thread::serve_client;
pub(crate) use client_thread::serve_connection;
use connections::Connections;
use drain::drain;
pub use event::Event;
use event::Subscribers;
use event_log::RateLimitedLog;
pub use handle::{RunningServer, ServerHandle};
use linger::Linger;
pub(crate) use listener::Listener;
use listener::{Backoff, first_of, is_peer_error};
use shared::ServerShared;
pub use summary::Summary;
pub use system::advice;
use threads::Threads;

/// A TCP server that is bound. It serves once it is [run](Server::run).
pub struct Server {
    listener: Listener,
    connections: Arc<Connections>,
    capacity: Capacity,
    linger: Linger,
    limits: Limits,
    subscribers: Subscribers,
    context: Arc<ConnectionContext>,
}

impl Server {
    /// Binds an address. Clients can connect from now on; they wait until the server [runs](Server::run).
    ///
    /// A name may stand for several addresses. Each of them is bound, or the error says which one can't be. Addresses that this
    /// machine doesn't have are left out, with a warning in the log. Port 0 takes a free port, the same one for all addresses
    /// of a name; [`local_addr`](Server::local_addr) returns it.
    ///
    /// Raises the process's soft limit on descriptors to the hard one, and lowers `max_connections` to what the system
    /// allows. For a socket option that the kernel does not know, the log gets a warning that says what is lost. Only
    /// `SO_RCVTIMEO` is required, because deadlines depend on it.
    ///
    /// # Errors
    ///
    /// - The name can't be resolved.
    /// - An address can't be bound: `AddrInUse`, `PermissionDenied`, or `AddrNotAvailable` if this machine has none of the
    ///   addresses.
    /// - There is no thread (`WouldBlock`) or no descriptor. The message says what to do about it.
    /// - A limit makes no sense (`InvalidInput`).
    pub fn bind(address: impl ToSocketAddrs, limits: Limits) -> io::Result<Server> {
        limits.check()?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in address.to_socket_addrs()? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Server::with_listener(Listener::bind(&addresses, &limits), limits)
    }

    /// Takes over a socket that listens already: one that was inherited, or that has options of its own. It gets the options
    /// and the backlog that [`bind`](Server::bind) sets.
    ///
    /// ```
    /// use acceptd::{Echo, Limits, Server};
    /// use std::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let server = Server::from_listener(listener, Limits::default())?.spawn(Echo)?;
    /// # server.stop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Server::bind), and an error if the socket can't listen.
    pub fn from_listener(listener: TcpListener, limits: Limits) -> io::Result<Server> {
        limits.check()?;
        Server::with_listener(Listener::from_std(listener, &limits), limits)
    }

    fn with_listener(listener: io::Result<Listener>, limits: Limits) -> io::Result<Server> {
        let with_advice = |error| system::with_advice(error, limits.stack_size);
        let listener = listener.map_err(with_advice)?;
        let capacity = Capacity::of(&limits);
        let linger = Linger::start(capacity.lingering).map_err(with_advice)?;
        let context = Arc::new(ConnectionContext {
            receive_timeout: limits.idle_timeout,
            shutdown: Shutdown::new().map_err(with_advice)?,
            totals: Totals::default(),
            started: Instant::now(),
        });
        let connections = Connections::new(capacity.clients, Arc::clone(&context));
        Ok(Server { listener, connections, capacity, linger, limits, subscribers: Subscribers::default(), context })
    }

    /// How many clients are served at once: [`Limits::max_connections`], or fewer if the system does not allow so many.
    pub fn max_connections(&self) -> usize {
        self.connections.capacity()
    }

    /// The address that clients can connect to, with the real port. The first one if a name stands for several.
    pub fn local_addr(&self) -> SocketAddr {
        first_of(self.local_addrs())
    }

    /// All addresses that clients can connect to.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listener.local_addrs()
    }

    /// The handle by which other threads look at this server while it runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.local_addrs(), &self.connections, &self.context)
    }

    /// The handle that stops this server.
    pub fn shutdown(&self) -> Shutdown {
        self.context.shutdown.clone()
    }

    /// Calls `subscriber` for each [`Event`], for metrics or a log of your own. The server's own log doesn't change.
    ///
    /// The call comes from the client's thread, or from the accept loop for a client that is refused. So the subscriber must not
    /// wait for anything.
    pub fn on_event(&mut self, subscriber: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.subscribers.add(subscriber);
    }

    /// [Runs](Server::run) the server on a thread of its own.
    ///
    /// ```
    /// use acceptd::{Echo, Limits, Server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0", Limits::default())?.spawn(Echo)?;
    /// println!("{} clients at {}", server.stats().connections, server.local_addr());
    /// println!("{}", server.stop());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn spawn(self, handler: impl Handler) -> io::Result<RunningServer> {
        let handle = self.handle();
        let builder = thread::Builder::new().name("accept".into());
        Ok(RunningServer::new(handle, builder.spawn(move || self.run(handler))?))
    }

    /// Serves every client with `handler` until [`Shutdown::request`], then drains. After [`Shutdown::stop_accepting`], it also
    /// returns when the last client has left. No error of a client, a handler or the
    /// system ends the server earlier.
    pub fn run(self, handler: impl Handler) -> Summary {
        let Server { mut listener, connections, mut capacity, linger, limits, subscribers, context } = self;
        let bound = limits.clone();
        let limits = Limits { max_connections: bound.max_connections, ..handler.limits(limits).clamped() };
        if limits.resources_per_client() != bound.resources_per_client() {
            capacity = Capacity::of(&limits);
            connections.set_capacity(capacity.clients);
        }
        let threads = Threads::new(limits.stack_size);
        let shared = Arc::new(ServerShared {
            handler: Box::new(handler),
            events: subscribers.with_log(RateLimitedLog::new(capacity.limited_by, limits.stack_size)),
            limits: Arc::new(limits),
            linger: linger.handle(),
            context,
        });
        let mut admission = Admission { connections, shared: Arc::clone(&shared), next_id: 1 };
        serve(&mut listener, &mut admission, &threads);
        let summary = drain(listener, &admission);
        drop(linger);
        shared.events.log().finish();
        event_log::ended(&summary);
        summary
    }
}

/// The accept loop. Returns when accepting is to stop.
fn serve(listener: &mut Listener, admission: &mut Admission, threads: &Threads) {
    let shutdown = admission.shared.context.shutdown.clone();
    let mut backoff = Backoff::default();
    while !shutdown.is_accepting_stopped() {
        let outcome = match listener.accept() {
            Ok((stream, peer)) => {
                if let Some(client) = admission.admit(stream, peer) {
                    hand_over(client, admission, threads);
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.wait(shutdown.event()),
            Err(error) if is_peer_error(&error) => {
                event_log::aborted_before_accept(&error);
                Ok(())
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => backoff.recover(),
            Err(error) => {
                admission.shared.events.log().accept_failed(&error);
                backoff.pause(shutdown.event());
                if !shutdown.is_accepting_stopped() {
                    // Without a free descriptor, accept fails even when no client waits.
                    let _ = listener.wait(shutdown.event());
                }
            }
        }
    }
}

/// Hands a client to a thread that serves it to its end. Refuses the client if the system gives no thread.
fn hand_over(client: Admitted, admission: &Admission, threads: &Threads) {
    let (socket, peer) = (Arc::clone(&client.socket), client.peer);
    let shared = Arc::clone(&admission.shared);
    if let Err(error) = threads.run(Box::new(move || serve_client(client, shared))) {
        admission.shared.events.log().accept_failed(&error);
        admission.refuse(socket, peer, FarewellReason::NoThread);
    }
}
