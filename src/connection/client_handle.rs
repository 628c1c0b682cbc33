//! [`ClientHandle`]: how other threads look at a client and end its connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::socket::Socket;

/// Looks at a client from another thread, and ends its connection: for lists of clients, and for an operator's commands.
///
/// [`Connection::handle`](crate::Connection::handle) returns it. Once the client has left, it does nothing, and it holds no
/// resources. To send to the client, use its [`Outbox`](crate::Outbox).
#[derive(Clone)]
pub struct ClientHandle {
    id: u64,
    peer: SocketAddr,
    opened: Instant,
    socket: Weak<Socket>,
}

impl ClientHandle {
    pub(crate) fn new(id: u64, peer: SocketAddr, opened: Instant, socket: &Arc<Socket>) -> ClientHandle {
        ClientHandle { id, peer, opened, socket: Arc::downgrade(socket) }
    }

    /// The number of the connection.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// How long ago the client connected.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Bytes received from the client so far; 0 once it has left.
    pub fn bytes_in(&self) -> u64 {
        self.socket.upgrade().map_or(0, |socket| socket.bytes_received())
    }

    /// Bytes sent to the client so far; 0 once it has left.
    pub fn bytes_out(&self) -> u64 {
        self.socket.upgrade().map_or(0, |socket| socket.bytes_accepted())
    }

    /// Whether the client is still connected.
    pub fn is_open(&self) -> bool {
        self.socket.strong_count() > 0
    }

    /// Whether the client's handler waits for it, and nothing is on its way to it in part.
    pub fn is_idle(&self) -> bool {
        self.socket.upgrade().is_some_and(|socket| socket.is_idle())
    }

    /// Lets the client finish, as a drain of the server does: requests that have arrived whole are answered, and then the input
    /// ends. The client gets the farewell for [`FarewellReason::ServerClosed`](crate::FarewellReason::ServerClosed). `reason` is for the log. There
    /// is no deadline: [`cut`](ClientHandle::cut) a client that takes too long. Never waits.
    ///
    /// ```
    /// use acceptd::Echo;
    /// use acceptd::testing::TestServer;
    ///
    /// let server = TestServer::start(Echo);
    /// let mut client = server.connect();
    /// client.send("hi");
    /// client.expect("hi");
    /// for handle in server.clients() {
    ///     handle.drain("closed by the operator");
    /// }
    /// client.expect("ERROR the server closes this connection\n");
    /// client.expect_end();
    /// ```
    pub fn drain(&self, reason: impl Into<String>) {
        if let Some(socket) = self.socket.upgrade() {
            socket.drain_state().request(reason.into());
            socket.begin_drain();
        }
    }

    /// Ends the connection at once. The client gets `farewell`, which may be empty; in the middle of a message the connection is
    /// reset instead. The end of a message that the client has read may not have reached the handler yet: see
    /// [`is_idle`](ClientHandle::is_idle). The handler finds out when it reads or writes next: [`EndReason::Cut`](crate::EndReason::Cut). Never
    /// waits.
    pub fn cut(&self, farewell: impl AsRef<[u8]>) {
        if let Some(socket) = self.socket.upgrade() {
            socket.cut(farewell.as_ref());
        }
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandle").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}
