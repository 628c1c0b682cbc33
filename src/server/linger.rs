//! Lingering close: sockets whose farewells are still on their way.
//!
//! Closing a socket with unread input sends a reset, and a reset makes the peer lose what it has not read yet. So a socket
//! that the server closes first lingers: its output has ended, its input is discarded, and it is closed when the peer has
//! closed too, or at a deadline. A peer that has not taken everything by then is reset, so that the kernel does not keep
//! the rest. One thread serves all lingering sockets. Neither the accept loop nor a client's slot waits for them. (nginx
//! has the same, as `lingering_close`.)

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::event_fd::{EventFd, timespec_until};
use crate::panics;
use crate::socket::{Arrived, Socket};

/// A peer has this long to read its farewell and to close.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer may still send this many bytes: the rest of a request, but not a flood.
const MAX_DISCARDED: usize = 16 << 20;

/// All sockets together have this long once the server is done with everything else.
const FINAL_LINGER_TIMEOUT: Duration = Duration::from_millis(250);

/// The event's number. Sockets get higher ones.
const EVENT: u64 = 0;

pub(super) struct Linger {
    shared: Arc<LingerQueue>,
    thread: Option<JoinHandle<()>>,
}

struct LingerQueue {
    capacity: usize,
    lingering: Mutex<Lingering>,
    /// Reports sockets with input to discard.
    epoll: OwnedFd,
    /// Wakes the thread: for the first socket, because it sets a deadline, and for the end.
    event: EventFd,
}

#[derive(Default)]
struct Lingering {
    /// In the order of arrival, which is the order of their deadlines.
    sockets: BTreeMap<u64, LingeringSocket>,
    last_number: u64,
    closing: bool,
}

struct LingeringSocket {
    socket: Arc<Socket>,
    deadline: Instant,
    /// How many more bytes the peer may send.
    budget: usize,
    /// Some of its output had not left when it began to linger.
    is_unsent: bool,
}

/// Hands sockets over, from clients' threads and from the accept loop.
#[derive(Clone)]
pub(super) struct LingerHandle(Arc<LingerQueue>);

impl Linger {
    /// At most `capacity` sockets linger at once. Beyond that, each new one replaces the oldest.
    ///
    /// # Errors
    ///
    /// The system has no descriptor or no thread left.
    pub(super) fn start(capacity: usize) -> io::Result<Linger> {
        let (epoll, event) = (epoll::create(CreateFlags::CLOEXEC)?, EventFd::new()?);
        epoll::add(&epoll, &event, EventData::new_u64(EVENT), EventFlags::IN)?;
        let shared = Arc::new(LingerQueue { capacity, lingering: Mutex::default(), epoll, event });
        let for_thread = Arc::clone(&shared);
        let builder = thread::Builder::new().name("linger".into()).stack_size(64 * 1024);
        let thread = builder.spawn(move || for_thread.run())?;
        Ok(Linger { shared, thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> LingerHandle {
        LingerHandle(Arc::clone(&self.shared))
    }
}

impl Drop for Linger {
    /// Closes all sockets: at once if nothing more arrives on them, else after a short while.
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.event.notify();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LingerHandle {
    /// Ends the socket's output, and closes the socket when the peer has closed, or at its deadline.
    pub(super) fn close(&self, socket: Arc<Socket>) {
        let is_unsent = !socket.has_all_left();
        socket.end_output();
        let shared = &*self.0;
        let watched = Arc::clone(&socket);
        let one =
            LingeringSocket { socket, deadline: Instant::now() + LINGER_TIMEOUT, budget: MAX_DISCARDED, is_unsent };
        let (number, is_first, oldest) = shared.lock().add(one, shared.capacity);
        shared.close(oldest);
        let is_watched = epoll::add(&shared.epoll, &*watched, EventData::new_u64(number), EventFlags::IN).is_ok();
        if !is_watched {
            // The kernel has no memory to watch the socket, so it is closed at once.
            let unwatched = shared.lock().sockets.remove(&number);
            shared.close(unwatched);
        } else if !shared.lock().sockets.contains_key(&number) {
            // It was evicted before it was watched. Another thread may hold it still, so it must not stay watched.
            let _ = epoll::delete(&shared.epoll, &*watched);
        }
        if is_first {
            shared.event.notify();
        }
    }
}

impl Lingering {
    /// Returns the new socket's number, whether it is the only one, and the oldest socket if that is evicted.
    fn add(&mut self, one: LingeringSocket, capacity: usize) -> (u64, bool, Option<LingeringSocket>) {
        let oldest = if self.sockets.len() >= capacity { self.sockets.pop_first() } else { None };
        self.last_number += 1;
        self.sockets.insert(self.last_number, one);
        (self.last_number, self.sockets.len() == 1, oldest.map(|(_, one)| one))
    }

    /// Removes a socket whose deadline has passed.
    fn pop_expired(&mut self) -> Option<LingeringSocket> {
        self.sockets.first_entry().filter(|first| first.get().deadline <= Instant::now()).map(OccupiedEntry::remove)
    }
}

impl LingerQueue {
    /// The thread: handles a socket when something has arrived on it, or when its deadline has passed.
    fn run(&self) {
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
                if number == EVENT {
                    self.event.clear();
                } else {
                    self.discard_or_close(number, &mut scratch);
                }
            }
            while let Some(expired) = { self.lock().pop_expired() } {
                self.close(Some(expired));
            }
        }
        self.linger_finally(&mut scratch);
    }

    /// Waits for input, for the event, or until the deadline. Returns the numbers of those that are ready.
    fn wait(&self, deadline: Option<Instant>) -> Vec<u64> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        // Fails only for signals. Then no number is returned, and the thread waits again.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), timespec_until(deadline).as_ref());
        events.iter().map(|event| event.data.u64()).collect()
    }

    /// Discards what has arrived on a socket, and closes the socket if nothing more will arrive. Returns how many bytes there
    /// were.
    fn discard_or_close(&self, number: u64, scratch: &mut [u8]) -> usize {
        let Some(socket) = self.lock().sockets.get(&number).map(|one| Arc::clone(&one.socket)) else { return 0 };
        let arrived = socket.drop_input(scratch);
        let mut lingering = self.lock();
        let Some(one) = lingering.sockets.get_mut(&number) else { return 0 };
        match arrived {
            Arrived::Bytes(count) if count < one.budget => {
                one.budget -= count;
                return count;
            }
            // The peer may still read. It has until its deadline.
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

    /// The server ends: peers that are still sending get a moment to read their farewells.
    fn linger_finally(&self, scratch: &mut [u8]) {
        let deadline = Instant::now() + FINAL_LINGER_TIMEOUT;
        let mut numbers: Vec<u64> = self.lock().sockets.keys().copied().collect();
        loop {
            numbers.retain(|number| self.discard_or_close(*number, scratch) > 0);
            if numbers.is_empty() || Instant::now() >= deadline {
                break;
            }
            self.wait(Some(deadline));
        }
        let rest = std::mem::take(&mut self.lock().sockets);
        rest.into_values().for_each(|one| self.close(Some(one)));
    }

    /// Stops watching a socket, and closes it unless another thread holds it. Discards output that has not left, because the
    /// kernel would keep it for minutes.
    fn close(&self, one: Option<LingeringSocket>) {
        if let Some(LingeringSocket { socket, is_unsent, .. }) = one {
            if is_unsent {
                socket.reset_on_close();
            }
            let _ = epoll::delete(&self.epoll, &*socket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lingering> {
        panics::lock_ignoring_poison(&self.lingering)
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

    fn close_with_farewell(linger: &Linger) -> TcpStream {
        let (mut client, socket) = pair();
        client.write_all(&[b'x'; 5000]).unwrap();
        assert!(socket.send_farewell(b"farewell"));
        linger.handle().close(socket);
        client
    }

    fn assert_farewell_arrives(mut client: TcpStream) {
        client.write_all(&[b'x'; 5000]).unwrap();
        let mut farewell = String::new();
        client.read_to_string(&mut farewell).unwrap();
        assert_eq!(farewell, "farewell");
    }

    #[test]
    fn a_farewell_arrives_although_the_input_was_never_read() {
        let linger = Linger::start(10).unwrap();
        let clients: Vec<TcpStream> = (0..10).map(|_| close_with_farewell(&linger)).collect();
        clients.into_iter().for_each(assert_farewell_arrives);
    }

    #[test]
    fn a_socket_is_closed_when_its_peer_stays() {
        let linger = Linger::start(10).unwrap();
        let (client, socket) = pair();
        let weak = Arc::downgrade(&socket);
        let start = Instant::now();
        linger.handle().close(socket);
        while weak.strong_count() > 0 {
            assert!(start.elapsed() < 10 * LINGER_TIMEOUT);
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(start.elapsed() >= LINGER_TIMEOUT);
        drop(client);
    }

    #[test]
    fn what_has_not_left_when_the_time_is_over_is_thrown_away() {
        let linger = Linger::start(10).unwrap();
        let (mut client, socket) = pair();
        while socket.try_send(&[IoSlice::new(&[b'x'; 10_000])]).is_ok() {}
        let sent = socket.bytes_accepted();
        let weak = Arc::downgrade(&socket);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let start = Instant::now();
        linger.handle().close(socket);
        while weak.strong_count() > 0 {
            assert!(start.elapsed() < 10 * LINGER_TIMEOUT);
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(start.elapsed() >= LINGER_TIMEOUT, "a client that sends no more may still read");
        let mut got = Vec::new();
        assert_eq!(client.read_to_end(&mut got).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!((got.len() as u64) < sent);
    }

    #[test]
    fn the_end_does_not_wait_for_silent_peers() {
        let linger = Linger::start(10).unwrap();
        let (_client, socket) = pair();
        linger.handle().close(socket);
        let start = Instant::now();
        drop(linger);
        assert!(start.elapsed() < LINGER_TIMEOUT, "{:?}", start.elapsed());
    }

    #[test]
    fn no_more_than_the_capacity_linger() {
        let linger = Linger::start(3).unwrap();
        let (clients, sockets): (Vec<_>, Vec<_>) = (0..20).map(|_| pair()).unzip();
        let weak: Vec<_> = sockets.iter().map(Arc::downgrade).collect();
        sockets.into_iter().for_each(|socket| linger.handle().close(socket));
        let start = Instant::now();
        let kept = || weak.iter().map(|socket| socket.strong_count() > 0).collect::<Vec<_>>();
        while kept() != [[false; 17].as_slice(), &[true; 3]].concat() {
            assert!(start.elapsed() < LINGER_TIMEOUT / 2, "the last three are kept, and not {:?}", kept());
            thread::park_timeout(Duration::from_millis(1));
        }
        drop(clients);
    }

    #[test]
    fn a_poisoned_lock_stays_usable() {
        let linger = Linger::start(10).unwrap();
        let shared = Arc::clone(&linger.shared);
        let panicked = thread::spawn(move || {
            let _held = shared.lingering.lock().unwrap();
            panic!("while holding the lock");
        });
        assert!(panicked.join().is_err());
        assert_farewell_arrives(close_with_farewell(&linger));
    }
}
