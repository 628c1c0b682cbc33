//! How a client's own thread uses its [`Socket`]: how it waits, and how it takes turns with other threads that send to the
//! client.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::outbox::{End, LastMessage, Outbox, Owner};
use crate::progress::Progress;
use crate::socket::{Socket, socket_timeout};

pub(super) struct Transport {
    socket: Arc<Socket>,
    /// Present if other threads send to this client too.
    owner: Option<Owner>,
    /// The socket's own timeout (`SO_RCVTIMEO`): a wait is one system call, and one more only when the timeout changes.
    receive_timeout: Option<Duration>,
}

impl Transport {
    /// For a socket that was accepted with this timeout: it has inherited it from its listener.
    pub(super) fn new(socket: Arc<Socket>, receive_timeout: Option<Duration>) -> Transport {
        Transport { socket, owner: None, receive_timeout: receive_timeout.map(socket_timeout) }
    }

    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Appends what has arrived to `buffer`, as much as its spare capacity holds. Waits for the first byte. Returns 0 at
    /// the end of the input.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the timeout or a wakeup, `Interrupted` by a signal, and the socket's own.
    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>, timeout: Option<Duration>) -> io::Result<usize> {
        if self.socket.wakeup().is_some() {
            let deadline = timeout.map(|timeout| Instant::now() + timeout);
            while !self.wait(PollFlags::IN, deadline)?.is_empty() {
                match self.socket.try_receive(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    outcome => return outcome,
                }
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        let timeout = timeout.map(socket_timeout);
        if timeout != self.receive_timeout {
            self.socket.set_receive_timeout(timeout)?;
            self.receive_timeout = timeout;
        }
        self.socket.receive(buffer)
    }

    /// Sends all of `bytes`, which belong to a message that has [begun](Transport::begin_sending). Waits for the client as
    /// long as it makes progress.
    ///
    /// # Errors
    ///
    /// The client takes too little, or is gone.
    pub(super) fn send_all(&self, mut bytes: &[u8], write_timeout: Duration) -> Result<(), SendError> {
        let mut progress = Progress::new(write_timeout);
        loop {
            match self.socket.try_send(&[IoSlice::new(bytes)]) {
                Ok(count) => {
                    progress.note_taken(count);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(SendError::Lost(error.kind())),
            }
            if bytes.is_empty() {
                return Ok(());
            }
            if progress.is_late() {
                return Err(SendError::Late);
            }
            let start = Instant::now();
            let deadline = Some(progress.deadline(start));
            self.socket.wait(PollFlags::OUT, deadline).map_err(|error| SendError::Lost(error.kind()))?;
            progress.note_waited(start.elapsed());
        }
    }

    /// Waits until the messages that others have sent are complete, and begins a message.
    ///
    /// # Errors
    ///
    /// Others' messages could not be sent, or another thread has sent the farewell.
    pub(super) fn begin_sending(&mut self) -> Result<(), SendError> {
        self.wait_for_others().map_err(|error| SendError::Lost(error.kind()))?;
        if self.socket.begin_sending() { Ok(()) } else { Err(SendError::Cut) }
    }

    pub(super) fn end_sending(&self) {
        self.socket.end_sending();
        if let Some(owner) = &self.owner {
            owner.release();
        }
    }

    /// Waits until the messages that others have sent are complete, and keeps others from sending more.
    ///
    /// # Errors
    ///
    /// Why others' messages could not be sent.
    pub(super) fn wait_for_others(&mut self) -> io::Result<()> {
        self.owner.as_mut().map_or(Ok(()), Owner::claim)
    }

    /// Waits until the socket is ready for one of `events`, or the client is gone. Returns the events that
    /// occurred; none at the deadline, and none after a wakeup.
    ///
    /// # Errors
    ///
    /// The system's, or why others' messages could not be sent.
    pub(super) fn wait(&mut self, events: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
        if let Some(owner) = &mut self.owner {
            return owner.wait(events, deadline);
        }
        match self.socket.wakeup() {
            Some(wakeup) if wakeup.ends_wait() => Ok(PollFlags::empty()),
            Some(wakeup) => self.socket.wait_with(wakeup, events, deadline),
            None => self.socket.wait(events, deadline),
        }
    }

    /// The handle by which others send to this client.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(super) fn outbox(&mut self, limit: usize, write_timeout: Duration) -> io::Result<Outbox> {
        let owner = match self.owner.take() {
            Some(owner) => owner,
            None => Owner::new(Arc::clone(&self.socket), limit, write_timeout)?,
        };
        Ok(self.owner.insert(owner).outbox().clone())
    }

    /// Why others can't send any more, if so.
    pub(super) fn end_of_outbox(&self) -> Option<End> {
        self.owner.as_ref().and_then(Owner::end)
    }

    /// Sets the limit on what waits in the outbox, if there is one.
    pub(super) fn set_max_outbox(&self, limit: usize) {
        if let Some(owner) = &self.owner {
            owner.outbox().set_limit(limit);
        }
    }

    /// Sets how long the client may take for others' messages.
    pub(super) fn set_write_timeout(&mut self, write_timeout: Duration) {
        if let Some(owner) = &mut self.owner {
            owner.set_write_timeout(write_timeout);
        }
    }

    /// Keeps others from sending from now on.
    pub(super) fn close_outbox(&mut self) -> LastMessage {
        self.owner.take().map_or(LastMessage::Whole, |owner| owner.close())
    }
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The client takes too little of it.
    Late,
    /// Another thread has sent the farewell.
    Cut,
    /// The socket failed.
    Lost(ErrorKind),
}
