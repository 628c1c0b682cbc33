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
use crate::connection::Socket;

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
/// counts for 96 more, which it costs) and [`Limits::write_timeout`](crate::Limits::write_timeout). A client that lets more wait, or longer, is told that it
/// reads too slowly, and closed; nobody else notices. A message that goes to many is held once.
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
        self.0.push(message.into(), Instant::now())
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
        self.socket.begin_reply()
    }

    fn end(&self) {
        self.socket.end_reply();
    }
}

/// What has become of an outbox.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Closed {
    /// How many bytes were sent in all.
    pub(crate) sent: u64,
    /// The last message was not sent to its end.
    pub(crate) is_torn: bool,
}

/// The side of the client's own thread, which finishes what others have sent while it waits for something else.
pub(crate) struct Owner {
    outbox: Outbox,
    line: Arc<Line>,
    patience: Duration,
}

impl Owner {
    /// # Errors
    ///
    /// No descriptor for the bell.
    pub(crate) fn new(socket: Arc<Socket>, limit: usize, patience: Duration) -> io::Result<Owner> {
        socket.keep_room_for_last_words();
        let line = Arc::new(Line { socket, bell: Bell::new()? });
        let outbox = Outbox(Arc::new(Handover::new(Arc::clone(&line), limit, EACH)));
        if line.socket.begin_reply() {
            line.socket.end_reply();
        } else {
            // Its handler is in the middle of a reply. The claim is granted at once, and released when that is complete.
            outbox.0.claim();
        }
        Ok(Owner { outbox, line, patience })
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
    pub(crate) fn wait(&self, signs: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
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
    /// `TimedOut` at the deadline; else the client gets no more.
    pub(crate) fn claim(&self, deadline: Instant) -> io::Result<()> {
        loop {
            match self.outbox.0.claim() {
                Turn::Reply => return Ok(()),
                Turn::Over(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                turn => drop(self.attend(turn, PollFlags::empty(), Some(deadline))?),
            }
        }
    }

    /// Lets others send again.
    pub(crate) fn release(&self) {
        self.outbox.0.release(Instant::now());
    }

    /// Ends the outbox. A message that was cut short by that is completed, if the socket takes the rest of it at once, so
    /// that last words can follow.
    pub(crate) fn close(&self) -> Closed {
        let deadline = Instant::now() + self.patience;
        self.line.socket.make_room_for_last_words();
        loop {
            if let Some(remains) = self.outbox.0.close() {
                let Some(rest) = remains.rest else { return Closed { sent: remains.sent, is_torn: false } };
                let rest = rest.bytes();
                let sent = self.line.socket.try_send(&[IoSlice::new(rest)]).unwrap_or(0);
                let is_torn = sent < rest.len();
                if !is_torn {
                    self.line.socket.end_reply();
                }
                return Closed { sent: remains.sent + sent as u64, is_torn };
            }
            // Another thread is in the middle of a system call that does not wait.
            self.line.bell.wait(deadline);
        }
    }

    /// Waits once, for what the turn says, for these `signs` and for the bell, and does what is to be done. Which of the
    /// signs there are.
    fn attend(&self, turn: Turn, signs: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        let given_up = self.given_up(turn);
        let was_late = is_over(given_up);
        let wanted = if given_up.is_some() { signs | PollFlags::OUT } else { signs };
        let mut fds = [PollFd::new(&*self.line.socket, wanted), PollFd::new(&self.line.bell, PollFlags::IN)];
        wait_for(&mut fds, deadline.into_iter().chain(given_up).min())?;
        let [socket, bell] = fds.map(|fd| fd.revents());
        if !bell.is_empty() {
            self.line.bell.hush();
        }
        let gone = PollFlags::HUP | PollFlags::ERR;
        if socket.intersects(PollFlags::OUT | gone) {
            self.outbox.0.flush_as_owner();
        }
        // Not before it was tried: this thread may have been busy for so long, while the client has taken everything.
        if was_late && is_over(self.given_up(self.outbox.0.turn())) {
            self.outbox.0.give_up();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(socket & (signs | gone))
    }

    /// When the client's time to take its oldest message is over, if this thread has to send it.
    fn given_up(&self, turn: Turn) -> Option<Instant> {
        let Turn::Write { since } = turn else { return None };
        Some(since + self.patience)
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
