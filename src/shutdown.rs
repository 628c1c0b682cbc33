//! How a running server is stopped: a *drain* lets clients finish, and a *cut* does not.
//!
//! The phases of a server are *serving → draining → closed*. [`Shutdown::request`] begins the drain, which ends when the
//! last client has left, at the drain deadline, or when [`Shutdown::cut`] is called. [`Shutdown::stop_accepting`] closes
//! the port before that, and changes nothing for the clients.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event_fd::EventFd;

/// Ends a [`Server`](crate::Server) from anywhere: a signal handler's thread, a test, one of its own clients.
///
/// It is a handle: all clones end the same server. Calling a method again does nothing.
#[derive(Clone)]
pub struct Shutdown {
    shared: Arc<ShutdownState>,
}

struct ShutdownState {
    accepting_stopped: AtomicBool,
    requested: AtomicBool,
    cut_requested: AtomicBool,
    event: EventFd,
}

impl Shutdown {
    pub(crate) fn new() -> io::Result<Shutdown> {
        let shared = ShutdownState {
            accepting_stopped: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            cut_requested: AtomicBool::new(false),
            event: EventFd::new()?,
        };
        Ok(Shutdown { shared: Arc::new(shared) })
    }

    /// Closes the port, and lets the clients that are connected go on without a deadline. The server ends when the last of them
    /// has left. [`request`](Shutdown::request) drains those that are still connected. This is for clients whose work takes
    /// longer than a drain may.
    ///
    /// ```
    /// use acceptd::{Echo, Limits, Server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0", Limits::default())?.spawn(Echo)?;
    /// server.shutdown().stop_accepting();
    /// // Waits for the clients that are still connected. None is.
    /// println!("{}", server.join());
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop_accepting(&self) {
        // Sequentially consistent, as below: the accept loop either sees that the last client has left, or is notified of it.
        self.shared.accepting_stopped.store(true, Ordering::SeqCst);
        self.shared.event.notify();
    }

    /// Whether the server accepts no more clients.
    pub fn is_accepting_stopped(&self) -> bool {
        // See `stop_accepting`.
        self.shared.accepting_stopped.load(Ordering::SeqCst) || self.is_requested()
    }

    /// Begins the drain: the server stops accepting. Requests that have arrived whole are answered, and replies are
    /// delivered, for at most [`Limits::drain_timeout`](crate::Limits::drain_timeout). Half a request is dropped, unless the
    /// handler [keeps reading](crate::Connection::keep_reading). The [guide](crate::guide#draining) has the steps.
    pub fn request(&self) {
        // Sequentially consistent with the waiting flag of a client's socket: either the drain sees that the client's
        // thread waits, or that thread sees the drain.
        self.shared.requested.store(true, Ordering::SeqCst);
        self.shared.event.notify();
    }

    /// Ends the drain at once, instead of at its deadline. Includes [`request`](Shutdown::request). Clients whose handler is busy
    /// are cut. A handler that waits finds the end of its input, even if it keeps reading, and has 50 ms to return.
    pub fn cut(&self) {
        // Release: a thread that sees the cut sees the request as well.
        self.shared.cut_requested.store(true, Ordering::Release);
        self.request();
    }

    /// Whether shutdown was requested. It may not be finished.
    pub fn is_requested(&self) -> bool {
        // See `request`.
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// Whether a cut was requested.
    pub fn is_cut(&self) -> bool {
        // See `cut`.
        self.shared.cut_requested.load(Ordering::Acquire)
    }

    /// Notified by each call above, and when the last client leaves during a drain.
    pub(crate) fn event(&self) -> &EventFd {
        &self.shared.event
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("requested", &self.is_requested()).field("cut", &self.is_cut()).finish()
    }
}
