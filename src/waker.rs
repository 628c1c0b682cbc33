//! [`Waker`]: how other threads wake a client's own thread while it waits for its client.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::event_fd::EventFd;

/// Wakes a handler that waits for its client, because something else has happened: a job has come, an upstream has
/// answered, there is room again.
///
/// [`Connection::waker`](crate::Connection::waker) returns it. Hand it to the threads that may have news for the handler. The
/// handler waits in [`read_request_until`](crate::Connection::read_request_until),
/// [`read_line_until`](crate::Connection::read_line_until) or [`pause`](crate::Connection::pause), which return `Woken`:
///
/// ```
/// use acceptd::{Connection, Next, Waker};
/// use std::io::{self, Write};
/// use std::sync::{Arc, Mutex};
///
/// /// A job, and the handler that waits for one.
/// #[derive(Default)]
/// struct Shared {
///     job: Option<String>,
///     worker: Option<Waker>,
/// }
///
/// fn work(client: &mut Connection, shared: &Mutex<Shared>) -> io::Result<()> {
///     // Look and register under one lock, so that no job slips in between.
///     let waker = client.waker()?;
///     loop {
///         let job = {
///             let mut shared = shared.lock().unwrap();
///             shared.worker = Some(waker.clone());
///             shared.job.take()
///         };
///         if let Some(job) = job {
///             writeln!(client, "do {job}")?;
///         }
///         match client.read_line_until(None)? {
///             Next::Request(done) => writeln!(client, "thanks for {}", String::from_utf8_lossy(&done))?,
///             // Look again: a wake says that something may have changed, not what.
///             Next::Woken | Next::Deadline => {}
///             Next::End | Next::Draining => return Ok(()),
///         }
///     }
/// }
///
/// fn put(job: String, shared: &Mutex<Shared>) {
///     let worker = {
///         let mut shared = shared.lock().unwrap();
///         shared.job = Some(job);
///         shared.worker.take()
///     };
///     // After the lock is released.
///     if let Some(worker) = worker {
///         worker.wake();
///     }
/// }
/// # let shared = Arc::new(Mutex::new(Shared::default()));
/// # put("x".into(), &shared);
/// # let _: Box<dyn acceptd::Handler> = Box::new(move |client: &mut Connection| work(client, &shared));
/// ```
///
/// It is a handle: all clones wake the same handler. Once the client has left, it wakes nobody and holds no resources.
#[derive(Clone)]
pub struct Waker(Weak<Wakeup>);

impl Waker {
    /// Wakes the handler. Never waits. If the handler isn't waiting now, its next wait that can report a wake returns at once.
    /// Several wakes before that are reported once.
    pub fn wake(&self) {
        if let Some(wakeup) = self.0.upgrade() {
            wakeup.wake();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

/// What a client's own thread polls beside its socket.
pub(crate) struct Wakeup {
    event: EventFd,
    /// A [`Waker`] was used, and the handler has not been told yet.
    woken: AtomicBool,
    /// The thread is to look once more at what it waits for.
    interrupted: AtomicBool,
}

impl Wakeup {
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub(crate) fn new() -> io::Result<Arc<Wakeup>> {
        Ok(Arc::new(Wakeup {
            event: EventFd::new()?,
            woken: AtomicBool::default(),
            interrupted: AtomicBool::default(),
        }))
    }

    pub(crate) fn waker(self: &Arc<Wakeup>) -> Waker {
        Waker(Arc::downgrade(self))
    }

    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Has the thread's wait, or its next one that can, report a wake to the handler.
    pub(crate) fn wake(&self) {
        // Release: the woken thread sees what this thread has done before.
        self.woken.store(true, Ordering::Release);
        self.event.notify();
    }

    /// Ends the thread's wait, or its next one, without a report to the handler.
    pub(crate) fn interrupt(&self) {
        // Release: the thread sees what has changed before.
        self.interrupted.store(true, Ordering::Release);
        self.event.notify();
    }

    /// Whether a wait is to end now. True until [`take_woken`](Wakeup::take_woken) is called, and once for an interrupt.
    pub(crate) fn ends_wait(&self) -> bool {
        // Acquire, as below.
        self.woken.load(Ordering::Acquire) || self.interrupted.swap(false, Ordering::Acquire)
    }

    /// Whether a [`Waker`] was used since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        // Acquire: this thread sees what the waking thread has done before.
        self.woken.load(Ordering::Acquire) && self.woken.swap(false, Ordering::Acquire)
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
