//! Delivery: which outboxes to flush once the lock on the chat's state is released.
//!
//! Events are queued in outboxes under that lock, without a system call. A [`Delivery`] collects those outboxes, and
//! [`Delivery::flush`] sends what they hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use log::warn;

use super::membership::MemberList;
use crate::outbox::{MESSAGE_OVERHEAD, Outbox};

/// A session flushes before it waits for its client. It flushes earlier once `max_outbox / FLUSH_FRACTION` bytes, or
/// `FLUSH_MESSAGES` messages, may be queued for one member: more would not be sent in one system call.
const FLUSH_FRACTION: usize = 8;
const FLUSH_MESSAGES: usize = 32;

/// Waking the helper pays off in rooms with at least this many members.
const HELPED_ROOM_SIZE: usize = 64;

/// The outboxes in which one session has queued events that it has not flushed yet.
#[derive(Default)]
pub(super) struct Delivery {
    helper: DeliveryHelper,
    max_outbox: usize,
    rooms: Vec<MemberList>,
    members: Vec<Outbox>,
    /// Upper bounds on the messages and bytes queued for any one member. Bytes are counted as an outbox counts them.
    queued_messages: usize,
    queued_bytes: usize,
}

impl Delivery {
    pub(super) fn new(helper: DeliveryHelper, max_outbox: usize) -> Delivery {
        Delivery { helper, max_outbox, rooms: Vec::new(), members: Vec::new(), queued_messages: 0, queued_bytes: 0 }
    }

    /// Notes that a message of at most `length` bytes was queued for the members of a room.
    pub(super) fn add_room(&mut self, members: &MemberList, length: usize) {
        if self.rooms.last().is_none_or(|last| !Arc::ptr_eq(last, members)) {
            self.rooms.push(Arc::clone(members));
        }
        self.count_message(length);
    }

    /// Notes that a message of `length` bytes was queued for one member.
    pub(super) fn add_member(&mut self, outbox: &Outbox, length: usize) {
        self.members.push(outbox.clone());
        self.count_message(length);
    }

    fn count_message(&mut self, length: usize) {
        self.queued_messages += 1;
        self.queued_bytes += length + MESSAGE_OVERHEAD;
    }

    /// Whether so much is queued that it should be flushed now.
    pub(super) fn is_large(&self) -> bool {
        self.queued_messages >= FLUSH_MESSAGES || self.queued_bytes >= self.max_outbox / FLUSH_FRACTION
    }

    /// Flushes the outboxes. Never waits for a member.
    pub(super) fn flush(&mut self) {
        (self.queued_messages, self.queued_bytes) = (0, 0);
        for members in self.rooms.drain(..) {
            let flush = Arc::new(RoomFlush { members, next: AtomicUsize::new(0) });
            self.helper.offer(&flush);
            flush.run();
        }
        for outbox in self.members.drain(..) {
            outbox.flush();
        }
    }
}

impl Drop for Delivery {
    /// Flushes even when the handler fails or panics, because members must get every event that has been queued for them.
    fn drop(&mut self) {
        self.flush();
    }
}

/// One flush of a room's outboxes, which several threads can share.
struct RoomFlush {
    members: MemberList,
    /// The index of the first member that no thread has taken yet.
    next: AtomicUsize,
}

impl RoomFlush {
    /// Flushes one member after the other, so a thread that is preempted delays one member only.
    fn run(&self) {
        while let Some(membership) = self.members.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            membership.outbox.flush();
        }
    }
}

/// A thread that helps to flush large rooms, so that the last member gets a message in about half the time. It ends with
/// the chat.
#[derive(Clone, Default)]
pub(super) struct DeliveryHelper(Option<SyncSender<Arc<RoomFlush>>>);

impl DeliveryHelper {
    /// Starts the thread. If that fails, senders flush large rooms alone.
    pub(super) fn start() -> DeliveryHelper {
        let (sender, receiver) = mpsc::sync_channel::<Arc<RoomFlush>>(1);
        let run = move || receiver.iter().for_each(|flush| flush.run());
        match thread::Builder::new().name("delivery-helper".into()).stack_size(64 * 1024).spawn(run) {
            Ok(_) => DeliveryHelper(Some(sender)),
            Err(error) => {
                warn!("no thread to help with large rooms: {error}; in these, messages arrive a little later");
                DeliveryHelper(None)
            }
        }
    }

    /// Asks the helper to join in if the room is large. Never waits: a helper that is busy is not needed, because the
    /// sender flushes the room anyway.
    fn offer(&self, flush: &Arc<RoomFlush>) {
        if let Some(sender) = self.0.as_ref().filter(|_| flush.members.len() >= HELPED_ROOM_SIZE) {
            let _ = sender.try_send(Arc::clone(flush));
        }
    }
}
