//! [`Server`]: binds, accepts, hands each client to a thread of its own, and drains.
//!
//! The phases of a server are *serving → draining → closed*. While it serves, the accept loop waits in `poll` for a
//! client or for [`Shutdown`]. It accepts, admits and hands over, and does nothing else.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
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
mod events;
mod farewells;
mod linger;
mod listener;
mod system;
mod threads;

use admission::{Admission, Admitted};
use connections::Connections;
use drain::drain;
use events::RateLimitedLog;
use farewells::farewell_to;
use linger::{Linger, LingerHandle};
use listener::{Backoff, Listener, is_peer_error};
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
    linger: Linger,
    log: Arc<RateLimitedLog>,
    context: Arc<Context>,
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
        let with_advice = |error| system::with_advice(error, limits.stack_size);
        let listener = Listener::bind(&addresses, &limits).map_err(with_advice)?;

        let ceiling = system::ceiling(limits.descriptors_per_client, limits.stack_size);
        let mut full_because = "raise --max-connections (Limits::max_connections) for more".to_owned();
        if ceiling.clients < limits.max_connections {
            events::lowered(limits.max_connections, &ceiling);
            full_because.clone_from(&ceiling.because);
        }
        let capacity = limits.max_connections.min(ceiling.clients);
        let spare = ceiling.descriptors.saturating_sub(capacity * limits.descriptors_per_client) / 2;
        let linger = Linger::start(spare.clamp(MIN_LINGERING, MAX_LINGERING)).map_err(with_advice)?;
        let log = Arc::new(RateLimitedLog::new(full_because, limits.stack_size));
        let context = Arc::new(Context {
            shutdown: Shutdown::new().map_err(with_advice)?,
            limits: Arc::new(limits),
            totals: Totals::default(),
            started: Instant::now(),
        });
        let connections = Connections::new(capacity, Arc::clone(&context));
        Ok(Server { listener, connections, linger, log, context })
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

    /// The handle that stops this server.
    pub fn shutdown(&self) -> Shutdown {
        self.context.shutdown.clone()
    }

    /// Serves every client with `handler` until [`Shutdown::request`], then drains. No error of a client, a handler or the
    /// system ends the server earlier.
    pub fn run(self, handler: impl Handler) -> Summary {
        let Server { mut listener, connections, linger, log, context } = self;
        let threads = Threads::new(context.limits.stack_size);
        let mut admission =
            Admission { connections, handler: Arc::new(handler), linger: linger.handle(), log, context, next_id: 1 };
        serve(&mut listener, &mut admission, &threads);
        let summary = drain(listener, &admission);
        drop(linger);
        admission.log.finish();
        events::ended(&summary);
        summary
    }
}

/// The accept loop. Ends only when shutdown is requested.
fn serve(listener: &mut Listener, admission: &mut Admission, threads: &Threads) {
    let shutdown = admission.context.shutdown.clone();
    let mut backoff = Backoff::default();
    while !shutdown.is_requested() {
        let outcome = match listener.accept() {
            Ok((stream, peer)) => {
                if let Some(client) = admission.admit(stream, peer) {
                    hand_over(client, admission, threads);
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.wait(shutdown.event()),
            Err(error) if is_peer_error(&error) => {
                events::aborted_before_accept(&error);
                Ok(())
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => backoff.recover(),
            Err(error) => {
                admission.log.trouble(&error);
                backoff.pause(shutdown.event());
                if !shutdown.is_requested() {
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
    let handler = Arc::clone(&admission.handler);
    let context = Arc::clone(&admission.context);
    let linger = admission.linger.clone();
    let log = Arc::clone(&admission.log);
    let job = Box::new(move || serve_connection(client, handler, context, &linger, &log));
    if let Err(error) = threads.run(job) {
        admission.log.trouble(&error);
        admission.refuse(socket, peer, Farewell::NoThread);
    }
}

/// Serves one client on its own thread, from the first byte to the farewell.
fn serve_connection(
    client: Admitted,
    handler: Arc<dyn Handler>,
    context: Arc<Context>,
    linger: &LingerHandle,
    log: &RateLimitedLog,
) {
    let Admitted { id, peer, socket, slot, guard } = client;
    context.totals.served.add(1);
    events::opened(id, peer);
    let mut connection = Connection::new(id, peer, Arc::clone(&socket), Arc::clone(&context));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&mut connection)));
    let (summary, lingering) = connection.finish(outcome, |reason| farewell_to(&socket, &*handler, reason));
    // Order matters: free the slot before the peer sees the end; release the guard last, because the drain waits for it.
    drop((socket, slot));
    summary.count(&context.totals);
    log.closed(&summary);
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
