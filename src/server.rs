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

use crate::connection::{Connection, Context, Socket};
use crate::handler::{Farewell, Handler, last_words};
use crate::limits::Limits;
use crate::shutdown::Shutdown;
use crate::totals::{Stats, Totals};

mod admission;
mod connections;
mod events;
mod linger;
mod listener;
mod system;
mod threads;

use admission::{Admission, Admitted};
use connections::Connections;
use events::Seldom;
use linger::{Entrance, Linger};
use listener::{Backoff, Listener, is_peers_fault};
use threads::Threads;

/// As many sockets linger at the most, to get their last words.
const LINGERING_AT_MOST: usize = 1024;

/// As many linger when descriptors are scarce: half of what is kept from clients.
const LINGERING_AT_LEAST: usize = 16;

/// A thread whose client was cut has this long to notice before the server gives up on it.
const CUT_GRACE: Duration = Duration::from_millis(50);

/// A TCP server that is bound, and will serve when it is [run](Server::run).
pub struct Server {
    listener: Listener,
    connections: Arc<Connections>,
    linger: Linger,
    context: Arc<Context>,
}

impl Server {
    /// Binds an address; clients can connect from now on, and wait to be served. A name is bound at every address
    /// that it stands for and that can be bound; the log says which could not. Port 0 is a free port:
    /// [`local_addr`](Server::local_addr) tells which.
    ///
    /// The process's soft limit on descriptors is raised to the hard one, and `max_connections` is lowered to what the
    /// system allows.
    ///
    /// # Errors
    ///
    /// The name can't be resolved, no address can be bound (`AddrInUse`, `PermissionDenied`, `AddrNotAvailable`), or a
    /// limit makes no sense (`InvalidInput`).
    pub fn bind(address: impl ToSocketAddrs, limits: Limits) -> io::Result<Server> {
        limits.check()?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in address.to_socket_addrs()? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let (listener, failed) = Listener::bind(&addresses, &limits)?;
        for address in listener.local_addrs() {
            events::bound(*address, None);
        }
        for (address, error) in &failed {
            events::bound(*address, Some(error));
        }

        let ceiling = system::ceiling();
        if ceiling.clients < limits.max_connections {
            events::lowered(limits.max_connections, &ceiling);
        }
        let capacity = limits.max_connections.min(ceiling.clients);
        let spare = ceiling.descriptors.saturating_sub(capacity) / 2;
        let linger = Linger::start(spare.clamp(LINGERING_AT_LEAST, LINGERING_AT_MOST))?;
        let context = Arc::new(Context {
            limits,
            shutdown: Shutdown::new()?,
            totals: Totals::default(),
            started: Instant::now(),
        });
        let connections = Connections::new(capacity, Arc::clone(&context));
        Ok(Server { listener, connections, linger, context })
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
        let Server { mut listener, connections, linger, context } = self;
        let threads = Threads::new(context.limits.stack_size);
        let mut admission = Admission {
            connections,
            handler: Arc::new(handler),
            linger: linger.entrance(),
            seldom: Seldom::default(),
            context,
            next_id: 1,
        };
        serve(&mut listener, &mut admission, &threads);
        let summary = drain(listener, &admission);
        drop(linger);
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
            Ok((stream, peer)) => match admission.admit(stream, peer) {
                Some(client) => hand_over(client, admission, threads),
                None => Ok(()),
            },
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
                admission.seldom.trouble(&error);
                backoff.pause(shutdown.bell());
            }
        }
    }
}

/// Gives a client to a thread, which serves it to its end.
///
/// # Errors
///
/// There is no thread; the client has been told.
fn hand_over(client: Admitted, admission: &Admission, threads: &Threads) -> io::Result<()> {
    let (socket, peer) = (Arc::clone(&client.socket), client.peer);
    let handler = Arc::clone(&admission.handler);
    let context = Arc::clone(&admission.context);
    let linger = admission.linger.clone();
    let job = Box::new(move || converse(client, handler, context, &linger));
    threads.run(job).inspect_err(|_| admission.refuse(socket, peer, Farewell::NoThread))
}

/// A client's thread: its conversation, from the first byte to the last words.
fn converse(client: Admitted, handler: Arc<dyn Handler>, context: Arc<Context>, linger: &Entrance) {
    let Admitted { id, peer, socket, slot } = client;
    context.totals.served.add(1);
    events::opened(id, peer);
    let mut connection = Connection::new(id, peer, socket, Arc::clone(&context));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&mut connection)));
    let (ended, lingering) = connection.finish(outcome, &*handler);
    ended.count(&context.totals);
    events::closed(&ended);
    // All that belongs to the client is given back before its slot: who waits for zero finds nothing in use.
    drop((handler, context));
    if let Some(socket) = lingering {
        linger.close(socket);
    }
    drop(slot);
}

/// Lets every client finish, at most until the drain deadline, and cuts the rest.
fn drain(mut listener: Listener, admission: &Admission) -> Summary {
    let Admission { connections, context, .. } = admission;
    let at_first = connections.len();
    events::draining(at_first, context.limits.drain_timeout);
    let deadline = Instant::now() + context.limits.drain_timeout;

    // Those who wait in the backlog are turned away in words. More may come while this goes on, hence the bound.
    for _ in 0..context.limits.backlog {
        let Ok((stream, peer)) = listener.accept() else { break };
        admission.refuse(Socket::new(stream), peer, Farewell::ShuttingDown);
    }
    drop(listener);
    for socket in connections.sockets() {
        socket.end_input();
    }
    wait_for_zero(connections, context, deadline, Shutdown::is_cut);

    let cut = connections.sockets();
    if !cut.is_empty() {
        events::cutting(cut.len());
        let words = last_words(&*admission.handler, Farewell::ShuttingDown);
        for socket in &cut {
            socket.cut(&words);
        }
        wait_for_zero(connections, context, Instant::now() + CUT_GRACE, |_| false);
    }
    Summary {
        drained: at_first.saturating_sub(cut.len()),
        cut: cut.len(),
        left: connections.len(),
        stats: context.totals.stats(),
        uptime: context.started.elapsed(),
    }
}

/// Waits until nobody is served, the deadline is over, or `hurry` says so.
fn wait_for_zero(connections: &Connections, context: &Context, deadline: Instant, hurry: impl Fn(&Shutdown) -> bool) {
    while connections.len() > 0 && Instant::now() < deadline && !hurry(&context.shutdown) {
        context.shutdown.bell().wait(deadline);
    }
}

/// How a server's life went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Clients that were connected when the drain began, and left by themselves.
    pub drained: usize,
    /// Clients that were cut.
    pub cut: usize,
    /// Of those that were cut, clients whose handler has still not returned: it computes, or waits for something that
    /// is not its client. Their threads end with the process.
    pub left: usize,
    /// What was done in all.
    pub stats: Stats,
    /// From binding to the end.
    pub uptime: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { drained, cut, stats, .. } = self;
        write!(f, "drained {drained}, cut {cut}; in all {} served, {} refused", stats.served, stats.refused)?;
        write!(f, ", {} panicked, {} bytes in, {} bytes out", stats.panicked, stats.bytes_in, stats.bytes_out)?;
        write!(f, ", up {:.1} s", self.uptime.as_secs_f64())
    }
}
