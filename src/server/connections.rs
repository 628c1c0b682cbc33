//! The live set: who is being served now. A client holds a [`Slot`], which is its place in the set, and a [`Presence`],
//! which a drain waits for. The slot is given back first, so that whoever learns that a client has left finds its place
//! free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::connection::Context;
use crate::panics;
use crate::socket::Socket;

/// All clients being served, at most as many as its capacity.
pub(super) struct Connections {
    capacity: usize,
    context: Arc<Context>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    sockets: HashMap<u64, Arc<Socket>>,
    /// Clients that are there, those included that are just leaving.
    present: usize,
    /// Clients that have left since the drain began.
    departed: usize,
}

impl Connections {
    pub(super) fn new(capacity: usize, context: Arc<Context>) -> Arc<Connections> {
        Arc::new(Connections { capacity, context, live: Mutex::default() })
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many clients are there, those included that are just leaving.
    pub(super) fn present(&self) -> usize {
        self.lock().present
    }

    /// How many clients were there when the drain began.
    pub(super) fn present_at_drain(&self) -> usize {
        let live = self.lock();
        live.present + live.departed
    }

    /// Gives the connection `id` a place, unless all are taken.
    pub(super) fn enter(self: &Arc<Connections>, id: u64, socket: &Arc<Socket>) -> Option<(Slot, Presence)> {
        let mut live = self.lock();
        if live.sockets.len() >= self.capacity {
            return None;
        }
        live.sockets.insert(id, Arc::clone(socket));
        live.present += 1;
        self.context.totals.open.add(1);
        Some((Slot { id, connections: Arc::clone(self) }, Presence(Arc::clone(self))))
    }

    /// The sockets of all who are served at this moment, to be dealt with after the lock is released.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        self.lock().sockets.values().map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        panics::lock(&self.live)
    }
}

/// One client's place in the live set, given back when it is dropped, whatever happened.
pub(super) struct Slot {
    id: u64,
    connections: Arc<Connections>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let socket = self.connections.lock().sockets.remove(&self.id);
        self.connections.context.totals.open.take(1);
        // May close it, which is a system call and has no business under the lock.
        drop(socket);
    }
}

/// One client, until the last thing that is done for it is done.
pub(super) struct Presence(Arc<Connections>);

impl Drop for Presence {
    fn drop(&mut self) {
        let shutdown = &self.0.context.shutdown;
        let draining = shutdown.is_requested();
        let mut live = self.0.lock();
        live.present -= 1;
        live.departed += usize::from(draining);
        let is_last = live.present == 0;
        drop(live);
        if is_last && shutdown.is_requested() {
            shutdown.bell().ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::limits::Limits;
    use crate::shutdown::Shutdown;
    use crate::totals::Totals;

    fn connections(capacity: usize) -> Arc<Connections> {
        let context = Context {
            limits: Limits::default(),
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
        let first = connections.enter(1, &socket).unwrap();
        let _second = connections.enter(2, &socket).unwrap();
        assert!(connections.enter(3, &socket).is_none());
        drop(first);
        assert_eq!(connections.context.totals.stats().connections, 1);
        assert!(connections.enter(4, &socket).is_some());
    }

    #[test]
    fn a_client_that_has_given_its_slot_back_is_present_until_the_end() {
        let (connections, socket) = (connections(1), socket());
        let (slot, presence) = connections.enter(1, &socket).unwrap();
        drop(slot);
        assert_eq!(connections.present(), 1);
        assert!(connections.enter(2, &socket).is_some(), "the place is free before");
        drop(presence);
        assert_eq!(connections.present(), 0);
    }

    #[test]
    fn a_slot_comes_back_when_its_thread_panics() {
        let (connections, socket) = (connections(1), socket());
        let slot = connections.enter(1, &socket).unwrap();
        let panicked = std::thread::spawn(move || {
            let _slot = slot;
            panic!("with the slot in hand");
        });
        assert!(panicked.join().is_err());
        assert!(connections.enter(2, &socket).is_some());
    }

    #[test]
    fn a_poisoned_lock_is_used_on() {
        let (connections, socket) = (connections(1), socket());
        let poisoner = Arc::clone(&connections);
        let panicked = std::thread::spawn(move || {
            let _held = poisoner.live.lock().unwrap();
            panic!("while holding the lock");
        });
        assert!(panicked.join().is_err());
        assert!(connections.live.is_poisoned());
        drop(connections.enter(1, &socket).unwrap());
        assert!(connections.enter(2, &socket).is_some());
    }
}
