//! [`Paired`]: how a test ends a connection that has no server.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::shutdown::Shutdown;
use crate::socket::Socket;

/// The server's part of ending a connection, for one that has no server.
pub(super) struct Paired {
    socket: Weak<Socket>,
    shutdown: Shutdown,
}

impl Paired {
    pub(super) fn new(socket: &Arc<Socket>, shutdown: Shutdown) -> Paired {
        Paired { socket: Arc::downgrade(socket), shutdown }
    }

    pub(super) fn drain(&self) {
        self.shutdown.request();
        if let Some(socket) = self.socket.upgrade() {
            socket.begin_drain();
        }
    }

    pub(super) fn cut(&self, farewell: &[u8]) {
        self.shutdown.cut();
        if let Some(socket) = self.socket.upgrade() {
            socket.cut(farewell);
        }
    }
}

impl fmt::Debug for Paired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paired").finish_non_exhaustive()
    }
}
