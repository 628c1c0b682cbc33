//! The live set: the clients that are being served now.
//!
//! A client's thread holds two values. Its [`Slot`] counts against the limit on clients, and is freed before the peer sees
//! the end of the connection, so that the peer can come back at once. Its [`ConnectionGuard`] is released last, when the
//! thread is done with everything, and the drain waits for that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::connection::{ClientHandle, ConnectionContext};
use crate::panics;
use crate::socket::Socket;

/// All clients that are being served, up to its capacity.
pub(super) struct Connections {
    context: Arc<ConnectionContext>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    capacity: usize,
    clients: HashMap<u64, LiveClient>,
    /// How many guards are held.
    active: usize,
    /// How many slots were freed since the drain began.
    freed_in_drain: usize,
}

struct LiveClient {
    peer: SocketAddr,
    accepted: Instant,
    socket: Arc<Socket>,
}

impl Connections {
    pub(super) fn new(capacity: usize, context: Arc<ConnectionContext>) -> Arc<Connections> {
        let live = Live { capacity, ..Live::default() };
        Arc::new(Connections { context, live: Mutex::new(live) })
    }

    pub(super) fn capacity(&self) -> usize {
        self.lock().capacity
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.lock().capacity = capacity;
    }

    /// How many clients are being served, including those whose thread is about to finish.
    pub(super) fn active(&self) -> usize {
        self.lock().active
    }

    /// How many clients held a slot when the drain began. A client that has seen the end of its connection holds none.
    pub(super) fn connected_at_drain(&self) -> usize {
        let live = self.lock();
        live.clients.len() + live.freed_in_drain
    }

    /// Takes a slot for the connection `id`, unless all are taken.
    pub(super) fn acquire(
        self: &Arc<Connections>,
        id: u64,
        peer: SocketAddr,
        socket: &Arc<Socket>,
    ) -> Option<(Slot, ConnectionGuard)> {
        let mut live = self.lock();
        if live.clients.len() >= live.capacity {
            return None;
        }
        live.clients.insert(id, LiveClient { peer, accepted: Instant::now(), socket: Arc::clone(socket) });
        live.active += 1;
        self.context.totals.open.add(1);
        Some((Slot { id, connections: Arc::clone(self) }, ConnectionGuard(Arc::clone(self))))
    }

    /// The sockets of all clients that hold a slot at this moment. The lock is released on return.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        self.lock().clients.values().map(|client| Arc::clone(&client.socket)).collect()
    }

    /// Handles for all clients that hold a slot at this moment.
    pub(super) fn clients(&self) -> Vec<ClientHandle> {
        let live = self.lock();
        let handle =
            |(id, client): (&u64, &LiveClient)| ClientHandle::new(*id, client.peer, client.accepted, &client.socket);
        live.clients.iter().map(handle).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        panics::lock_ignoring_poison(&self.live)
    }
}

/// A slot of the live set. Dropping it frees the slot, even in a panic.
pub(super) struct Slot {
    id: u64,
    connections: Arc<Connections>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let is_draining = self.connections.context.shutdown.is_requested();
        let mut live = self.connections.lock();
        let client = live.clients.remove(&self.id);
        live.freed_in_drain += usize::from(is_draining);
        drop(live);
        self.connections.context.totals.open.subtract(1);
        // Outside the lock, because this may close the socket.
        drop(client);
    }
}

/// Held until a client's thread is done with everything. The drain waits for it.
pub(super) struct ConnectionGuard(Arc<Connections>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let shutdown = &self.0.context.shutdown;
        let mut live = self.0.lock();
        live.active -= 1;
        let is_last = live.active == 0;
        drop(live);
        if is_last && shutdown.is_accepting_stopped() {
            shutdown.event().notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};

    use super::*;
    use crate::shutdown::Shutdown;
    use crate::totals::Totals;

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn connections(capacity: usize) -> Arc<Connections> {
        let context = ConnectionContext {
            receive_timeout: None,
            shutdown: Shutdown::new().unwrap(),
            totals: Totals::default(),
            started: Instant::now(),
        };
        Connections::new(capacity, Arc::new(context))
    }

    fn socket() -> Arc<Socket> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Socket::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    #[test]
    fn there_are_as_many_slots_as_the_capacity_and_each_comes_back() {
        let (connections, socket) = (connections(2), socket());
        let first = connections.acquire(1, PEER, &socket).unwrap();
        let _second = connections.acquire(2, PEER, &socket).unwrap();
        assert!(connections.acquire(3, PEER, &socket).is_none());
        drop(first);
        assert_eq!(connections.context.totals.stats().connections, 1);
        assert!(connections.acquire(4, PEER, &socket).is_some());
    }

    #[test]
    fn a_client_that_has_freed_its_slot_is_active_until_its_guard_is_released() {
        let (connections, socket) = (connections(1), socket());
        let (slot, guard) = connections.acquire(1, PEER, &socket).unwrap();
        drop(slot);
        assert_eq!(connections.active(), 1);
        assert!(connections.acquire(2, PEER, &socket).is_some(), "the place is free before");
        drop(guard);
        assert_eq!(connections.active(), 0);
    }

    #[test]
    fn a_client_counts_in_the_drain_if_it_holds_a_slot_when_the_drain_begins() {
        let (connections, socket) = (connections(3), socket());
        let (gone, _its_thread_goes_on) = connections.acquire(1, PEER, &socket).unwrap();
        let (first, _first_guard) = connections.acquire(2, PEER, &socket).unwrap();
        let _second = connections.acquire(3, PEER, &socket).unwrap();
        drop(gone);
        connections.context.shutdown.request();
        assert_eq!(connections.connected_at_drain(), 2);
        drop(first);
        assert_eq!((connections.connected_at_drain(), connections.active()), (2, 3));
    }

    #[test]
    fn a_slot_comes_back_when_its_thread_panics() {
        let (connections, socket) = (connections(1), socket());
        let slot = connections.acquire(1, PEER, &socket).unwrap();
        let panicked = std::thread::spawn(move || {
            let _slot = slot;
            panic!("with the slot in hand");
        });
        assert!(panicked.join().is_err());
        assert!(connections.acquire(2, PEER, &socket).is_some());
    }

    #[test]
    fn a_poisoned_lock_stays_usable() {
        let (connections, socket) = (connections(1), socket());
        let poisoner = Arc::clone(&connections);
        let panicked = std::thread::spawn(move || {
            let _held = poisoner.live.lock().unwrap();
            panic!("while holding the lock");
        });
        assert!(panicked.join().is_err());
        assert!(connections.live.is_poisoned());
        drop(connections.acquire(1, PEER, &socket).unwrap());
        assert!(connections.acquire(2, PEER, &socket).is_some());
    }
}
