//! What has been queued and is to be sent once the lock on the hall is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use log::warn;

use super::hall::Seat;
use crate::outbox::{EACH, Outbox};

/// A session sends what it has queued when it would wait for its client, and before that when so much is queued for one
/// member: this part of what an outbox holds, or this many messages. More would not leave in one go.
const HEAVY: usize = 8;
const MANY: usize = 32;

/// In rooms of as many members it is worth another thread's being woken.
const LARGE: usize = 64;

/// Whose outboxes have something to be sent.
#[derive(Default)]
pub(super) struct Mail {
    courier: Courier,
    max_outbox: usize,
    rooms: Vec<Arc<Vec<Seat>>>,
    members: Vec<Outbox>,
    /// At the most that one member has been queued: messages, and bytes as an outbox counts them.
    messages: usize,
    bytes: usize,
}

impl Mail {
    pub(super) fn new(courier: Courier, max_outbox: usize) -> Mail {
        Mail { courier, max_outbox, rooms: Vec::new(), members: Vec::new(), messages: 0, bytes: 0 }
    }

    /// All of a room have got something that is this long.
    pub(super) fn note_room(&mut self, seats: &Arc<Vec<Seat>>, length: usize) {
        if self.rooms.last().is_none_or(|last| !Arc::ptr_eq(last, seats)) {
            self.rooms.push(Arc::clone(seats));
        }
        self.note(length);
    }

    /// One member has.
    pub(super) fn note_member(&mut self, outbox: &Outbox, length: usize) {
        self.members.push(outbox.clone());
        self.note(length);
    }

    fn note(&mut self, length: usize) {
        self.messages += 1;
        self.bytes += length + EACH;
    }

    pub(super) fn is_heavy(&self) -> bool {
        self.messages >= MANY || self.bytes >= self.max_outbox / HEAVY
    }

    pub(super) fn send(&mut self) {
        (self.messages, self.bytes) = (0, 0);
        for seats in self.rooms.drain(..) {
            let round = Arc::new(Round { seats, next: AtomicUsize::new(0) });
            self.courier.join(&round);
            round.deliver();
        }
        for outbox in self.members.drain(..) {
            outbox.flush();
        }
    }
}

impl Drop for Mail {
    /// Also when a handler fails: what is queued has been said.
    fn drop(&mut self) {
        self.send();
    }
}

/// What has been queued for a room is sent by all threads that take part in the round.
struct Round {
    seats: Arc<Vec<Seat>>,
    /// The first seat that nobody has taken on.
    next: AtomicUsize,
}

impl Round {
    /// One member after the other: who is interrupted holds up one of them, and no more.
    fn deliver(&self) {
        while let Some(seat) = self.seats.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            seat.outbox.flush();
        }
    }
}

/// A thread that takes part in the rounds of large rooms, so that the last member hears in about half the time what was
/// said. It ends with the chat.
#[derive(Clone, Default)]
pub(super) struct Courier(Option<SyncSender<Arc<Round>>>);

impl Courier {
    /// Without a thread for it, all is sent by who speaks.
    pub(super) fn start() -> Courier {
        let (give, given) = mpsc::sync_channel::<Arc<Round>>(1);
        let deliver = move || given.iter().for_each(|round| round.deliver());
        match thread::Builder::new().name("courier".into()).stack_size(64 * 1024).spawn(deliver) {
            Ok(_) => Courier(Some(give)),
            Err(error) => {
                warn!("no thread to help with large rooms: {error}; in these, messages arrive a little later");
                Courier(None)
            }
        }
    }

    /// Calls it to a round, if that is worth it. Never waits: if it is late, there is less left for it to do.
    fn join(&self, round: &Arc<Round>) {
        if let Some(give) = self.0.as_ref().filter(|_| round.seats.len() >= LARGE) {
            let _ = give.try_send(Arc::clone(round));
        }
    }
}
