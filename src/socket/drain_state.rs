//! [`DrainState`]: whether other threads want one connection to drain or to close, and whether it keeps its input open in a
//! drain.
//!
//! The flags are sequentially consistent, as those of [`Shutdown`](crate::Shutdown) and of [`Socket`](super::Socket)'s
//! waiting thread are. So a thread that does not see a change before it waits is seen waiting by the thread that makes it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Default)]
pub(crate) struct DrainState {
    requested: AtomicBool,
    closing: AtomicBool,
    /// Why another thread ends this connection, in its words. Set before either flag.
    reason: OnceLock<String>,
    /// How many guards keep the input open.
    guards: AtomicUsize,
}

impl DrainState {
    /// Asks this connection to drain. The first reason stays.
    pub(crate) fn request(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Asks this connection to close. The first reason stays.
    pub(crate) fn request_close(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Why this connection is to close, if so.
    pub(crate) fn closing_reason(&self) -> Option<&str> {
        if self.closing.load(Ordering::SeqCst) { self.reason() } else { None }
    }

    pub(crate) fn add_guard(&self) {
        self.guards.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn remove_guard(&self) {
        self.guards.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether a guard keeps the input open.
    pub(crate) fn keeps_reading(&self) -> bool {
        self.guards.load(Ordering::SeqCst) > 0
    }
}
