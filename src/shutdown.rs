//! How a running server is told to end: first *drain*, which lets clients finish, then *cut*, which does not.
//!
//! The phases of a server are *serving → draining → closed*. [`Shutdown::request`] begins the drain; it ends when the
//! last client has left, when the drain deadline is over, or when [`Shutdown::cut`] is called.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bell::Bell;

/// Ends a [`Server`](crate::Server) from anywhere: a signal handler's thread, a test, one of its own clients.
///
/// It is a handle: clones end the same server. Asking for what has been asked for already does nothing.
#[derive(Clone)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

struct Shared {
    requested: AtomicBool,
    cut: AtomicBool,
    bell: Bell,
}

impl Shutdown {
    pub(crate) fn new() -> io::Result<Shutdown> {
        let shared = Shared { requested: AtomicBool::new(false), cut: AtomicBool::new(false), bell: Bell::new()? };
        Ok(Shutdown { shared: Arc::new(shared) })
    }

    /// Stops accepting, and lets clients finish what they have begun, at most
    /// [`Limits::drain_timeout`](crate::Limits::drain_timeout) long.
    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::SeqCst);
        self.shared.bell.ring();
    }

    /// Cuts every client at once, instead of waiting for the drain deadline. Includes [`request`](Shutdown::request).
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Release);
        self.request();
    }

    /// Whether the server has been asked to end: requested, which is not yet finished.
    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// Whether somebody has asked to cut the clients, rather than to wait for them.
    pub fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::Acquire)
    }

    /// Rings at each call above, and when the last client leaves during a drain.
    pub(crate) fn bell(&self) -> &Bell {
        &self.shared.bell
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("requested", &self.is_requested()).field("cut", &self.is_cut()).finish()
    }
}
