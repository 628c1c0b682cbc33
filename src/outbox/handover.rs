//! Who writes to a client's socket now, and who is woken: the hand-over between those who send to a client, of whom
//! none ever waits for it, and the client's own thread, which finishes what its socket did not take at once.
//!
//! Everything here happens in short steps under one lock, and all I/O between two of them. `tests/handover` runs this
//! very file under [loom](https://docs.rs/loom), in every order in which its steps can happen.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, LockResult, PoisonError};

use super::Mutex;

/// This many messages go into one system call.
const BATCH: usize = 16;

/// After as many system calls a sender leaves the rest to the client's own thread: others send too, and a sender has its
/// own client to look after.
const TURNS: usize = 4;

/// An idle client's queue keeps no room for more messages than these.
const FEW: usize = 4 * BATCH;

/// Where the bytes go.
pub(super) trait Wire {
    /// Sends what the socket takes at this moment, one part after the other.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it takes nothing, `Interrupted` by a signal, and the socket's own.
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Wakes the client's own thread if it waits, and lets it look at [`Handover::turn`].
    fn wake(&self);

    /// Takes note that messages are going to be sent; `false` if somebody has said the last words already.
    fn begin(&self) -> bool;

    /// Takes note that all messages are sent.
    fn end(&self);
}

/// The messages for one client, in order, and whose turn it is to send them.
pub(super) struct Handover<W> {
    limit: usize,
    each: usize,
    state: Mutex<State<W>>,
}

struct State<W> {
    /// `None` when the client has left: who still holds the outbox should not keep its socket open.
    wire: Option<Arc<W>>,
    queue: VecDeque<Arc<[u8]>>,
    /// Bytes of `queue` that are not sent.
    unsent: usize,
    /// Bytes of the first message that are sent.
    begun: usize,
    writer: Writer,
    /// [`Wire::begin`] was called, and [`Wire::end`] is to be.
    is_speaking: bool,
    /// If the client's own thread has something to say: how many messages go before it. Later ones wait until it is said,
    /// or a client that reads as fast as others send would never get its reply.
    ahead: Option<usize>,
    end: Option<End>,
    sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// The next one who flushes.
    Nobody,
    /// A thread that is sending at this moment, and will not wait.
    Sender,
    /// The client's own thread, as soon as the socket takes more.
    Owner,
    /// The client's own thread, with a reply of its own that is not in the queue.
    Reply,
}

/// Why a client gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More bytes were waiting for it than allowed.
    Full,
    /// A message has waited too long.
    Slow,
    /// Its socket failed.
    Lost(ErrorKind),
    /// Its conversation is over.
    Closed,
}

/// What the client's own thread has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing, until it is woken.
    Wait,
    /// To [`flush_as_owner`](Handover::flush_as_owner) when the socket takes more. So many bytes were sent so far.
    Write { sent: u64 },
    /// To send its reply, and then to [`release`](Handover::release).
    Reply,
    /// To end the conversation.
    Over(End),
}

/// What is left when the client has left.
pub(super) struct Remains {
    /// The rest of a message that was begun, maybe empty; `None` if all messages are sent.
    pub(super) rest: Option<Rest>,
}

/// The rest of a message, which may be long and is shared with others, so it is not copied.
pub(super) struct Rest {
    message: Option<Arc<[u8]>>,
    begun: usize,
}

impl Rest {
    pub(super) fn bytes(&self) -> &[u8] {
        self.message.as_ref().and_then(|message| message.get(self.begun..)).unwrap_or_default()
    }
}

/// What one system call sends.
struct Batch<W> {
    wire: Arc<W>,
    begun: usize,
    messages: [Option<Arc<[u8]>>; BATCH],
}

impl<W: Wire> Handover<W> {
    /// At most `limit` bytes wait, or one message if that is longer; each message counts for `each` bytes more.
    pub(super) fn new(wire: Arc<W>, limit: usize, each: usize) -> Handover<W> {
        let state = State {
            wire: Some(wire),
            queue: VecDeque::new(),
            unsent: 0,
            begun: 0,
            writer: Writer::Nobody,
            is_speaking: false,
            ahead: None,
            end: None,
            sent: 0,
        };
        Handover { limit, each, state: Mutex::new(state) }
    }

    /// Queues a message. No I/O: it is sent by the next [`flush`](Handover::flush). `false`: the client gets no more.
    pub(super) fn push(&self, bytes: Arc<[u8]>) -> bool {
        let mut state = lock(self.state.lock());
        let waiting = state.unsent + state.queue.len() * self.each;
        let is_full = !state.queue.is_empty() && !bytes.is_empty() && waiting + self.each + bytes.len() > self.limit;
        if is_full && state.end.is_none() {
            state.finish(End::Full);
        }
        if state.end.is_some() {
            return false;
        }
        // Empty ones would not be bounded: they cost no byte.
        if !bytes.is_empty() {
            state.unsent += bytes.len();
            state.queue.push_back(bytes);
        }
        true
    }

    /// Sends what is queued, as much as the socket takes, unless another thread is at it, which then sends this too.
    pub(super) fn flush(&self) {
        let (batch, to_wake) = {
            let mut state = lock(self.state.lock());
            let batch = if state.ahead.is_some() { None } else { state.begin(Writer::Nobody) };
            // Who has overfilled the queue did not wake anybody: that is I/O.
            (batch, state.end.and(state.wire.clone()))
        };
        if let Some(wire) = to_wake {
            wire.wake();
        }
        self.send(batch, false);
    }

    /// Goes on, on the client's own thread, when the socket takes more.
    pub(super) fn flush_as_owner(&self) {
        let batch = lock(self.state.lock()).begin(Writer::Owner);
        self.send(batch, true);
    }

    fn send(&self, mut batch: Option<Batch<W>>, is_owner: bool) {
        let mut turns = 0;
        while let Some(current) = batch {
            let outcome = current.send();
            turns += 1;
            let mut state = lock(self.state.lock());
            let may_go_on = is_owner || (turns < TURNS && state.ahead.is_none());
            let is_over;
            (batch, is_over) = state.note(&current, outcome, may_go_on);
            drop(state);
            if is_over && !is_owner {
                current.wire.wake();
            }
        }
    }

    /// What the client's own thread has to do.
    pub(super) fn turn(&self) -> Turn {
        lock(self.state.lock()).turn()
    }

    /// The client's own thread has a reply: what it has to do until it is its turn to send it. From the first call on
    /// nobody else sends, but for who is at it, and what is queued later waits for the reply.
    pub(super) fn claim(&self) -> Turn {
        let mut state = lock(self.state.lock());
        let ahead = state.ahead.unwrap_or(state.queue.len());
        if state.writer == Writer::Nobody && state.end.is_none() {
            state.writer = if ahead == 0 { Writer::Reply } else { Writer::Owner };
        }
        state.ahead = (state.writer != Writer::Reply).then_some(ahead);
        state.turn()
    }

    /// The reply is complete; sends what was queued meanwhile.
    pub(super) fn release(&self) {
        lock(self.state.lock()).writer = Writer::Nobody;
        self.flush();
    }

    /// The client has not taken its messages in time.
    pub(super) fn give_up(&self) {
        lock(self.state.lock()).finish(End::Slow);
    }

    /// Why the client gets no more, if so.
    pub(super) fn end(&self) -> Option<End> {
        lock(self.state.lock()).end
    }

    /// The client leaves: takes no more, and lets the socket go. `None` while another thread is sending: then wait to be
    /// woken.
    pub(super) fn close(&self) -> Option<Remains> {
        let mut state = lock(self.state.lock());
        state.finish(End::Closed);
        if state.writer == Writer::Sender {
            return None;
        }
        state.wire = None;
        let rest = Rest { message: state.queue.pop_front(), begun: state.begun };
        Some(Remains { rest: state.is_speaking.then_some(rest) })
    }
}

impl<W: Wire> State<W> {
    /// The next batch for a thread that is now the writer, if it was `writer`'s turn.
    fn begin(&mut self, writer: Writer) -> Option<Batch<W>> {
        if self.writer != writer || self.end.is_some() || self.queue.is_empty() {
            return None;
        }
        let wire = Arc::clone(self.wire.as_ref()?);
        if !self.is_speaking && !wire.begin() {
            self.finish(End::Lost(ErrorKind::ConnectionAborted));
            return None;
        }
        self.is_speaking = true;
        self.writer = Writer::Sender;
        let ahead = self.ahead.unwrap_or(BATCH);
        let mut messages = self.queue.iter().take(ahead).map(Arc::clone);
        Some(Batch { wire, begun: self.begun, messages: std::array::from_fn(|_| messages.next()) })
    }

    /// Takes note of what became of a batch: the next one if this thread is to go on, and whether the client's own thread
    /// has something to do.
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
        if self.queue.is_empty() && self.queue.capacity() > FEW {
            self.queue = VecDeque::new();
        }
        // No message of those that wait for a reply has been begun, so it can follow.
        let is_done = self.queue.is_empty() || self.ahead == Some(0);
        if is_done {
            self.is_speaking = false;
            batch.wire.end();
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
        let next = self.begin(Writer::Nobody);
        let is_over = next.is_none();
        (next, is_over)
    }

    /// Drops what is sent.
    fn advance(&mut self, mut count: usize) {
        self.sent += count as u64;
        self.unsent -= count;
        count += self.begun;
        while let Some(first) = self.queue.front() {
            if count < first.len() {
                break;
            }
            count -= first.len();
            self.queue.pop_front();
            self.ahead = self.ahead.map(|ahead| ahead.saturating_sub(1));
        }
        self.begun = count;
    }

    /// Nothing more is taken, and what has not been begun is dropped; the first reason stays. While a thread is sending,
    /// what it sends is kept for its count.
    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        if self.writer != Writer::Sender {
            self.queue.truncate(usize::from(self.begun > 0));
            self.queue.shrink_to_fit();
            self.unsent = self.queue.front().map_or(0, |message| message.len() - self.begun);
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

impl<W: Wire> Batch<W> {
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut begun = self.begun;
        self.messages.iter().flatten().map(move |message| message.get(std::mem::take(&mut begun)..).unwrap_or_default())
    }

    fn length(&self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    fn send(&self) -> io::Result<usize> {
        let mut parts = [IoSlice::new(&[]); BATCH];
        let mut count = 0;
        for (place, part) in parts.iter_mut().zip(self.parts()) {
            *place = IoSlice::new(part);
            count += 1;
        }
        self.wire.send(parts.get(..count).unwrap_or_default())
    }
}

/// Poisoned or not: a panic while it is held leaves whole values behind.
fn lock<G>(outcome: LockResult<G>) -> G {
    outcome.unwrap_or_else(PoisonError::into_inner)
}
