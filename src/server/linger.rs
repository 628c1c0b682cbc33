//! Sockets whose last words are on their way.
//!
//! Closing a socket that has unread input sends a reset, and a reset makes a peer lose words that it has not read
//! yet. So a socket that the server closes first lingers: its output has ended, what still arrives is thrown away,
//! and it is closed when its peer has ended too, or after a while: with a reset if the peer has not taken everything by
//! then, so that the kernel does not keep the rest for it. One thread does this for all of them, so neither
//! the accept loop nor a client's slot waits for it. (Known as lingering close in nginx.)

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::bell::{Bell, timespec_until};
use crate::panics;
use crate::socket::{Arrived, Socket};

/// A peer has this long to read its farewell and to close.
const PATIENCE: Duration = Duration::from_secs(5);

/// And as many bytes may still come from it: a request that was on its way, but not a flood.
const DROPPED_AT_MOST: usize = 16 << 20;

/// The patience with all of them together, once the server is done with everything else.
const PATIENCE_AT_END: Duration = Duration::from_millis(250);

/// The bell's number; those of sockets begin after it.
const BELL: u64 = 0;

pub(super) struct Linger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    capacity: usize,
    lingering: Mutex<Lingering>,
    /// Tells which sockets have something to be thrown away.
    epoll: OwnedFd,
    /// Rung for the first socket, whose deadline is to be kept, and for the end.
    bell: Bell,
}

#[derive(Default)]
struct Lingering {
    /// In the order in which they came, which is that of their deadlines.
    sockets: BTreeMap<u64, One>,
    last_number: u64,
    closing: bool,
}

struct One {
    socket: Arc<Socket>,
    deadline: Instant,
    /// How many bytes may still arrive.
    budget: usize,
    /// Not all of its output had left when it came.
    is_unsent: bool,
}

/// The way in: clients' threads and the accept loop hand over their sockets here.
#[derive(Clone)]
pub(super) struct Entrance(Arc<Shared>);

impl Linger {
    /// At most `capacity` sockets linger at once; then the oldest is closed for each new one.
    ///
    /// # Errors
    ///
    /// No descriptors, or no thread.
    pub(super) fn start(capacity: usize) -> io::Result<Linger> {
        let (epoll, bell) = (epoll::create(CreateFlags::CLOEXEC)?, Bell::new()?);
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
        let shared = Arc::new(Shared { capacity, lingering: Mutex::default(), epoll, bell });
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
        let is_unsent = !socket.has_all_left();
        socket.end_output();
        let shared = &*self.0;
        let watched = Arc::clone(&socket);
        let one = One { socket, deadline: Instant::now() + PATIENCE, budget: DROPPED_AT_MOST, is_unsent };
        let (number, is_first, oldest) = shared.lock().add(one, shared.capacity);
        shared.close(oldest);
        let is_watched = epoll::add(&shared.epoll, &*watched, EventData::new_u64(number), EventFlags::IN).is_ok();
        if !is_watched {
            // The kernel has no memory to watch it: it is closed as it is.
            let unwatched = shared.lock().sockets.remove(&number);
            shared.close(unwatched);
        } else if !shared.lock().sockets.contains_key(&number) {
            // It had to go before it was watched. Whoever still holds it must not keep it watched.
            let _ = epoll::delete(&shared.epoll, &*watched);
        }
        if is_first {
            shared.bell.ring();
        }
    }
}

impl Lingering {
    /// The new one's number, whether it is alone, and the oldest if it has to go.
    fn add(&mut self, one: One, capacity: usize) -> (u64, bool, Option<One>) {
        let oldest = if self.sockets.len() >= capacity { self.sockets.pop_first() } else { None };
        self.last_number += 1;
        self.sockets.insert(self.last_number, one);
        (self.last_number, self.sockets.len() == 1, oldest.map(|(_, one)| one))
    }

    /// Takes out one whose time is over.
    fn pop_expired(&mut self) -> Option<One> {
        self.sockets.first_entry().filter(|first| first.get().deadline <= Instant::now()).map(OccupiedEntry::remove)
    }
}

impl Shared {
    /// The thread: looks at a socket when something has arrived on it, or when its time is over.
    fn attend(&self) {
        let mut scratch = vec![0; 16 * 1024];
        loop {
            let deadline = {
                let lingering = self.lock();
                if lingering.closing {
                    break;
                }
                lingering.sockets.first_key_value().map(|(_, first)| first.deadline)
            };
            for number in self.wait(deadline) {
                if number == BELL {
                    self.bell.hush();
                } else {
                    self.drop_input(number, &mut scratch);
                }
            }
            while let Some(expired) = { self.lock().pop_expired() } {
                self.close(Some(expired));
            }
        }
        self.drain(&mut scratch);
    }

    /// Waits for input, for the bell, or for the deadline: the numbers of those that have something.
    fn wait(&self, deadline: Option<Instant>) -> Vec<u64> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        // Fails for signals only, and then there is nothing to be told.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), timespec_until(deadline).as_ref());
        events.iter().map(|event| event.data.u64()).collect()
    }

    /// Throws away what has arrived on a socket, and closes it if nothing more will. How many bytes there were.
    fn drop_input(&self, number: u64, scratch: &mut [u8]) -> usize {
        let Some(socket) = self.lock().sockets.get(&number).map(|one| Arc::clone(&one.socket)) else { return 0 };
        let arrived = socket.drop_input(scratch);
        let mut lingering = self.lock();
        let Some(one) = lingering.sockets.get_mut(&number) else { return 0 };
        match arrived {
            Arrived::Bytes(count) if count < one.budget => {
                one.budget -= count;
                return count;
            }
            // It may still read: it has until its deadline.
            Arrived::End if one.is_unsent => {
                drop(lingering);
                let _ = epoll::delete(&self.epoll, &*socket);
                return 0;
            }
            Arrived::Bytes(_) | Arrived::End => {}
        }
        let done = lingering.sockets.remove(&number);
        drop(lingering);
        self.close(done);
        0
    }

    /// The server ends: whoever is still sending gets a moment to see why.
    fn drain(&self, scratch: &mut [u8]) {
        let deadline = Instant::now() + PATIENCE_AT_END;
        let mut numbers: Vec<u64> = self.lock().sockets.keys().copied().collect();
        loop {
            numbers.retain(|number| self.drop_input(*number, scratch) > 0);
            if numbers.is_empty() || Instant::now() >= deadline {
                break;
            }
            self.wait(Some(deadline));
        }
        let rest = std::mem::take(&mut self.lock().sockets);
        rest.into_values().for_each(|one| self.close(Some(one)));
    }

    /// Closes a socket, or if another thread still holds it, at least watches it no more. What has not left is thrown
    /// away, or the kernel would keep it for minutes.
    fn close(&self, one: Option<One>) {
        if let Some(One { socket, is_unsent, .. }) = one {
            if is_unsent {
                socket.reset_on_close();
            }
            let _ = epoll::delete(&self.epoll, &*socket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lingering> {
        panics::lock(&self.lingering)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
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
        assert!(socket.send_farewell(b"last words"));
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
    fn what_has_not_left_when_the_time_is_over_is_thrown_away() {
        let linger = Linger::start(10).unwrap();
        let (mut client, socket) = pair();
        while socket.try_send(&[IoSlice::new(&[b'x'; 10_000])]).is_ok() {}
        let sent = socket.sent();
        let weak = Arc::downgrade(&socket);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        linger.entrance().close(socket);
        let start = Instant::now();
        while weak.strong_count() > 0 {
            assert!(start.elapsed() < 10 * PATIENCE);
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(start.elapsed() >= PATIENCE, "a client that sends no more may still read");
        let mut got = Vec::new();
        assert_eq!(client.read_to_end(&mut got).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!((got.len() as u64) < sent);
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
        let kept = || weak.iter().map(|socket| socket.strong_count() > 0).collect::<Vec<_>>();
        while kept() != [[false; 17].as_slice(), &[true; 3]].concat() {
            assert!(start.elapsed() < PATIENCE / 2, "the last three are kept, and not {:?}", kept());
            thread::park_timeout(Duration::from_millis(1));
        }
        drop(clients);
    }

    #[test]
    fn a_poisoned_lock_is_used_on() {
        let linger = Linger::start(10).unwrap();
        let shared = Arc::clone(&linger.shared);
        let panicked = thread::spawn(move || {
            let _held = shared.lingering.lock().unwrap();
            panic!("while holding the lock");
        });
        assert!(panicked.join().is_err());
        assert_words_arrive(close_with_words(&linger));
    }
}
