//! What a handler has written and the client has not yet been sent.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::transport::Transport;

/// An idle client keeps no buffer above this size.
const SMALL: usize = 1024;

#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    sent: u64,
    /// By when the reply that is being sent must have been taken. `None` between replies.
    deadline: Option<Instant>,
}

/// What sending needs to know of the server's limits.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// How long a whole reply may take.
    pub(super) timeout: Duration,
    /// How many bytes are held back at the most.
    pub(super) hold: usize,
}

impl Output {
    /// Adds to the reply; sends first what would be too much to hold back.
    ///
    /// # Errors
    ///
    /// As [`send`](Output::send).
    pub(super) fn write(&mut self, mut bytes: &[u8], transport: &mut Transport, pace: Pace) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > pace.hold {
            let all = if bytes.len() >= pace.hold { std::mem::take(&mut bytes) } else { &[] };
            self.send(all, transport, pace)?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what was held back, and then `bytes`, without a copy.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the reply's deadline is over, and the socket's own.
    pub(super) fn send(&mut self, bytes: &[u8], transport: &mut Transport, pace: Pace) -> io::Result<()> {
        let held = std::mem::take(&mut self.buffer);
        self.send_all(&held, transport, pace)?;
        self.buffer = held;
        self.buffer.clear();
        self.send_all(bytes, transport, pace)
    }

    /// Sends what was held back, and then `bytes`, which are the last of the reply.
    ///
    /// # Errors
    ///
    /// As [`send`](Output::send).
    pub(super) fn send_reply(&mut self, bytes: &[u8], transport: &mut Transport, pace: Pace) -> io::Result<()> {
        self.send(bytes, transport, pace)?;
        self.flush(transport, pace)
    }

    /// Whether something was written since the last flush.
    pub(super) fn is_pending(&self) -> bool {
        !self.buffer.is_empty() || self.deadline.is_some()
    }

    /// Sends the rest of the reply. The next byte begins another one, with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`send`](Output::send).
    pub(super) fn flush(&mut self, transport: &mut Transport, pace: Pace) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.send(&[], transport, pace)?;
        }
        if self.deadline.take().is_some() {
            transport.end_reply();
        }
        Ok(())
    }

    fn send_all(&mut self, mut bytes: &[u8], transport: &mut Transport, pace: Pace) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.deadline.is_none() {
            transport.begin_reply(pace.timeout)?;
        }
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + pace.timeout);
        let mut left = deadline.saturating_duration_since(now);
        loop {
            match transport.send(bytes, left) {
                Ok(count) => {
                    self.sent += count as u64;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
            if bytes.is_empty() {
                return Ok(());
            }
            left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Forgets what was not sent.
    pub(super) fn discard(&mut self) {
        self.buffer.clear();
    }

    /// Whether waiting now would keep more memory than an idle client deserves.
    pub(super) fn is_large(&self) -> bool {
        self.buffer.capacity() > SMALL
    }

    /// Gives the memory back; only when nothing is held.
    pub(super) fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Whether a reply has been begun and not completed.
    pub(super) fn is_mid_reply(&self) -> bool {
        self.deadline.is_some()
    }

    /// Counts what was sent without this buffer.
    pub(super) fn note_sent(&mut self, count: u64) {
        self.sent += count;
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}
