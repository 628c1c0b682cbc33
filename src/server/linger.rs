//! Sockets whose last words are on their way.
//!
//! Closing a socket that has unread input sends a reset, and a reset makes a peer lose words that it has not read
//! yet. So a socket that the server closes first lingers: its output has ended, what still arrives is thrown away,
//! and it is closed when its peer has ended too, or after a while. One thread does this for all of them, so neither
//! the accept loop nor a client's slot waits for it. (Known as lingering close in nginx.)

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::bell::{Bell, wait_for};
use crate::connection::{Arrived, Socket};

/// A peer has this long to read its last words and to close.
const PATIENCE: Duration = Duration::from_secs(2);

/// And as many bytes may still come from it: a request that was on its way, but not a flood.
const DROPPED_AT_MOST: usize = 16 << 20;

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
    /// How many bytes may still arrive.
    budget: usize,
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
            queue.arriving.push(Lingering { socket, deadline, budget: DROPPED_AT_MOST });
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
            lingering.retain_mut(|one| match ready.next() {
                Some(true) => now < one.deadline && one.drop_input(&mut scratch),
                Some(false) => now < one.deadline,
                None => false,
            });
        }
    }

    /// Waits for the bell, for input, or for the first deadline. Which sockets have something; none at all if the
    /// system can't say.
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

impl Lingering {
    /// Whether there is still something to wait for.
    fn drop_input(&mut self, scratch: &mut [u8]) -> bool {
        match self.socket.drop_input(scratch) {
            Arrived::Bytes(count) => {
                self.budget = self.budget.saturating_sub(count);
                self.budget > 0
            }
            Arrived::End => false,
        }
    }
}

/// The server ends: whoever is still sending gets a moment to see why.
fn drain(mut lingering: Vec<Lingering>, scratch: &mut [u8]) {
    let deadline = Instant::now() + PATIENCE_AT_END;
    loop {
        lingering.retain(|one| matches!(one.socket.drop_input(scratch), Arrived::Bytes(1..)));
        if lingering.is_empty() || Instant::now() >= deadline {
            return;
        }
        let mut fds: Vec<PollFd<'_>> = lingering.iter().map(|one| PollFd::new(&*one.socket, PollFlags::IN)).collect();
        let _ = wait_for(&mut fds, Some(deadline));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A client's end, and the server's.
    fn pair() -> (TcpStream, Arc<Socket>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (client, Socket::new(listener.accept().unwrap().0))
    }

    fn close_with_words(linger: &Linger) -> TcpStream {
        let (mut client, socket) = pair();
        client.write_all(&[b'x'; 5000]).unwrap();
        assert!(socket.say_last(b"last words"));
        linger.entrance().close(socket);
        client
    }

    fn assert_words_arrive(mut client: TcpStream) {
        client.write_all(&[b'x'; 5000]).unwrap();
        let mut words = String::new();
        client.read_to_string(&mut words).unwrap();
        assert_eq!(words, "last words");
    }

    #[test]
    fn last_words_arrive_although_input_was_never_read() {
        let linger = Linger::start(10).unwrap();
        let clients: Vec<TcpStream> = (0..10).map(|_| close_with_words(&linger)).collect();
        clients.into_iter().for_each(assert_words_arrive);
    }

    #[test]
    fn a_socket_is_closed_when_its_peer_stays() {
        let linger = Linger::start(10).unwrap();
        let (client, socket) = pair();
        let weak = Arc::downgrade(&socket);
        let start = Instant::now();
        linger.entrance().close(socket);
        while weak.strong_count() > 0 {
            assert!(start.elapsed() < 10 * PATIENCE);
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(start.elapsed() >= PATIENCE);
        drop(client);
    }

    #[test]
    fn the_end_waits_for_nobody_who_is_silent() {
        let linger = Linger::start(10).unwrap();
        let (_client, socket) = pair();
        linger.entrance().close(socket);
        let start = Instant::now();
        drop(linger);
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    }

    #[test]
    fn no_more_than_the_capacity_linger() {
        let linger = Linger::start(3).unwrap();
        let (clients, sockets): (Vec<_>, Vec<_>) = (0..20).map(|_| pair()).unzip();
        let weak: Vec<_> = sockets.iter().map(Arc::downgrade).collect();
        sockets.into_iter().for_each(|socket| linger.entrance().close(socket));
        let start = Instant::now();
        while weak.iter().filter(|socket| socket.strong_count() > 0).count() > 3 {
            assert!(start.elapsed() < PATIENCE / 2, "more than three are kept");
            thread::park_timeout(Duration::from_millis(1));
        }
        drop(clients);
    }

    #[test]
    fn a_poisoned_lock_is_used_on() {
        let linger = Linger::start(10).unwrap();
        let shared = Arc::clone(&linger.shared);
        let panicked = thread::spawn(move || {
            let _held = shared.queue.lock().unwrap();
            panic!("while holding the lock");
        });
        assert!(panicked.join().is_err());
        assert_words_arrive(close_with_words(&linger));
    }
}
