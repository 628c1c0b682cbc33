//! Sockets whose last words are on their way.
//!
//! Closing a socket that has unread input sends a reset, and a reset makes a peer lose words that it has not read yet.
//! So a socket that the server closes first lingers: its output has ended, what still arrives is thrown away, and it is closed
//! when its peer has ended too, or after a while. One thread does this for all of them, so neither the accept loop nor a client's
//! slot waits for it. (Known as lingering close in nginx.)

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::bell::{Bell, wait_for};
use crate::connection::{Arrived, Socket};

/// A peer has this long to read its last words and to close.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same, for all of them together, once the server is done with everything else.
const PATIENCE_AT_END: Duration = Duration::from_millis(250);

pub(super) struct Linger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    capacity: usize,
    queue: Mutex<Queue>,
    bell: Bell,
}

#[derive(Default)]
struct Queue {
    arriving: Vec<Lingering>,
    closing: bool,
}

struct Lingering {
    socket: Arc<Socket>,
    deadline: Instant,
}

/// A clone-able way in: clients' threads hand over their sockets here.
#[derive(Clone)]
pub(super) struct Entrance(Arc<Shared>);

impl Linger {
    /// At most `capacity` sockets linger at once; then the oldest is closed for each new one.
    ///
    /// # Errors
    ///
    /// No descriptors for the bell, or no thread.
    pub(super) fn start(capacity: usize) -> io::Result<Linger> {
        let shared = Arc::new(Shared { capacity, queue: Mutex::default(), bell: Bell::new()? });
        let for_thread = Arc::clone(&shared);
        let builder = thread::Builder::new().name("linger".into()).stack_size(64 * 1024);
        let thread = builder.spawn(move || for_thread.attend())?;
        Ok(Linger { shared, thread: Some(thread) })
    }

    pub(super) fn entrance(&self) -> Entrance {
        Entrance(Arc::clone(&self.shared))
    }
}

impl Drop for Linger {
    /// Closes what lingers: at once where nothing more arrives, else after a short while.
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Entrance {
    /// Ends the socket's output, and closes it when that does no harm.
    pub(super) fn close(&self, socket: Arc<Socket>) {
        socket.end_output();
        let deadline = Instant::now() + PATIENCE;
        let oldest = {
            let mut queue = self.0.lock();
            queue.arriving.push(Lingering { socket, deadline });
            (queue.arriving.len() > self.0.capacity).then(|| queue.arriving.swap_remove(0))
        };
        drop(oldest);
        self.0.bell.ring();
    }
}

impl Shared {
    /// The thread: looks at a socket when something has arrived on it, or when its time is over.
    fn attend(&self) {
        let mut lingering: Vec<Lingering> = Vec::new();
        let mut scratch = vec![0; 16 * 1024];
        loop {
            let closing = {
                let mut queue = self.lock();
                lingering.append(&mut queue.arriving);
                queue.closing
            };
            if closing {
                return drain(lingering, &mut scratch);
            }
            let too_many = lingering.len().saturating_sub(self.capacity);
            lingering.drain(..too_many);
            let mut ready = self.wait(&lingering).into_iter();
            let now = Instant::now();
            lingering.retain(|one| match ready.next() {
                Some(true) => now < one.deadline && one.socket.drop_input(&mut scratch) != Arrived::End,
                Some(false) => now < one.deadline,
                None => false,
            });
        }
    }

    /// Waits for the bell, for input, or for the first deadline. Which sockets have something; none at all if the system
    /// can't say.
    fn wait(&self, lingering: &[Lingering]) -> Vec<bool> {
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        fds.extend(lingering.iter().map(|one| PollFd::new(&*one.socket, PollFlags::IN)));
        if wait_for(&mut fds, lingering.iter().map(|one| one.deadline).min()).is_err() {
            return Vec::new();
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            self.bell.hush();
        }
        ready.collect()
    }

    /// A panic while the lock is held leaves a whole queue behind: each change is one push or one append.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server ends: whoever is still sending gets a moment to see why.
fn drain(mut lingering: Vec<Lingering>, scratch: &mut [u8]) {
    let deadline = Instant::now() + PATIENCE_AT_END;
    loop {
        lingering.retain(|one| one.socket.drop_input(scratch) == Arrived::Something);
        if lingering.is_empty() || Instant::now() >= deadline {
            return;
        }
        let mut fds: Vec<PollFd<'_>> = lingering.iter().map(|one| PollFd::new(&*one.socket, PollFlags::IN)).collect();
        let _ = wait_for(&mut fds, Some(deadline));
    }
}
