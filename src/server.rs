//! [`Server`]: binds, accepts, hands each client to a thread of its own, and drains.
//!
//! The life of a server is *serving → draining → closed*. While it serves, the accept loop waits in `poll` for a
//! client or for the bell of [`Shutdown`], and does nothing else than to accept, admit and hand over.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::bell::wait_for;
use crate::connection::{Connection, Context};
use crate::farewell::Farewell;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::shutdown::Shutdown;
use crate::socket::Socket;
use crate::totals::{Stats, Totals};

mod admission;
mod connections;
mod events;
mod farewells;
mod linger;
mod listener;
mod system;
mod threads;
mod throttle;

use admission::{Admission, Admitted};
use connections::Connections;
use events::RateLimitedLog;
use farewells::farewell_to;
use linger::{Entrance, Linger};
use listener::{Backoff, Listener, is_peers_fault};
pub use system::advice;
use threads::Threads;

/// At most this many sockets linger, to get their last words.
const LINGERING_AT_MOST: usize = 1024;

/// At least this many may, also when descriptors are scarce: half of what is kept from clients.
const LINGERING_AT_LEAST: usize = 16;

/// A thread whose client was cut has this long to notice before the server gives up on it.
const CUT_GRACE: Duration = Duration::from_millis(50);

/// A TCP server that is bound, and will serve when it is [run](Server::run).
pub struct Server {
    listener: Listener,
    connections: Arc<Connections>,
    linger: Linger,
    log: Arc<RateLimitedLog>,
    context: Arc<Context>,
}

impl Server {
    /// Binds an address; clients can connect from now on, and wait to be served. A name is bound at every address that
    /// it stands for, or not at all; only addresses that this machine lacks are left out, which the log says. Port 0 is a
    /// free port, the same one for all addresses of a name: [`local_addr`](Server::local_addr) tells which.
    ///
    /// The process's soft limit on descriptors is raised to the hard one, and `max_connections` is lowered to what the
    /// system allows. A socket option that the kernel does not know is a warning that says what is lost, but for
    /// `SO_RCVTIMEO`, on which deadlines rest.
    ///
    /// # Errors
    ///
    /// The name can't be resolved, an address of it can't be bound (`AddrInUse`, `PermissionDenied`, and
    /// `AddrNotAvailable` if this machine has none of them), there is no thread (`WouldBlock`) or no descriptor, which
    /// the message says what to do about, or a limit makes no sense (`InvalidInput`).
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
        let linger = Linger::start(spare.clamp(LINGERING_AT_LEAST, LINGERING_AT_MOST)).map_err(with_advice)?;
        let log = Arc::new(RateLimitedLog::new(full_because, limits.stack_size));
        let context = Arc::new(Context {
            shutdown: Shutdown::new().map_err(with_advice)?,
            limits,
            totals: Totals::default(),
            started: Instant::now(),
        });
        let connections = Connections::new(capacity, Arc::clone(&context));
        Ok(Server { listener, connections, linger, log, context })
    }

    /// How many clients are served at once: [`Limits::max_connections`], or fewer if the system allows no more.
    pub fn max_connections(&self) -> usize {
        self.connections.capacity()
    }

    /// The address that clients can connect to, with the real port; the first one, if a name stood for several.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs().first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// All addresses that clients can connect to.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listener.local_addrs()
    }

    /// The handle that ends this server.
    pub fn shutdown(&self) -> Shutdown {
        self.context.shutdown.clone()
    }

    /// Serves every client with `handler`, until [`Shutdown::request`]; then drains, and tells how it went. No error
    /// of a client, a handler or the system ends it before.
    pub fn run(self, handler: impl Handler) -> Summary {
        let Server { mut listener, connections, linger, log, context } = self;
        let threads = Threads::new(context.limits.stack_size);
        let mut admission =
            Admission { connections, handler: Arc::new(handler), linger: linger.entrance(), log, context, next_id: 1 };
        serve(&mut listener, &mut admission, &threads);
        let summary = drain(listener, &admission);
        drop(linger);
        admission.log.finish();
        events::ended(&summary);
        summary
    }
}

/// The accept loop. Ends when shutdown is requested, and for no other reason.
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.wait(shutdown.bell()),
            Err(error) if is_peers_fault(&error) => {
                events::gone(&error);
                Ok(())
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => backoff.recover(),
            Err(error) => {
                admission.log.trouble(&error);
                backoff.pause(shutdown.bell());
                if !shutdown.is_requested() {
                    // Without descriptors accept fails also when nobody is there to be accepted.
                    let _ = listener.wait(shutdown.bell());
                }
            }
        }
    }
}

/// Gives a client to a thread, which serves it to its end. If the system has none, the client is told so.
fn hand_over(client: Admitted, admission: &Admission, threads: &Threads) {
    let (socket, peer) = (Arc::clone(&client.socket), client.peer);
    let handler = Arc::clone(&admission.handler);
    let context = Arc::clone(&admission.context);
    let linger = admission.linger.clone();
    let log = Arc::clone(&admission.log);
    let job = Box::new(move || converse(client, handler, context, &linger, &log));
    if let Err(error) = threads.run(job) {
        admission.log.trouble(&error);
        admission.refuse(socket, peer, Farewell::NoThread);
    }
}

/// A client's thread: its conversation, from the first byte to the last words.
fn converse(
    client: Admitted,
    handler: Arc<dyn Handler>,
    context: Arc<Context>,
    linger: &Entrance,
    log: &RateLimitedLog,
) {
    let Admitted { id, peer, socket, slot, presence } = client;
    context.totals.served.add(1);
    events::opened(id, peer);
    let mut connection = Connection::new(id, peer, Arc::clone(&socket), Arc::clone(&context));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&mut connection)));
    let (ended, lingering) = connection.finish(outcome, |reason| farewell_to(&socket, &*handler, reason));
    drop(socket);
    ended.count(&context.totals);
    log.closed(&ended);
    // The place is free before the client sees the end of the connection, and all that belongs to it is given back
    // before the drain stops to wait for it.
    drop(slot);
    if let Some(socket) = lingering {
        linger.close(socket);
    }
    drop((handler, context));
    drop(presence);
}

/// Lets every client finish, at most until the drain deadline, and cuts the rest.
fn drain(listener: Listener, admission: &Admission) -> Summary {
    let Admission { connections, context, .. } = admission;
    events::draining(connections.present_at_drain(), context.limits.drain_timeout);
    let deadline = Instant::now() + context.limits.drain_timeout;
    refuse_backlog(listener, admission);
    ask_to_leave(connections, &context.shutdown, deadline);
    let cut = cut_the_rest(admission);
    let mut stats = context.totals.stats();
    // Those that are stuck in their handler will not be counted when they leave.
    for socket in connections.sockets() {
        stats.bytes_in += socket.received();
        stats.bytes_out += socket.sent();
    }
    Summary {
        drained: connections.present_at_drain().saturating_sub(cut),
        cut,
        stuck: connections.present(),
        stats,
        uptime: context.started.elapsed(),
    }
}

/// Turns those away in words who wait to be accepted. More may come while this goes on, hence the bound.
fn refuse_backlog(mut listener: Listener, admission: &Admission) {
    for _ in 0..admission.context.limits.backlog {
        match listener.accept() {
            Ok((stream, peer)) => admission.refuse(Socket::new(stream), peer, Farewell::ShuttingDown),
            Err(error) if is_peers_fault(&error) => events::gone(&error),
            Err(_) => break,
        }
    }
}

/// Cuts those who are busy, and has those leave who only wait. How many were cut.
fn cut_the_rest(admission: &Admission) -> usize {
    let Admission { connections, context, handler, .. } = admission;
    let (idle, busy): (Vec<_>, Vec<_>) = connections.sockets().into_iter().partition(|socket| socket.is_idle());
    idle.iter().for_each(|socket| socket.end_input());
    if !busy.is_empty() {
        events::cutting(busy.len());
        for socket in &busy {
            socket.cut(&farewell_to(socket, &**handler, Farewell::ShuttingDown));
        }
    }
    let deadline = Instant::now() + CUT_GRACE;
    while connections.present() > 0 && Instant::now() < deadline {
        context.shutdown.bell().wait(deadline);
    }
    busy.len()
}

/// Waits until nobody is present, the deadline is there, or a cut is asked for. Busy clients notice the drain by
/// themselves, when they would wait for input the next time. Those who wait already are woken by the end of their
/// input, each as soon as all that was written to it has left.
fn ask_to_leave(connections: &Connections, shutdown: &Shutdown, deadline: Instant) {
    let mut waiting = connections.sockets();
    waiting.retain(|socket| socket.is_waiting());
    waiting.iter().for_each(|socket| socket.report_when_sent());
    while connections.present() > 0 && Instant::now() < deadline && !shutdown.is_cut() {
        let mut fds = vec![PollFd::new(shutdown.bell(), PollFlags::IN)];
        fds.extend(waiting.iter().map(|socket| PollFd::new(&**socket, PollFlags::OUT)));
        let _ = wait_for(&mut fds, Some(deadline));
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        if ready.next() == Some(true) {
            shutdown.bell().hush();
        }
        waiting.retain(|socket| {
            let has_left = ready.next() != Some(false);
            if has_left {
                socket.end_input();
            }
            !has_left
        });
    }
}

/// How a server's life went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Clients that were connected when the drain began, and left before its deadline.
    pub drained: usize,
    /// Clients that were cut.
    pub cut: usize,
    /// Of those that were cut, clients whose handler has still not returned: it computes, or waits for something that
    /// is not its client. Their threads end with the process.
    pub stuck: usize,
    /// What was done in all.
    pub stats: Stats,
    /// From binding to the end.
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
