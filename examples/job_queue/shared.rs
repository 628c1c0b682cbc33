//! The queue as all clients share it: under a lock, together with the clients that have to be told of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::Reply;
use crate::queue::{Change, ClientId, Queue};

/// Wakes a waiting client. Never blocks.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How to send to a client that is told of events. Neither function blocks.
#[derive(Clone)]
pub struct Watcher {
    /// Queues a message, in the order of the calls. Returns whether the client still gets messages.
    pub queue: Arc<dyn Fn(Arc<[u8]>) -> bool + Send + Sync>,
    /// Sends the queued messages.
    pub flush: Arc<dyn Fn() + Send + Sync>,
}

/// The queue and its clients.
pub struct Shared {
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    last_client: ClientId,
    wakes: HashMap<ClientId, Wake>,
    watchers: HashMap<ClientId, Watcher>,
}

impl Shared {
    /// An empty queue for so many jobs.
    pub fn new(capacity: usize) -> Arc<Shared> {
        let queue = Queue::new(capacity);
        let state = State { queue, last_client: 0, wakes: HashMap::new(), watchers: HashMap::new() };
        Arc::new(Shared { state: Mutex::new(state) })
    }

    /// A new client, and how to wake it.
    pub fn join(&self, wake: Wake) -> ClientId {
        let mut state = self.lock();
        state.last_client += 1;
        let client = state.last_client;
        state.wakes.insert(client, wake);
        client
    }

    /// The client has left: see [`Queue::leave`].
    pub fn leave(&self, client: ClientId) {
        self.update(|state| {
            state.wakes.remove(&client);
            state.watchers.remove(&client);
            state.queue.leave(client);
        });
    }

    /// Changes the queue, and tells the clients that have to know.
    pub fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        self.update(|state| change(&mut state.queue))
    }

    /// Tells `watcher` of all events from now on. The reply to its request is queued under the lock that registers it. So the
    /// reply arrives before the first event, and no event is missed.
    pub fn watch(&self, client: ClientId, watcher: &Watcher) {
        {
            let mut state = self.lock();
            if (watcher.queue)(Reply::Ok.encode().into()) {
                state.watchers.insert(client, watcher.clone());
            }
        }
        (watcher.flush)();
    }

    /// Queues messages under the lock, so that all watchers see the same order. Sends them and wakes clients after it, so that
    /// no system call is made under the lock.
    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, woken, watchers) = {
            let mut state = self.lock();
            let result = change(&mut state);
            let changes = state.queue.take_changes();
            let (woken, watchers) = state.tell(&changes);
            (result, woken, watchers)
        };
        woken.iter().for_each(|wake| wake());
        watchers.iter().for_each(|watcher| (watcher.flush)());
        result
    }

    /// Ignores poison: no code under this lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues the events. Returns the clients to wake, and the watchers to flush.
    fn tell(&self, changes: &[Change]) -> (Vec<Wake>, Vec<Watcher>) {
        let (mut woken, mut has_events) = (Vec::new(), false);
        for change in changes {
            match change {
                Change::Answered(client) => woken.extend(self.wakes.get(client).cloned()),
                Change::Event(event, id) => {
                    has_events = true;
                    let message: Arc<[u8]> = Reply::Event(*event, *id).encode().into();
                    // A watcher that has left or is too slow is removed when its session ends. Until then it is flushed, which
                    // tells its own thread.
                    for watcher in self.watchers.values() {
                        (watcher.queue)(Arc::clone(&message));
                    }
                }
            }
        }
        let watchers = if has_events { self.watchers.values().cloned().collect() } else { Vec::new() };
        (woken, watchers)
    }
}
