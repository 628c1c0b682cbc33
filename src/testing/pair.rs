//! A connection without a server. It is a real TCP connection of this machine, so deadlines, resets and what the kernel holds
//! are those of a server.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::event::PollFlags;

use super::paired::Paired;
use super::{PATIENCE, TestClient};
use crate::connection::{ClosedConnection, Connection, ConnectionContext};
use crate::event_fd::EventFd;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::server::{Listener, serve_connection};
use crate::shutdown::Shutdown;
use crate::socket::{Arrived, Socket};
use crate::totals::Totals;

/// The number of the next pair: handlers may tell their clients apart by it.
static PAIRS: AtomicU64 = AtomicU64::new(1);

impl Connection {
    /// A connection without a server, and its client: see [`testing`](crate::testing). Its limits are these alone. Pass what
    /// [`Handler::limits`] returns if the handler has its own.
    ///
    /// # Errors
    ///
    /// A limit makes no sense, or the system gives no socket.
    pub fn pair(limits: Limits) -> io::Result<(Connection, TestClient)> {
        limits.check()?;
        let mut listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], &limits)?;
        let address = listener.local_addrs().first().copied().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let client = TcpStream::connect(address)?;
        listener.wait(&EventFd::new()?)?;
        let (stream, peer) = listener.accept()?;
        let socket = Socket::new(stream);
        let shutdown = Shutdown::new()?;
        let paired = Paired::new(&socket, shutdown.clone());
        let context = Arc::new(ConnectionContext {
            receive_timeout: limits.idle_timeout,
            shutdown,
            totals: Totals::default(),
            started: Instant::now(),
        });
        let connection =
            Connection::new(PAIRS.fetch_add(1, Ordering::Relaxed), peer, socket, Arc::new(limits), context);
        Ok((connection, TestClient::new(client, Some(paired))?))
    }

    /// Serves this connection of a [pair](Connection::pair) with `handler`, from the first byte to the farewell, as a server
    /// does. A panic of the handler is caught.
    pub fn serve(self, handler: &impl Handler) -> ClosedConnection {
        let (closed, lingering) = serve_connection(self, handler);
        if let Some(socket) = lingering {
            socket.end_output();
            // The test may be single-threaded, so it must not wait here. Without a thread, the client may be reset.
            let _ = thread::Builder::new().spawn(move || linger(&socket));
        }
        closed
    }
}

/// Discards what the client sends, until it closes.
fn linger(socket: &Socket) {
    let deadline = Instant::now() + PATIENCE;
    let mut scratch = [0; 4096];
    while Instant::now() < deadline && socket.drop_input(&mut scratch) != Arrived::End {
        if socket.wait(PollFlags::IN, Some(deadline)).is_err() {
            return;
        }
    }
}
