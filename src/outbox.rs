//! [`Outbox`]: the end of a connection that other threads hold, to send its client something without waiting for it.
//!
//! A message is queued, and who has queued it tries the socket at once. What the socket does not take, the client's own
//! thread sends later: it waits for its socket and for a bell, in [`Owner`].

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::bell::{Bell, wait_for};
use crate::progress::Progress;
use crate::socket::Socket;

mod handover;

pub(crate) use handover::End;
use handover::{Handover, Turn, Wire};

/// What a message costs besides its bytes, and counts for.
pub(crate) const EACH: usize = 96;

/// Sends to a client from other threads than its own, without ever waiting for it.
///
/// It comes from [`Connection::outbox`](crate::Connection::outbox), and is a handle: clones send to the same client.
/// Messages arrive whole, in the order in which they were queued, and never in the middle of a reply that the client's
/// own handler writes.
///
/// What a client does not take waits for it, up to [`Limits::max_outbox`](crate::Limits::max_outbox) bytes (each message
/// counts for 96 more, which it costs). A client that lets more wait, or that takes less than
/// [`Limits::write_timeout`](crate::Limits::write_timeout) asks for, is told that it reads too slowly, and closed; nobody
/// else notices. A message that goes to many is held once.
///
/// When the client has left, the outbox holds nothing of it: keep it as long as is convenient.
///
/// This is a room in which everybody hears everybody (`examples/broadcast.rs`):
///
/// ```no_run
#[doc = include_str!("../examples/broadcast.rs")]
/// ```
#[derive(Clone)]
pub struct Outbox(Arc<Handover<Line>>);

impl Outbox {
    /// Sends a message, or queues what the client does not take at once. Never waits. `false`: the client has left, or
    /// is being closed, and this and all later messages are dropped.
    pub fn send(&self, message: impl Into<Arc<[u8]>>) -> bool {
        let is_open = self.queue(message);
        self.flush();
        is_open
    }

    /// Queues a message, without a system call: for who holds a lock, say, so that all clients see all messages in the
    /// same order. `false` as for [`send`](Outbox::send). Has to be followed by [`flush`](Outbox::flush) in either case:
    /// it wakes the client's own thread, which closes a client whose outbox is full.
    pub fn queue(&self, message: impl Into<Arc<[u8]>>) -> bool {
        self.0.push(message.into())
    }

    /// Sends what is queued, as much as the client takes at once. Never waits.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Whether messages are still taken.
    pub fn is_open(&self) -> bool {
        self.0.end().is_none()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// A client's socket, and the bell of its own thread.
struct Line {
    socket: Arc<Socket>,
    bell: Bell,
}

impl Wire for Line {
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_send(parts)
    }

    fn wake(&self) {
        self.bell.ring();
    }

    fn begin(&self) -> bool {
        self.socket.begin_message()
    }

    fn end(&self) {
        self.socket.end_message();
    }
}

/// How an outbox was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// What was sent ends with a whole message.
    Whole,
    /// The last message was not sent to its end.
    Torn,
}

/// The side of the client's own thread, which finishes what others have sent while it waits for something else.
pub(crate) struct Owner {
    outbox: Outbox,
    line: Arc<Line>,
    /// Whether the client takes what others have sent to it.
    progress: Progress,
    /// How many bytes of messages had been sent when the progress was last looked at.
    sent: u64,
    write_timeout: Duration,
}

impl Owner {
    /// # Errors
    ///
    /// No descriptor for the bell.
    pub(crate) fn new(socket: Arc<Socket>, limit: usize, write_timeout: Duration) -> io::Result<Owner> {
        let line = Arc::new(Line { socket, bell: Bell::new()? });
        let outbox = Outbox(Arc::new(Handover::new(Arc::clone(&line), limit, EACH)));
        if line.socket.begin_message() {
            line.socket.end_message();
        } else {
            // Its handler is in the middle of a reply. The claim is granted at once, and released when that is complete.
            outbox.0.claim();
        }
        let progress = Progress::new(write_timeout);
        Ok(Owner { outbox, line, progress, sent: 0, write_timeout })
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Why the client gets no more, if so.
    pub(crate) fn end(&self) -> Option<End> {
        self.outbox.0.end()
    }

    /// Waits until the socket shows one of these `signs`, or that the client is gone: which it shows, none of them if the
    /// deadline was first.
    ///
    /// # Errors
    ///
    /// The client gets no more: why, [`end`](Owner::end) tells.
    pub(crate) fn wait(&mut self, signs: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        loop {
            let shown = match self.outbox.0.turn() {
                Turn::Over(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                turn => self.attend(turn, signs, deadline)?,
            };
            if !shown.is_empty() || is_over(deadline) {
                return Ok(shown);
            }
        }
    }

    /// Makes it the client's own thread that sends, after all that others have queued before.
    ///
    /// # Errors
    ///
    /// The client gets no more: why, [`end`](Owner::end) tells.
    pub(crate) fn claim(&mut self) -> io::Result<()> {
        loop {
            match self.outbox.0.claim() {
                Turn::Reply => return Ok(()),
                Turn::Over(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                turn => drop(self.attend(turn, PollFlags::empty(), None)?),
            }
        }
    }

    /// Lets others send again.
    pub(crate) fn release(&self) {
        self.outbox.0.release();
    }

    /// Ends the outbox. A message that was cut short by that is completed, if the socket takes the rest of it at once, so
    /// that a farewell can follow.
    pub(crate) fn close(&self) -> Closed {
        loop {
            if let Some(remains) = self.outbox.0.close() {
                let Some(rest) = remains.rest else { return Closed::Whole };
                if self.line.socket.send_last(rest.bytes()) < rest.bytes().len() {
                    return Closed::Torn;
                }
                self.line.socket.end_message();
                return Closed::Whole;
            }
            // Another thread is in the middle of a system call that does not wait.
            self.line.bell.wait(Instant::now() + self.write_timeout);
        }
    }

    /// Waits once, for what the turn says, for these `signs` and for the bell, and does what is to be done. Which of the
    /// signs there are.
    fn attend(&mut self, turn: Turn, signs: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        let start = Instant::now();
        let is_writing = self.note_progress(turn);
        let late = is_writing.then(|| self.progress.deadline(start));
        let wanted = if is_writing { signs | PollFlags::OUT } else { signs };
        let mut fds = [PollFd::new(&*self.line.socket, wanted), PollFd::new(&self.line.bell, PollFlags::IN)];
        wait_for(&mut fds, deadline.into_iter().chain(late).min())?;
        let [socket, bell] = fds.map(|fd| fd.revents());
        if !bell.is_empty() {
            self.line.bell.hush();
        }
        if is_writing {
            self.progress.note_waited(start.elapsed());
        }
        let gone = PollFlags::HUP | PollFlags::ERR;
        // When the client is late, too: the kernel tells only of much room, and may have some.
        if socket.intersects(PollFlags::OUT | gone) || self.progress.is_late() {
            self.outbox.0.flush_as_owner();
        }
        if self.note_progress(self.outbox.0.turn()) && self.progress.is_late() {
            self.outbox.0.give_up();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(socket & (signs | gone))
    }

    /// Whether this thread has to send what others have queued, as soon as the client takes more. If so, notes how much it
    /// has taken since the last look; if not, the client has taken everything.
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

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
