//! A client's socket, the bell of its own thread, and that thread's loop, as small as they can be for a model.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread::{self, ThreadId};

use crate::handover::{End, Handover, Remains, Turn, Wire};

/// A socket that takes few bytes, with a peer that reads them when it likes, and a event.
pub struct Line {
    socket: Mutex<Socket>,
    /// What `poll` waits for has happened.
    for_owner: Condvar,
    /// There is something to read.
    for_peer: Condvar,
    /// As in the real socket: somebody is in the middle of something, or has said the last words.
    speaking: AtomicBool,
    /// Who has made this, and owns it.
    owner: ThreadId,
}

struct Socket {
    capacity: usize,
    /// What the socket has taken and the peer has not read.
    held: String,
    read: String,
    /// How many bytes of all these came another way.
    not_queued: usize,
    /// The peer has sent something, or its end.
    has_input: bool,
    /// The event. It is level-triggered, as an eventfd is.
    is_rung: bool,
    /// So many system calls are interrupted by a signal.
    signals: usize,
    error: Option<ErrorKind>,
    /// The client's own thread has closed the outbox: nobody may send any more.
    is_left: bool,
    /// How often others than that thread have sent, or tried to.
    sends_of_others: usize,
}

/// What `poll` has found.
#[derive(Clone, Copy)]
struct Shown {
    input: bool,
    output: bool,
}

impl Line {
    pub fn new(capacity: usize) -> Arc<Line> {
        Line::with_signals(capacity, 0)
    }

    pub fn with_signals(capacity: usize, signals: usize) -> Arc<Line> {
        let socket = Socket {
            capacity,
            held: String::new(),
            read: String::new(),
            not_queued: 0,
            has_input: false,
            is_rung: false,
            signals,
            error: None,
            is_left: false,
            sends_of_others: 0,
        };
        Arc::new(Line {
            socket: Mutex::new(socket),
            for_owner: Condvar::new(),
            for_peer: Condvar::new(),
            speaking: AtomicBool::new(false),
            owner: thread::current().id(),
        })
    }

    /// The peer: reads until it has this many bytes, and then sends something.
    pub fn read(&self, count: usize) {
        let mut socket = self.lock();
        while socket.read.len() < count {
            while socket.held.is_empty() {
                socket = self.for_peer.wait(socket).unwrap();
            }
            let held = std::mem::take(&mut socket.held);
            socket.read += &held;
            self.for_owner.notify_one();
        }
        socket.has_input = true;
        self.for_owner.notify_one();
    }

    /// The peer: reads what is there, once.
    pub fn take_once(&self) {
        let mut socket = self.lock();
        let held = std::mem::take(&mut socket.held);
        socket.read += &held;
        self.for_owner.notify_one();
    }

    /// The peer is gone, without a word.
    pub fn fail(&self, error: ErrorKind) {
        self.lock().error = Some(error);
        self.for_owner.notify_one();
    }

    /// What a server does to a client whose thread waits: it says last words, and ends the input.
    pub fn say_last(&self, words: &str) -> bool {
        let were_said = self.begin() && self.say(words) == words.len();
        self.lock().has_input = true;
        self.for_owner.notify_one();
        were_said
    }

    /// Sends what the socket takes of these bytes, which were never in the queue.
    fn say(&self, bytes: &str) -> usize {
        let mut socket = self.lock();
        let taken = socket.take(bytes.bytes()).unwrap_or(0);
        socket.not_queued += taken;
        self.for_peer.notify_one();
        taken
    }

    /// So many bytes of the queue were sent so far.
    fn assert_queued(&self, sent: u64) {
        let socket = self.lock();
        assert_eq!(sent, (socket.sent().len() - socket.not_queued) as u64, "what was sent is counted");
    }

    /// The client's own thread leaves. What was sent until then.
    fn leave(&self) -> String {
        let mut socket = self.lock();
        socket.is_left = true;
        socket.sent()
    }

    /// All that was sent, read or not.
    pub fn sent(&self) -> String {
        self.lock().sent()
    }

    fn sends_of_others(&self) -> usize {
        self.lock().sends_of_others
    }

    fn lock(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().unwrap()
    }

    /// Waits for the event, which it hushes, and for these.
    fn poll(&self, wanted: Shown) -> Shown {
        let mut socket = self.lock();
        loop {
            let input = wanted.input && socket.has_input;
            let output = wanted.output && (socket.held.len() < socket.capacity || socket.error.is_some());
            if socket.is_rung || input || output {
                socket.is_rung = false;
                return Shown { input, output };
            }
            socket = self.for_owner.wait(socket).unwrap();
        }
    }
}

impl Socket {
    fn take(&mut self, bytes: impl Iterator<Item = u8>) -> io::Result<usize> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        if self.signals > 0 {
            self.signals -= 1;
            return Err(ErrorKind::Interrupted.into());
        }
        let taken: String = bytes.take(self.capacity - self.held.len()).map(char::from).collect();
        if taken.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.held += &taken;
        Ok(taken.len())
    }

    fn sent(&self) -> String {
        format!("{}{}", self.read, self.held)
    }
}

impl Wire for Line {
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.lock();
        socket.sends_of_others += usize::from(thread::current().id() != self.owner);
        assert!(!socket.is_left, "sent after the client has left");
        let taken = socket.take(parts.iter().flat_map(|part| part.iter().copied()))?;
        self.for_peer.notify_one();
        Ok(taken)
    }

    fn wake(&self) {
        self.lock().is_rung = true;
        self.for_owner.notify_one();
    }

    fn begin(&self) -> bool {
        !self.speaking.swap(true, Ordering::AcqRel)
    }

    fn end(&self) {
        self.speaking.store(false, Ordering::Release);
    }
}

/// A client's own thread, and what others hold of it.
#[derive(Clone)]
pub struct Client {
    pub line: Arc<Line>,
    handover: Arc<Handover<Line>>,
}

impl Client {
    pub fn new(line: Arc<Line>, limit: usize) -> Client {
        Client { handover: Arc::new(Handover::new(Arc::clone(&line), limit, 0)), line }
    }

    /// As `Outbox::queue`.
    pub fn queue(&self, message: &str) -> bool {
        self.handover.push(message.as_bytes().into())
    }

    /// As `Outbox::flush`.
    pub fn flush(&self) {
        self.handover.flush();
    }

    /// As `Outbox::send`.
    pub fn send(&self, message: &str) -> bool {
        let is_open = self.queue(message);
        self.flush();
        is_open
    }

    /// As `Owner::end`.
    pub fn end(&self) -> Option<End> {
        self.handover.end()
    }

    /// As `Owner::wait`, for input.
    pub fn wait(&self) -> Result<(), End> {
        loop {
            match self.handover.turn() {
                Turn::Over(end) => return Err(end),
                turn if self.attend(turn, true) => return Ok(()),
                _ => {}
            }
        }
    }

    /// As a handler's write and flush: claims, sends and waits until everything is taken, and releases.
    pub fn reply(&self, bytes: &str) -> Result<(), End> {
        self.claim()?;
        assert!(self.line.begin(), "somebody else is in the middle of something");
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.line.say(rest);
            rest = &rest[count..];
            if count == 0 {
                self.line.poll(Shown { input: false, output: true });
            }
        }
        self.line.end();
        self.handover.release();
        Ok(())
    }

    /// As `Owner::claim`, as far as it does not wait.
    pub fn begin_claim(&self) {
        self.handover.claim();
    }

    /// As `Owner::claim`. From its begin on, none of the others sends but who is at it, and that one only once.
    pub fn claim(&self) -> Result<(), End> {
        let mut turn = self.handover.claim();
        let sends = self.line.sends_of_others();
        loop {
            match turn {
                Turn::Reply => break,
                Turn::Over(end) => return Err(end),
                turn => self.attend(turn, false),
            };
            turn = self.handover.claim();
        }
        assert!(self.line.sends_of_others() <= sends + 1, "others have sent what came after the claim");
        Ok(())
    }

    /// Waits until it is this thread that has to send, and then gives up.
    pub fn give_up(&self) -> Result<(), End> {
        loop {
            match self.handover.turn() {
                Turn::Over(end) => return Err(end),
                Turn::Write { .. } => self.handover.give_up(),
                turn => drop(self.attend(turn, false)),
            }
        }
    }

    /// As `Owner::close`, but for the rest, which is not sent. What was sent, and what was not of a message that was
    /// begun.
    pub fn close(&self) -> (String, Option<String>) {
        loop {
            if let Some(Remains { rest }) = self.handover.close() {
                return (self.line.leave(), rest.map(|rest| String::from_utf8(rest.bytes().to_vec()).unwrap()));
            }
            self.line.poll(Shown { input: false, output: false });
        }
    }

    /// As `Owner::attend`. Whether there is input.
    fn attend(&self, turn: Turn, input: bool) -> bool {
        let output = if let Turn::Write { sent } = turn {
            self.line.assert_queued(sent);
            true
        } else {
            false
        };
        let shown = self.line.poll(Shown { input, output });
        if shown.output {
            self.handover.flush_as_owner();
        }
        shown.input
    }
}
