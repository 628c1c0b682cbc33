//! What has been queued and is to be sent once the lock on the hall is released.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use log::warn;

use super::hall::Seat;
use crate::Outbox;

/// A session sends what it has queued when it would wait for its client's next line, or when this many bytes are queued
/// for one member: less than any outbox holds.
const HEAVY: usize = 16 * 1024;

/// In rooms of as many members it is worth another thread's being woken.
const LARGE: usize = 64;

/// Whose outboxes have something to be sent.
#[derive(Default)]
pub(super) struct Mail {
    courier: Courier,
    rooms: Vec<Arc<Vec<Seat>>>,
    members: Vec<Outbox>,
    queued: usize,
}

impl Mail {
    pub(super) fn new(courier: Courier) -> Mail {
        Mail { courier, rooms: Vec::new(), members: Vec::new(), queued: 0 }
    }

    /// All of a room have got something that is this long.
    pub(super) fn note_room(&mut self, seats: &Arc<Vec<Seat>>, length: usize) {
        if self.rooms.last().is_none_or(|last| !Arc::ptr_eq(last, seats)) {
            self.rooms.push(Arc::clone(seats));
        }
        self.queued += length;
    }

    /// One member has.
    pub(super) fn note_member(&mut self, outbox: &Outbox, length: usize) {
        self.members.push(outbox.clone());
        self.queued += length;
    }

    pub(super) fn is_heavy(&self) -> bool {
        self.queued >= HEAVY
    }

    pub(super) fn send(&mut self) {
        self.queued = 0;
        for seats in self.rooms.drain(..) {
            let (theirs, ours) = halves(&seats);
            if !self.courier.takes(&seats) {
                flush(theirs);
            }
            flush(ours);
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

/// A thread that sends to one half of a large room while who speaks sends to the other: the last member hears it in about
/// half the time. It ends with the chat.
#[derive(Clone, Default)]
pub(super) struct Courier(Option<SyncSender<Arc<Vec<Seat>>>>);

impl Courier {
    /// Without a thread for it, all is sent by who speaks.
    pub(super) fn start() -> Courier {
        let (give, given) = mpsc::sync_channel::<Arc<Vec<Seat>>>(1);
        let deliver = move || given.iter().for_each(|seats| flush(halves(&seats).0));
        match thread::Builder::new().name("courier".into()).stack_size(64 * 1024).spawn(deliver) {
            Ok(_) => Courier(Some(give)),
            Err(error) => {
                warn!("no thread to help with large rooms: {error}; in these, messages arrive a little later");
                Courier(None)
            }
        }
    }

    /// Whether it sees to its half: of a large room, unless it has enough to do already. Never waits.
    fn takes(&self, seats: &Arc<Vec<Seat>>) -> bool {
        seats.len() >= LARGE && self.0.as_ref().is_some_and(|give| give.try_send(Arc::clone(seats)).is_ok())
    }
}

/// The courier's half, and that of who speaks.
fn halves(seats: &[Seat]) -> (&[Seat], &[Seat]) {
    seats.split_at(seats.len() / 2)
}

fn flush(seats: &[Seat]) {
    seats.iter().for_each(|seat| seat.outbox.flush());
}
