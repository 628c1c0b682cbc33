//! [`ServerHandle`]: how other threads look at a server. [`RunningServer`]: a server that runs on a thread of its own.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Summary;
use super::connections::Connections;
use super::listener::first_of;
use crate::connection::{ClientHandle, ConnectionContext};
use crate::shutdown::Shutdown;
use crate::totals::Stats;

/// Looks at a server from another thread, while it runs: for metrics, health checks and an operator's commands.
///
/// [`Server::handle`](crate::Server::handle) returns it. Keep it as long as you like: after the server's end it tells the
/// last state.
#[derive(Clone)]
pub struct ServerHandle {
    addresses: Arc<[SocketAddr]>,
    connections: Arc<Connections>,
    context: Arc<ConnectionContext>,
}

impl ServerHandle {
    pub(super) fn new(
        addresses: &[SocketAddr],
        connections: &Arc<Connections>,
        context: &Arc<ConnectionContext>,
    ) -> ServerHandle {
        ServerHandle { addresses: addresses.into(), connections: Arc::clone(connections), context: Arc::clone(context) }
    }

    /// All addresses that clients can connect to, with the real port.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of these addresses.
    pub fn local_addr(&self) -> SocketAddr {
        first_of(&self.addresses)
    }

    /// The server's counters.
    pub fn stats(&self) -> Stats {
        self.context.totals.stats()
    }

    /// How long ago the server was bound.
    pub fn uptime(&self) -> Duration {
        self.context.started.elapsed()
    }

    /// The clients that are being served at this moment, in the order of their numbers.
    pub fn clients(&self) -> Vec<ClientHandle> {
        let mut clients = self.connections.clients();
        clients.sort_by_key(ClientHandle::id);
        clients
    }

    /// The handle that stops the server.
    pub fn shutdown(&self) -> Shutdown {
        self.context.shutdown.clone()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// A server that runs on a thread of its own: see [`Server::spawn`](crate::Server::spawn). Dropping it lets the server run.
#[derive(Debug)]
pub struct RunningServer {
    handle: ServerHandle,
    thread: JoinHandle<Summary>,
}

impl RunningServer {
    pub(super) fn new(handle: ServerHandle, thread: JoinHandle<Summary>) -> RunningServer {
        RunningServer { handle, thread }
    }

    /// Begins the drain, waits for the server's end, and returns what the server has done.
    pub fn stop(self) -> Summary {
        self.shutdown().request();
        self.join()
    }

    /// Waits for the server's end, which somebody else has to request.
    pub fn join(self) -> Summary {
        // Nothing in the server's own thread panics because of a client or a handler. If it does, so does the caller.
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Deref for RunningServer {
    type Target = ServerHandle;

    fn deref(&self) -> &ServerHandle {
        &self.handle
    }
}
