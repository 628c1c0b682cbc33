//! [`Outbox`]: how other threads send to a client without waiting for it.
//!
//! The sending thread queues a message and tries the socket at once. The client's own thread sends later what the socket
//! did not take: in [`Owner`] it waits for its socket and for an event at the same time.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::progress::Progress;
use crate::socket::Socket;
use crate::waker::Wakeup;

mod handover;

pub(crate) use handover::End;
use handover::{Handover, Turn, Wire};

/// The overhead of a message, which counts against the limit in addition to its bytes.
pub(crate) const MESSAGE_OVERHEAD: usize = 96;

/// Sends to a client from other threads than its own. Never waits for the client.
///
/// [`Connection::outbox`](crate::Connection::outbox) returns it. It is a handle: all clones send to the same client.
/// Messages arrive whole, in the order in which they were queued, and never in the middle of a reply that the client's
/// own handler writes.
///
/// What a client does not take waits for it, up to [`Limits::max_outbox`](crate::Limits::max_outbox) bytes (each message
/// counts for 96 more, which it costs), or up to what
/// [`Connection::set_max_outbox`](crate::Connection::set_max_outbox) allows this client. A client that lets more wait, or
/// that takes less than [`Limits::write_timeout`](crate::Limits::write_timeout) asks for, is told that it reads too slowly,
/// behind the last whole message, and closed; what still waits is dropped, and nobody else notices. An empty outbox takes one
/// message of any length. A message that goes to many is held once.
///
/// When the client has left, the outbox holds no resources of it, so you can keep it as long as is convenient.
///
/// This server broadcasts each line to all clients (`examples/broadcast.rs`):
///
/// ```no_run
#[doc = include_str!("../examples/broadcast.rs")]
/// ```
#[derive(Clone)]
pub struct Outbox(Arc<Handover<SocketWire>>);

impl Outbox {
    /// Sends a message, or queues what the client does not take at once. Never waits. Returns `false` if the client has left
    /// or is being closed. Then this message and all later ones are dropped.
    pub fn send(&self, message: impl Into<Arc<[u8]>>) -> bool {
        let is_open = self.queue(message);
        self.flush();
        is_open
    }

    /// Queues a message without a system call. Use it under a lock, for example to have all clients see all messages in the
    /// same order. Returns the same as [`send`](Outbox::send). Call [`flush`](Outbox::flush) afterwards in either case: it
    /// wakes the client's own thread, which closes a client whose outbox is full.
    pub fn queue(&self, message: impl Into<Arc<[u8]>>) -> bool {
        self.0.push(message.into())
    }

    /// Sends as much of the queue as the client takes at once. Never waits.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Whether the client still gets messages.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Ends the connection from another thread: messages that were queued before are delivered, then the client gets the
    /// farewell for [`FarewellReason::ServerClosed`](crate::FarewellReason::ServerClosed), and the connection is closed. Its handler gets an error
    /// with [`EndReason::ServerClosed`](crate::EndReason::ServerClosed) when it waits next: the request that it carries out is completed,
    /// and its reply is sent. `reason` is for the log. Never waits.
    ///
    /// ```
    /// use acceptd::Outbox;
    ///
    /// /// Passes a message on, and gives up on a client whose queue is full before the server does.
    /// fn pass_on(outbox: &Outbox, message: &[u8]) {
    ///     if outbox.has_room_for(message.len()) {
    ///         outbox.send(message);
    ///     } else {
    ///         outbox.close(format!("{} bytes wait", outbox.queued_bytes()));
    ///     }
    /// }
    /// # let _ = pass_on;
    /// ```
    pub fn close(&self, reason: impl Into<String>) {
        if let Some(wire) = self.0.stop_taking() {
            wire.socket.close_for(reason.into());
        }
    }

    /// How many bytes of messages wait for the client, with 96 more for each message. They count against
    /// [`Limits::max_outbox`](crate::Limits::max_outbox).
    pub fn queued_bytes(&self) -> usize {
        self.0.queued_bytes()
    }

    /// Whether a message of this many bytes could be queued now without ending the connection. Other threads may take the
    /// room in the meantime.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.0.has_room_for(bytes)
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.0.set_limit(limit);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// A client's socket, and the event that wakes its own thread.
struct SocketWire {
    socket: Arc<Socket>,
    wakeup: Arc<Wakeup>,
}

impl Wire for SocketWire {
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_send(parts)
    }

    fn wake(&self) {
        self.wakeup.event().notify();
    }

    fn begin_sending(&self) -> bool {
        self.socket.begin_sending()
    }

    fn end_sending(&self) {
        self.socket.end_sending();
    }
}

/// How an outbox was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastMessage {
    /// The last message was sent whole.
    Whole,
    /// Only a part of the last message was sent.
    Torn,
}

/// The side of the client's own thread. While it waits for something else, it sends what others have queued.
pub(crate) struct Owner {
    outbox: Outbox,
    wire: Arc<SocketWire>,
    /// Whether the client takes what others send to it.
    progress: Progress,
    /// How many bytes of messages had been sent when the progress was last checked.
    sent: u64,
    write_timeout: Duration,
}

impl Owner {
    /// # Errors
    ///
    /// The system has no descriptor left for the event.
    pub(crate) fn new(socket: Arc<Socket>, limit: usize, write_timeout: Duration) -> io::Result<Owner> {
        let wakeup = Arc::clone(socket.make_wakeup()?);
        let wire = Arc::new(SocketWire { socket, wakeup });
        let outbox = Outbox(Arc::new(Handover::new(Arc::clone(&wire), limit, MESSAGE_OVERHEAD)));
        if wire.socket.begin_sending() {
            wire.socket.end_sending();
        } else {
            // The handler is in the middle of a reply. The claim is granted at once, and released at the end of the reply.
            outbox.0.claim();
        }
        let progress = Progress::new(write_timeout);
        Ok(Owner { outbox, wire, progress, sent: 0, write_timeout })
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Why the client gets no more messages, if so.
    pub(crate) fn end(&self) -> Option<End> {
        self.outbox.0.end()
    }

    /// Waits until the socket is ready for one of `events`, or the client is gone. Returns the events that
    /// occurred; none at the deadline, and none after a wakeup.
    ///
    /// # Errors
    ///
    /// The client gets no more messages. [`end`](Owner::end) returns the reason.
    pub(crate) fn wait(&mut self, events: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        loop {
            if self.wire.wakeup.ends_wait() {
                return Ok(PollFlags::empty());
            }
            let ready = match self.outbox.0.turn() {
                Turn::Over(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                turn => self.wait_once(turn, events, deadline)?,
            };
            if !ready.is_empty() || has_passed(deadline) {
                return Ok(ready);
            }
        }
    }

    /// Waits until all messages that others have queued before are sent. From then on only this thread sends.
    ///
    /// # Errors
    ///
    /// The client gets no more messages. [`end`](Owner::end) returns the reason.
    pub(crate) fn claim(&mut self) -> io::Result<()> {
        loop {
            match self.outbox.0.claim() {
                Turn::Reply => return Ok(()),
                Turn::Over(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                turn => drop(self.wait_once(turn, PollFlags::empty(), None)?),
            }
        }
    }

    pub(crate) fn set_write_timeout(&mut self, write_timeout: Duration) {
        self.write_timeout = write_timeout;
        self.progress = Progress::new(write_timeout);
    }

    /// Lets other threads send again.
    pub(crate) fn release(&self) {
        self.outbox.0.release();
    }

    /// Closes the outbox. If a message is partly sent, sends the rest, as far as the socket takes it at once, so that a
    /// farewell can follow.
    pub(crate) fn close(&self) -> LastMessage {
        loop {
            if let Some(remains) = self.outbox.0.close() {
                let Some(rest) = remains.rest else { return LastMessage::Whole };
                if self.wire.socket.send_last(rest.bytes()) < rest.bytes().len() {
                    return LastMessage::Torn;
                }
                self.wire.socket.end_sending();
                return LastMessage::Whole;
            }
            // Another thread is in a system call, which does not wait.
            self.wire.wakeup.event().wait(Instant::now() + self.write_timeout);
        }
    }

    /// Waits once: for what the turn requires, for `events`, and to be notified. Then sends what it can. Returns which of
    /// `events` have occurred.
    fn wait_once(&mut self, turn: Turn, events: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        let start = Instant::now();
        let is_writing = self.note_progress(turn);
        let late = is_writing.then(|| self.progress.deadline(start));
        let wanted = if is_writing { events | PollFlags::OUT } else { events };
        let SocketWire { socket, wakeup } = &*self.wire;
        let ready = socket.wait_with(wakeup, wanted, deadline.into_iter().chain(late).min())?;
        if is_writing {
            self.progress.note_waited(start.elapsed());
        }
        let gone = PollFlags::HUP | PollFlags::ERR;
        // Also when the client is late: the kernel only reports plenty of room, and may have a little.
        if ready.intersects(PollFlags::OUT | gone) || self.progress.is_late() {
            self.outbox.0.flush_as_owner();
        }
        if self.note_progress(self.outbox.0.turn()) && self.progress.is_late() {
            self.outbox.0.give_up();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(ready & (events | gone))
    }

    /// Returns whether this thread has to send what others have queued, as soon as the client takes more. If so, notes how
    /// much the client has taken since the last call. If not, the client has taken everything.
    fn note_progress(&mut self, turn: Turn) -> bool {
        let Turn::Write { sent } = turn else {
            self.progress.restart();
            return false;
        };
        self.progress.note_taken(usize::try_from(sent - self.sent).unwrap_or(usize::MAX));
        self.sent = sent;
        true
    }
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
