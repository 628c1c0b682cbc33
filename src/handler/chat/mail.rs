//! What has been queued and is to be sent once the lock on the hall is released.

use std::sync::Arc;

use super::hall::Seat;
use crate::Outbox;

/// A session sends what it has queued when it would wait for its client's next line, or when this many bytes are queued
/// for one member: less than any outbox holds.
const HEAVY: usize = 16 * 1024;

/// Whose outboxes have something to be sent.
#[derive(Default)]
pub(super) struct Mail {
    rooms: Vec<Arc<Vec<Seat>>>,
    members: Vec<Outbox>,
    queued: usize,
}

impl Mail {
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
            seats.iter().for_each(|seat| seat.outbox.flush());
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
