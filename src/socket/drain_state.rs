//! [`DrainState`]: whether one connection drains by itself, and whether it keeps its input open while the server drains.
//!
//! The flags are sequentially consistent, as those of [`Shutdown`](crate::Shutdown) and of [`Socket`](super::Socket)'s
//! waiting thread are. So a thread that does not see a change before it waits is seen waiting by the thread that makes it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Default)]
pub(crate) struct DrainState {
    requested: AtomicBool,
    /// Why another thread has ended this connection, in its words.
    reason: OnceLock<String>,
    /// How many guards keep the input open.
    guards: AtomicUsize,
}

impl DrainState {
    /// Asks this connection to drain, for the reason that was noted.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Notes why another thread ends this connection. The first reason stays.
    pub(crate) fn note_reason(&self, reason: String) {
        let _ = self.reason.set(reason);
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    pub(crate) fn add_guard(&self) {
        self.guards.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns whether this was the last guard.
    pub(crate) fn remove_guard(&self) -> bool {
        self.guards.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Whether a guard keeps the input open.
    pub(crate) fn is_held_off(&self) -> bool {
        self.guards.load(Ordering::SeqCst) > 0
    }
}
