//! A minimal socket with an event, and the loop of a client's own thread, for the models.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread::{self, ThreadId};

use crate::handover::{End, Handover, Remains, Turn, Wire};

/// A socket with a small send buffer, its peer, and the event that wakes the client's own thread.
pub struct ModelSocket {
    state: Mutex<State>,
    /// Notified when `poll` may have something to return.
    for_owner: Condvar,
    /// Notified when there is something to read.
    for_peer: Condvar,
    /// As in the real socket: a message is being sent, or the farewell was sent.
    is_sending: AtomicBool,
    /// The client's own thread, which created this socket.
    owner: ThreadId,
}

struct State {
    capacity: usize,
    /// The bytes that the socket has taken and the peer has not read.
    buffered: String,
    read: String,
    /// How many of these bytes were never in the queue: replies and farewells.
    not_queued: usize,
    /// The peer has sent something or closed.
    has_input: bool,
    /// The event. It is level-triggered, as an eventfd is.
    is_notified: bool,
    /// How many more system calls a signal interrupts.
    signals: usize,
    error: Option<ErrorKind>,
    /// The client's own thread has closed the outbox. No thread may send any more.
    is_closed: bool,
    /// How often other threads than that one have sent, or tried to.
    sends_by_others: usize,
}

/// What `poll` waits for, and what it has found.
#[derive(Clone, Copy)]
struct Readiness {
    input: bool,
    output: bool,
}

impl ModelSocket {
    pub fn new(capacity: usize) -> Arc<ModelSocket> {
        ModelSocket::with_signals(capacity, 0)
    }

    pub fn with_signals(capacity: usize, signals: usize) -> Arc<ModelSocket> {
        let state = State {
            capacity,
            buffered: String::new(),
            read: String::new(),
            not_queued: 0,
            has_input: false,
            is_notified: false,
            signals,
            error: None,
            is_closed: false,
            sends_by_others: 0,
        };
        Arc::new(ModelSocket {
            state: Mutex::new(state),
            for_owner: Condvar::new(),
            for_peer: Condvar::new(),
            is_sending: AtomicBool::new(false),
            owner: thread::current().id(),
        })
    }

    /// The peer reads until it has this many bytes, and then sends something.
    pub fn read(&self, count: usize) {
        let mut socket = self.lock();
        while socket.read.len() < count {
            while socket.buffered.is_empty() {
                socket = self.for_peer.wait(socket).unwrap();
            }
            let buffered = std::mem::take(&mut socket.buffered);
            socket.read += &buffered;
            self.for_owner.notify_one();
        }
        socket.has_input = true;
        self.for_owner.notify_one();
    }

    /// The peer reads the buffered bytes once.
    pub fn read_once(&self) {
        let mut socket = self.lock();
        let buffered = std::mem::take(&mut socket.buffered);
        socket.read += &buffered;
        self.for_owner.notify_one();
    }

    /// The peer is gone: every later call fails with `error`.
    pub fn fail(&self, error: ErrorKind) {
        self.lock().error = Some(error);
        self.for_owner.notify_one();
    }

    /// What the server does to a client whose thread waits: sends a farewell and ends the input.
    pub fn send_farewell(&self, farewell: &str) -> bool {
        let was_sent = self.begin_sending() && self.send_directly(farewell) == farewell.len();
        self.lock().has_input = true;
        self.for_owner.notify_one();
        was_sent
    }

    /// Sends as many of `bytes` as the socket takes, past the queue.
    fn send_directly(&self, bytes: &str) -> usize {
        let mut socket = self.lock();
        let taken = socket.take(bytes.bytes()).unwrap_or(0);
        socket.not_queued += taken;
        self.for_peer.notify_one();
        taken
    }

    /// Checks that `sent` is the number of bytes of the queue that were sent so far.
    fn assert_queued(&self, sent: u64) {
        let socket = self.lock();
        assert_eq!(sent, (socket.sent().len() - socket.not_queued) as u64, "every byte that was sent is counted");
    }

    /// Marks the socket as closed. Returns all bytes that were sent.
    fn close(&self) -> String {
        let mut socket = self.lock();
        socket.is_closed = true;
        socket.sent()
    }

    /// All bytes that were sent, read or not.
    pub fn sent(&self) -> String {
        self.lock().sent()
    }

    fn sends_by_others(&self) -> usize {
        self.lock().sends_by_others
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for the event or for `wanted`. Clears the event.
    fn poll(&self, wanted: Readiness) -> Readiness {
        let mut socket = self.lock();
        loop {
            let input = wanted.input && socket.has_input;
            let output = wanted.output && (socket.buffered.len() < socket.capacity || socket.error.is_some());
            if socket.is_notified || input || output {
                socket.is_notified = false;
                return Readiness { input, output };
            }
            socket = self.for_owner.wait(socket).unwrap();
        }
    }
}

impl State {
    fn take(&mut self, bytes: impl Iterator<Item = u8>) -> io::Result<usize> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        if self.signals > 0 {
            self.signals -= 1;
            return Err(ErrorKind::Interrupted.into());
        }
        let taken: String = bytes.take(self.capacity - self.buffered.len()).map(char::from).collect();
        if taken.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.buffered += &taken;
        Ok(taken.len())
    }

    fn sent(&self) -> String {
        format!("{}{}", self.read, self.buffered)
    }
}

impl Wire for ModelSocket {
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.lock();
        socket.sends_by_others += usize::from(thread::current().id() != self.owner);
        assert!(!socket.is_closed, "sent after the client has left");
        let taken = socket.take(parts.iter().flat_map(|part| part.iter().copied()))?;
        self.for_peer.notify_one();
        Ok(taken)
    }

    fn wake(&self) {
        self.lock().is_notified = true;
        self.for_owner.notify_one();
    }

    fn begin_sending(&self) -> bool {
        !self.is_sending.swap(true, Ordering::AcqRel)
    }

    fn end_sending(&self) {
        self.is_sending.store(false, Ordering::Release);
    }
}

/// The hand-over of one client: the steps of its own thread, and those of senders.
#[derive(Clone)]
pub struct Client {
    pub socket: Arc<ModelSocket>,
    handover: Arc<Handover<ModelSocket>>,
}

impl Client {
    pub fn new(socket: Arc<ModelSocket>, limit: usize) -> Client {
        Client { handover: Arc::new(Handover::new(Arc::clone(&socket), limit, 0)), socket }
    }

    /// Like `Outbox::queue`.
    pub fn queue(&self, message: &str) -> bool {
        self.handover.push(message.as_bytes().into())
    }

    /// Like `Outbox::flush`.
    pub fn flush(&self) {
        self.handover.flush();
    }

    /// Like `Outbox::send`.
    pub fn send(&self, message: &str) -> bool {
        let is_open = self.queue(message);
        self.flush();
        is_open
    }

    /// Like `Owner::end`.
    pub fn end(&self) -> Option<End> {
        self.handover.end()
    }

    /// Like `Owner::wait`, for input.
    pub fn wait(&self) -> Result<(), End> {
        loop {
            match self.handover.turn() {
                Turn::Over(end) => return Err(end),
                turn if self.wait_once(turn, true) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Like `Outbox::close`.
    pub fn close_by_other(&self) {
        if let Some(socket) = self.handover.stop_taking() {
            socket.wake();
        }
    }

    /// Like `Owner::wait`, until another thread ends the connection.
    pub fn wait_until_closing(&self) {
        while self.handover.is_open() {
            self.wait_once(self.handover.turn(), false);
        }
    }

    /// Like a handler's write and flush: claims, sends until the socket has taken everything, and releases.
    pub fn reply(&self, bytes: &str) -> Result<(), End> {
        self.claim()?;
        assert!(self.socket.begin_sending(), "another thread is sending a message");
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.socket.send_directly(rest);
            rest = &rest[count..];
            if count == 0 {
                self.socket.poll(Readiness { input: false, output: true });
            }
        }
        self.socket.end_sending();
        self.handover.release();
        Ok(())
    }

    /// The first step of `Owner::claim`, without waiting.
    pub fn begin_claim(&self) {
        self.handover.claim();
    }

    /// Like `Owner::claim`. Checks that other threads send at most once more: only a thread that is already sending may.
    pub fn claim(&self) -> Result<(), End> {
        let mut turn = self.handover.claim();
        let sends = self.socket.sends_by_others();
        loop {
            match turn {
                Turn::Reply => break,
                Turn::Over(end) => return Err(end),
                turn => self.wait_once(turn, false),
            };
            turn = self.handover.claim();
        }
        assert!(
            self.socket.sends_by_others() <= sends + 1,
            "another thread has sent messages that were queued after the claim"
        );
        Ok(())
    }

    /// Waits until this thread has to send, and then gives up.
    pub fn give_up(&self) -> Result<(), End> {
        loop {
            match self.handover.turn() {
                Turn::Over(end) => return Err(end),
                Turn::Write { .. } => self.handover.give_up(),
                turn => drop(self.wait_once(turn, false)),
            }
        }
    }

    /// Like `Owner::close`, but does not send the rest. Returns all bytes that were sent, and the unsent rest of a message
    /// that was partly sent.
    pub fn close(&self) -> (String, Option<String>) {
        loop {
            if let Some(Remains { rest }) = self.handover.close() {
                return (self.socket.close(), rest.map(|rest| String::from_utf8(rest.bytes().to_vec()).unwrap()));
            }
            self.socket.poll(Readiness { input: false, output: false });
        }
    }

    /// Like `Owner::wait_once`. Returns whether there is input.
    fn wait_once(&self, turn: Turn, input: bool) -> bool {
        let output = if let Turn::Write { sent } = turn {
            self.socket.assert_queued(sent);
            true
        } else {
            false
        };
        let ready = self.socket.poll(Readiness { input, output });
        if ready.output {
            self.handover.flush_as_owner();
        }
        ready.input
    }
}
