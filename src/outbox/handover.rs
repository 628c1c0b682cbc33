//! [`Handover`]: which thread writes to a client's socket, and which one is woken.
//!
//! Threads that send to a client never wait for it. The client's own thread, the owner, sends what its socket did not take.
//! One of them is the writer at any time:
//!
//! ```text
//!            flush                       all sent
//!   Nobody ---------> Sender -------------------------------> Nobody
//!     |                 | socket full
//!     | claim           v          socket takes more
//!     |               Owner ---------------------------------> Sender (the owner's own thread)
//!     v                 | claim, when all earlier messages are sent
//!   Reply <-------------+
//!     | release
//!     v
//!   Nobody
//! ```
//!
//! Each step is short and takes one lock. All I/O happens between two steps. `tests/handover` runs this very file under
//! [loom](https://docs.rs/loom), in every possible order of the steps.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, LockResult, PoisonError};

use super::Mutex;

// The path holds for the model in `tests/handover` as well.
#[path = "batch.rs"]
mod batch;

use batch::{Batch, MAX_BATCH, Rest};

/// After this many system calls, a sender leaves the rest to the client's own thread, because a sender has its own client to
/// serve.
const MAX_SENDS: usize = 4;

/// An empty queue keeps no more capacity than this.
const IDLE_CAPACITY: usize = 4 * MAX_BATCH;

/// The socket, and the way to wake the client's own thread. The model in `tests/handover` has its own.
pub(super) trait Wire {
    /// Sends as much of `parts` as the socket takes at this moment, in order.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it takes nothing, `Interrupted` by a signal, and the socket's own.
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Wakes the client's own thread if it waits, so that it checks [`Handover::turn`].
    fn wake(&self);

    /// Notes that messages are about to be sent. `false`: the farewell was sent already.
    fn begin_sending(&self) -> bool;

    /// Notes that all messages are sent.
    fn end_sending(&self);
}

/// The messages for one client, in order, and who sends them.
pub(super) struct Handover<W> {
    overhead: usize,
    state: Mutex<HandoverState<W>>,
}

struct HandoverState<W> {
    /// How many bytes may wait, with the overhead of each message.
    limit: usize,
    /// `None` when the client has left: an outbox that is still held must not keep the socket open.
    wire: Option<Arc<W>>,
    queue: VecDeque<Arc<[u8]>>,
    /// How many bytes of `queue` are not sent.
    unsent: usize,
    /// How many bytes of the first message are sent.
    first_sent: usize,
    writer: Writer,
    /// [`Wire::begin_sending`] was called, and [`Wire::end_sending`] was not called yet.
    is_sending: bool,
    /// If the client's own thread has a reply: how many messages go before the reply. Later messages wait for the reply. Else
    /// a client that reads as fast as others send would never get it.
    ahead: Option<usize>,
    /// Another thread ends the connection: no more messages are taken, and those in the queue are sent.
    is_closing: bool,
    end: Option<End>,
    sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Nobody. The next thread that flushes becomes the writer.
    Nobody,
    /// A thread that is sending at this moment and does not wait.
    Sender,
    /// The client's own thread, when the socket takes more.
    Owner,
    /// The client's own thread, with a reply that is not in the queue.
    Reply,
}

/// Why a client gets no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More bytes waited for it than allowed.
    Full,
    /// The client took too little in time.
    Slow,
    /// Its socket failed.
    Lost(ErrorKind),
    /// Its connection has ended.
    Closed,
}

/// What the client's own thread has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing until it is woken.
    Wait,
    /// Call [`flush_as_owner`](Handover::flush_as_owner) when the socket takes more. `sent` is how many bytes were sent so far.
    Write { sent: u64 },
    /// Send the reply, then [`release`](Handover::release).
    Reply,
    /// End the connection.
    Over(End),
}

/// What an outbox leaves behind.
pub(super) struct Remains {
    /// The rest of a message that was partly sent, or nothing of the next one. `None` if all messages are sent.
    pub(super) rest: Option<Rest>,
}

impl<W: Wire> Handover<W> {
    /// At most `limit` bytes wait, or one message if that is longer. Each message counts `overhead` bytes more.
    pub(super) fn new(wire: Arc<W>, limit: usize, overhead: usize) -> Handover<W> {
        let state = HandoverState {
            limit,
            wire: Some(wire),
            queue: VecDeque::new(),
            unsent: 0,
            first_sent: 0,
            writer: Writer::Nobody,
            is_sending: false,
            ahead: None,
            is_closing: false,
            end: None,
            sent: 0,
        };
        Handover { overhead, state: Mutex::new(state) }
    }

    /// Queues a message. No I/O: the next [`flush`](Handover::flush) sends it. `false`: the client gets no more messages.
    pub(super) fn push(&self, bytes: Arc<[u8]>) -> bool {
        let mut state = lock(self.state.lock());
        if !state.is_open() {
            return false;
        }
        if !bytes.is_empty() && !state.has_room_for(bytes.len(), self.overhead) {
            state.finish(End::Full);
            return false;
        }
        // Empty messages are dropped: they add no bytes, so no limit would bound them.
        if !bytes.is_empty() {
            state.unsent += bytes.len();
            state.queue.push_back(bytes);
        }
        true
    }

    /// Takes no more messages; those in the queue are still sent. Returns the wire, by which the caller tells the client's
    /// own thread to end the connection. `None`: the client has left.
    pub(super) fn stop_taking(&self) -> Option<Arc<W>> {
        let mut state = lock(self.state.lock());
        state.is_closing = true;
        state.wire.clone()
    }

    /// Whether messages can still be queued.
    pub(super) fn is_open(&self) -> bool {
        lock(self.state.lock()).is_open()
    }

    /// How many bytes wait, with the overhead of each message.
    pub(super) fn queued_bytes(&self) -> usize {
        lock(self.state.lock()).queued_bytes(self.overhead)
    }

    /// Whether a message of this length can be queued.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let state = lock(self.state.lock());
        state.is_open() && state.has_room_for(bytes, self.overhead)
    }

    /// Changes the limit. What waits already stays.
    pub(super) fn set_limit(&self, limit: usize) {
        lock(self.state.lock()).limit = limit;
    }

    /// Sends as much of the queue as the socket takes. If another thread is sending, that thread sends this as well.
    pub(super) fn flush(&self) {
        let (batch, wake) = {
            let mut state = lock(self.state.lock());
            let batch = if state.ahead.is_some() { None } else { state.next_batch(Writer::Nobody) };
            // The thread that overfilled the queue did not wake the owner, because waking is I/O.
            (batch, state.end.and(state.wire.clone()))
        };
        if let Some(wire) = wake {
            wire.wake();
        }
        self.send(batch, false);
    }

    /// The same for the client's own thread, when the socket takes more.
    pub(super) fn flush_as_owner(&self) {
        let batch = lock(self.state.lock()).next_batch(Writer::Owner);
        self.send(batch, true);
    }

    fn send(&self, mut batch: Option<Batch<W>>, is_owner: bool) {
        let mut sends = 0;
        while let Some(current) = batch {
            let outcome = current.send();
            sends += 1;
            let mut state = lock(self.state.lock());
            let may_go_on = is_owner || (sends < MAX_SENDS && state.ahead.is_none());
            let wakes_owner;
            (batch, wakes_owner) = state.note(&current, outcome, may_go_on);
            drop(state);
            if wakes_owner && !is_owner {
                current.wire.wake();
            }
        }
    }

    /// What the client's own thread has to do.
    pub(super) fn turn(&self) -> Turn {
        lock(self.state.lock()).turn()
    }

    /// The client's own thread has a reply. Returns what it has to do before it may send the reply. From the first call on no
    /// other thread begins to send, and messages that are queued later wait for the reply.
    pub(super) fn claim(&self) -> Turn {
        let mut state = lock(self.state.lock());
        let ahead = state.ahead.unwrap_or(state.queue.len());
        if state.writer == Writer::Nobody && state.end.is_none() {
            state.writer = if ahead == 0 { Writer::Reply } else { Writer::Owner };
        }
        state.ahead = (state.writer != Writer::Reply).then_some(ahead);
        state.turn()
    }

    /// The reply is complete. Sends the messages that were queued meanwhile.
    pub(super) fn release(&self) {
        lock(self.state.lock()).writer = Writer::Nobody;
        self.flush();
    }

    /// The client did not take its messages in time.
    pub(super) fn give_up(&self) {
        lock(self.state.lock()).finish(End::Slow);
    }

    /// Why the client gets no more messages, if so.
    pub(super) fn end(&self) -> Option<End> {
        lock(self.state.lock()).end
    }

    /// The client leaves: takes no more messages and releases the socket. `None` while another thread is sending: wait to be
    /// woken, and call this again.
    pub(super) fn close(&self) -> Option<Remains> {
        let mut state = lock(self.state.lock());
        state.finish(End::Closed);
        if state.writer == Writer::Sender {
            return None;
        }
        state.wire = None;
        let rest = Rest::new(state.queue.pop_front(), state.first_sent);
        Some(Remains { rest: state.is_sending.then_some(rest) })
    }
}

impl<W: Wire> HandoverState<W> {
    fn is_open(&self) -> bool {
        self.end.is_none() && !self.is_closing
    }

    fn queued_bytes(&self, overhead: usize) -> usize {
        self.unsent + self.queue.len() * overhead
    }

    /// One message may always wait, however long it is.
    fn has_room_for(&self, bytes: usize, overhead: usize) -> bool {
        self.queue.is_empty() || self.queued_bytes(overhead) + overhead + bytes <= self.limit
    }

    /// Makes the calling thread the sender, if `writer` is the current writer. Returns its next batch.
    fn next_batch(&mut self, writer: Writer) -> Option<Batch<W>> {
        if self.writer != writer || self.end.is_some() || self.queue.is_empty() {
            return None;
        }
        let wire = Arc::clone(self.wire.as_ref()?);
        if !self.is_sending && !wire.begin_sending() {
            self.finish(End::Lost(ErrorKind::ConnectionAborted));
            return None;
        }
        self.is_sending = true;
        self.writer = Writer::Sender;
        let ahead = self.ahead.unwrap_or(MAX_BATCH);
        Some(Batch::new(wire, self.first_sent, self.queue.iter().take(ahead)))
    }

    /// Notes the outcome of a batch. Returns the next batch if this thread is to go on, and whether the client's own thread has
    /// something to do.
    fn note(&mut self, batch: &Batch<W>, outcome: io::Result<usize>, may_go_on: bool) -> (Option<Batch<W>>, bool) {
        self.writer = Writer::Nobody;
        let is_full = match outcome {
            Ok(count) => {
                self.advance(count);
                count < batch.length()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            Err(error) => {
                self.finish(End::Lost(error.kind()));
                return (None, true);
            }
        };
        if self.queue.is_empty() && self.queue.capacity() > IDLE_CAPACITY {
            self.queue = VecDeque::new();
        }
        // The messages that wait for the reply were not begun, so the reply can follow now.
        let is_done = self.queue.is_empty() || self.ahead == Some(0);
        if is_done {
            self.is_sending = false;
            batch.wire.end_sending();
        }
        if let Some(end) = self.end {
            self.finish(end);
            return (None, true);
        }
        if is_done {
            return (None, self.ahead.is_some());
        }
        if is_full || !may_go_on {
            self.writer = Writer::Owner;
            return (None, true);
        }
        let next = self.next_batch(Writer::Nobody);
        let wakes_owner = next.is_none();
        (next, wakes_owner)
    }

    /// Drops the bytes that were sent.
    fn advance(&mut self, mut count: usize) {
        self.sent += count as u64;
        self.unsent -= count;
        count += self.first_sent;
        while let Some(first) = self.queue.front() {
            if count < first.len() {
                break;
            }
            count -= first.len();
            self.queue.pop_front();
            self.ahead = self.ahead.map(|ahead| ahead.saturating_sub(1));
        }
        self.first_sent = count;
    }

    /// Takes no more messages, and drops those that were not begun. The first reason stays. While a thread is sending, its
    /// messages are kept, because it will count them.
    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        if self.writer != Writer::Sender {
            self.queue.truncate(usize::from(self.first_sent > 0));
            self.queue.shrink_to_fit();
            self.unsent = self.queue.front().map_or(0, |message| message.len() - self.first_sent);
        }
    }

    fn turn(&self) -> Turn {
        match (self.writer, self.end, self.queue.front()) {
            (Writer::Sender, ..) => Turn::Wait,
            (_, Some(end), _) => Turn::Over(end),
            (Writer::Reply, ..) => Turn::Reply,
            (Writer::Owner, _, Some(_)) => Turn::Write { sent: self.sent },
            _ => Turn::Wait,
        }
    }
}

/// Ignores poison: a panic under this lock leaves whole values behind.
fn lock<G>(outcome: LockResult<G>) -> G {
    outcome.unwrap_or_else(PoisonError::into_inner)
}
