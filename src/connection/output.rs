//! The output buffer: what the handler has written and the client has not been sent yet. It knows whether what was sent ends
//! with a whole message.

use std::time::Duration;

use super::transport::{SendError, Transport};

/// An idle client keeps no buffer above this size.
const SMALL: usize = 1024;

#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    /// How much of `buffer` is whole messages.
    whole: usize,
    /// A message was sent in part, and the handler has not written the rest.
    is_begun: bool,
    /// The handler says that its message goes on, whatever it does meanwhile.
    is_held_open: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// All that was sent is complete. Others may send.
    #[default]
    Between,
    /// A reply is being sent. Others wait for its end.
    Sending,
    /// What was sent ends in the middle of a message. Nothing may follow it.
    Torn,
}

/// The limits that apply to sending.
#[derive(Clone, Copy)]
pub(super) struct SendLimits {
    pub(super) write_timeout: Duration,
    /// At most this many bytes are held back.
    pub(super) max_held: usize,
}

impl Output {
    /// Adds to the reply; sends first what would be too much to hold back.
    ///
    /// # Errors
    ///
    /// As [`Transport::send_all`].
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        transport: &mut Transport,
        limits: SendLimits,
    ) -> Result<(), SendError> {
        if self.buffer.len() + bytes.len() > limits.max_held {
            if bytes.len() >= limits.max_held {
                return self.send(bytes, transport, limits);
            }
            self.send(&[], transport, limits)?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what was held back, and then `bytes`, without a copy: the reply is complete.
    ///
    /// # Errors
    ///
    /// As [`Transport::send_all`].
    pub(super) fn send_reply(
        &mut self,
        bytes: &[u8],
        transport: &mut Transport,
        limits: SendLimits,
    ) -> Result<(), SendError> {
        self.send(bytes, transport, limits)?;
        self.flush(transport, limits)
    }

    /// Sends what was held back. The reply is complete, unless the handler holds its message open.
    ///
    /// # Errors
    ///
    /// As [`Transport::send_all`].
    pub(super) fn flush(&mut self, transport: &mut Transport, limits: SendLimits) -> Result<(), SendError> {
        self.note_whole();
        if !self.buffer.is_empty() {
            self.send(&[], transport, limits)?;
        }
        if self.phase == Phase::Sending && !self.is_held_open {
            self.phase = Phase::Between;
            transport.end_sending();
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], transport: &mut Transport, limits: SendLimits) -> Result<(), SendError> {
        // Taken out because `send_all` borrows `self`, and put back to keep its capacity.
        let held = std::mem::take(&mut self.buffer);
        self.is_begun |= held.len() > self.whole || !bytes.is_empty();
        self.whole = 0;
        self.send_all(&held, transport, limits)?;
        self.buffer = held;
        self.buffer.clear();
        self.send_all(bytes, transport, limits)
    }

    fn send_all(&mut self, bytes: &[u8], transport: &mut Transport, limits: SendLimits) -> Result<(), SendError> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.phase {
            Phase::Between => transport.begin_sending()?,
            Phase::Sending => {}
            Phase::Torn => return Err(SendError::Cut),
        }
        let outcome = transport.send_all(bytes, limits.write_timeout);
        self.phase = if outcome.is_ok() { Phase::Sending } else { Phase::Torn };
        outcome
    }

    /// Notes that all that was written is whole messages: the handler goes on to the next request.
    pub(super) fn note_whole(&mut self) {
        if !self.is_held_open {
            self.whole = self.buffer.len();
            self.is_begun = false;
        }
    }

    /// Holds the message that begins now open until [`end_message`](Output::end_message).
    pub(super) fn begin_message(&mut self) {
        self.note_whole();
        self.is_held_open = true;
    }

    pub(super) fn end_message(&mut self) {
        self.is_held_open = false;
        self.note_whole();
    }

    /// Drops the message that was begun and never completed. If a part of it was sent, nothing may follow.
    pub(super) fn drop_incomplete(&mut self) {
        if self.is_begun {
            self.phase = Phase::Torn;
        }
        self.buffer.truncate(self.whole);
        self.is_held_open = false;
    }

    /// Whether something was written since the last flush.
    #[cfg(feature = "chat")]
    pub(super) fn is_pending(&self) -> bool {
        !self.buffer.is_empty() || self.phase == Phase::Sending
    }

    /// Whether what was sent ends in the middle of a message.
    pub(super) fn is_torn(&self) -> bool {
        self.phase == Phase::Torn
    }

    /// Whether the buffer is larger than an idle client's should be.
    pub(super) fn is_large(&self) -> bool {
        self.buffer.capacity() > SMALL
    }

    /// Frees the memory if nothing is held back.
    pub(super) fn release_memory(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}
