//! [`Server`]: binds, accepts, hands each client to a thread of its own, and drains.
//!
//! The phases of a server are *serving → draining → closed*. While it serves, the accept loop waits in `poll` for a
//! client or for [`Shutdown`]. It accepts, admits and hands over, and does nothing else.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Context};
use crate::farewell::Farewell;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::shutdown::Shutdown;
use crate::totals::{Stats, Totals};

mod admission;
mod connections;
mod drain;
mod event;
mod event_log;
mod farewells;
mod handle;
mod linger;
mod listener;
mod system;
mod threads;

use admission::{Admission, Admitted};
use connections::Connections;
use drain::drain;
pub use event::Event;
use event::{Events, Subscribers};
use event_log::RateLimitedLog;
pub(crate) use farewells::farewell_to;
pub use handle::{RunningServer, ServerHandle};
use linger::{Linger, LingerHandle};
pub(crate) use listener::Listener;
use listener::{Backoff, is_peer_error};
pub use system::advice;
use threads::Threads;

/// At most this many sockets linger until their farewells have arrived.
const MAX_LINGERING: usize = 1024;

/// At least this many may linger, even when descriptors are scarce. They get half of those that clients leave.
const MIN_LINGERING: usize = 16;

/// A TCP server that is bound. It serves once it is [run](Server::run).
pub struct Server {
    listener: Listener,
    connections: Arc<Connections>,
    capacity: Capacity,
    linger: Linger,
    limits: Limits,
    subscribers: Subscribers,
    context: Arc<Context>,
}

/// What the system allows a server with its limits.
struct Capacity {
    /// Clients at once.
    clients: usize,
    /// Which limit keeps it from serving more, and how to raise it.
    because: String,
    /// Sockets that linger at once.
    lingering: usize,
}

impl Server {
    /// Binds an address. Clients can connect from now on; they wait until the server [runs](Server::run). A name is bound
    /// at every address that it stands for, or not at all. Only addresses that this machine lacks are left out, and the
    /// log names them. Port 0 takes a free port, the same one for all addresses of a name;
    /// [`local_addr`](Server::local_addr) returns it.
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
        let listener = Listener::bind(&addresses, &limits);
        Server::with_listener(listener.map_err(|error| system::with_advice(error, limits.stack_size))?, limits)
    }

    /// A server on a socket that listens already: one that was inherited, or that has options of its own. Sets the options
    /// and the backlog that [`bind`](Server::bind) sets, because clients' sockets inherit them.
    ///
    /// # Errors
    ///
    /// The socket doesn't listen, or those of [`bind`](Server::bind).
    pub fn from_listener(listener: TcpListener, limits: Limits) -> io::Result<Server> {
        limits.check()?;
        let listener = Listener::from_std(listener, &limits);
        Server::with_listener(listener.map_err(|error| system::with_advice(error, limits.stack_size))?, limits)
    }

    fn with_listener(listener: Listener, limits: Limits) -> io::Result<Server> {
        let with_advice = |error| system::with_advice(error, limits.stack_size);
        let capacity = Capacity::of(&limits);
        let linger = Linger::start(capacity.lingering).map_err(with_advice)?;
        let context = Arc::new(Context {
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
        self.local_addrs().first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
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
    /// It is called on the client's thread, and on the accept loop's for a client that is refused, so it must not wait for
    /// anything.
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

    /// Serves every client with `handler` until [`Shutdown::request`], then drains. No error of a client, a handler or the
    /// system ends the server earlier.
    pub fn run(self, handler: impl Handler) -> Summary {
        let Server { mut listener, connections, mut capacity, linger, limits, subscribers, context } = self;
        let bound = limits.clone();
        let limits = handler.limits(limits).clamped();
        if (limits.descriptors_per_client, limits.stack_size) != (bound.descriptors_per_client, bound.stack_size) {
            capacity = Capacity::of(&Limits { max_connections: bound.max_connections, ..limits.clone() });
            connections.set_capacity(capacity.clients);
        }
        let threads = Threads::new(limits.stack_size);
        let mut admission = Admission {
            connections,
            handler: Arc::new(handler),
            linger: linger.handle(),
            events: Arc::new(subscribers.with_log(RateLimitedLog::new(capacity.because, limits.stack_size))),
            limits: Arc::new(limits),
            context,
            next_id: 1,
        };
        serve(&mut listener, &mut admission, &threads);
        let summary = drain(listener, &admission);
        drop(linger);
        admission.events.log().finish();
        event_log::ended(&summary);
        summary
    }
}

impl Capacity {
    /// Logs a warning if the system allows fewer clients than the limit asks for.
    fn of(limits: &Limits) -> Capacity {
        let ceiling = system::ceiling(limits.descriptors_per_client, limits.stack_size);
        let clients = limits.max_connections.min(ceiling.clients);
        let spare = ceiling.descriptors.saturating_sub(clients * limits.descriptors_per_client) / 2;
        let lingering = spare.clamp(MIN_LINGERING, MAX_LINGERING);
        if clients == limits.max_connections {
            let because = "raise --max-connections (Limits::max_connections) for more".to_owned();
            return Capacity { clients, because, lingering };
        }
        event_log::lowered(limits.max_connections, &ceiling);
        Capacity { clients, because: ceiling.because, lingering }
    }
}

/// The accept loop. Ends only when that is requested.
fn serve(listener: &mut Listener, admission: &mut Admission, threads: &Threads) {
    let shutdown = admission.context.shutdown.clone();
    let mut backoff = Backoff::default();
    loop {
        // An accept that finds no client costs the kernel almost as much as one that does, so the loop polls first. It also
        // fails without a free descriptor, even when no client waits.
        let ready = listener.wait(shutdown.event());
        if shutdown.is_accepting_stopped() {
            return;
        }
        match ready.and_then(|()| listener.accept()) {
            Ok((stream, peer)) => {
                if let Some(client) = admission.admit(stream, peer) {
                    hand_over(client, admission, threads);
                }
                backoff.recover();
            }
            // The client is gone, or was never there.
            Err(error) if error.kind() == ErrorKind::WouldBlock => backoff.recover(),
            Err(error) if is_peer_error(&error) => {
                event_log::aborted_before_accept(&error);
                backoff.recover();
            }
            Err(error) => {
                admission.events.log().trouble(&error);
                backoff.pause(shutdown.event());
            }
        }
    }
}

/// Hands a client to a thread that serves it to its end. Refuses the client if the system gives no thread.
fn hand_over(client: Admitted, admission: &Admission, threads: &Threads) {
    let (socket, peer) = (Arc::clone(&client.socket), client.peer);
    let handler = Arc::clone(&admission.handler);
    let (limits, context) = (Arc::clone(&admission.limits), Arc::clone(&admission.context));
    let linger = admission.linger.clone();
    let events = Arc::clone(&admission.events);
    let job = Box::new(move || serve_connection(client, handler, limits, context, &linger, &events));
    if let Err(error) = threads.run(job) {
        admission.events.log().trouble(&error);
        admission.refuse(socket, peer, Farewell::NoThread);
    }
}

/// Serves one client on its own thread, from the first byte to the farewell.
fn serve_connection(
    client: Admitted,
    handler: Arc<dyn Handler>,
    limits: Arc<Limits>,
    context: Arc<Context>,
    linger: &LingerHandle,
    events: &Events,
) {
    let Admitted { id, peer, socket, slot, guard } = client;
    context.totals.served.add(1);
    events.publish(&Event::Opened { id, peer_addr: peer });
    let mut connection = Connection::new(id, peer, Arc::clone(&socket), limits, Arc::clone(&context));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&mut connection)));
    let (summary, lingering) = connection.finish(outcome, |reason| farewell_to(&socket, &*handler, reason));
    // Order matters: free the slot before the peer sees the end; release the guard last, because the drain waits for it.
    drop((socket, slot));
    summary.count(&context.totals);
    events.publish(&Event::Closed(&summary));
    if let Some(socket) = lingering {
        linger.close(socket);
    }
    drop((handler, context));
    drop(guard);
}

/// What a server did in its life, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Clients that were connected when the drain began and that left before its deadline.
    pub drained: usize,
    /// Clients that were cut.
    pub cut: usize,
    /// Clients among `cut` whose handler has not returned yet. It computes, or waits for something else than its client.
    /// Such threads end with the process.
    pub stuck: usize,
    /// The counters of the server's whole life.
    pub stats: Stats,
    /// The time from binding to the end.
    pub uptime: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { drained, cut, stuck, stats, .. } = self;
        write!(f, "drained {drained}, cut {cut}")?;
        if *stuck > 0 {
            let are_in = if *stuck == 1 { "is stuck in its handler" } else { "are stuck in their handlers" };
            write!(f, ", of which {stuck} {are_in}")?;
        }
        write!(f, "; in all {} served, {} refused", stats.served, stats.refused)?;
        write!(f, ", {} panicked, {} bytes in, {} bytes out", stats.panicked, stats.bytes_in, stats.bytes_out)?;
        write!(f, ", up {:.1} s", self.uptime.as_secs_f64())
    }
}
