//! Writing replies: whole messages, sent at once or held back, and the end of the output.

use std::io::{self, BufRead, Write};

use super::Connection;
use super::output::SendLimits;
use super::transport::SendError;

impl Connection {
    /// Sends the next `count` bytes of input back, after everything written before, and consumes them. Sends at once and without
    /// a copy, as an echo needs it.
    ///
    /// # Errors
    ///
    /// The client does not read, or is gone.
    pub fn write_back(&mut self, count: usize) -> io::Result<()> {
        let limits = self.send_limits();
        self.check_writable()?;
        let bytes = self.input.unread();
        let bytes = bytes.get(..count).unwrap_or(bytes);
        let outcome = self.output.send_reply(bytes, &mut self.transport, limits);
        self.consume(count);
        outcome.map_err(|error| self.fail_output(error))
    }

    /// Sends `bytes` at once and without a copy, after everything written before. For handlers that collect replies by
    /// themselves.
    ///
    /// # Errors
    ///
    /// The client does not read, or is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let limits = self.send_limits();
        self.check_writable()?;
        self.output.send_reply(bytes, &mut self.transport, limits).map_err(|error| self.fail_output(error))
    }

    /// Begins a message that must not be interrupted, whatever the handler does before
    /// [`end_message`](Connection::end_message): it may flush, read or compute. If the connection ends before, for whatever
    /// reason, the client gets no farewell in the middle of the message. If it has been sent a part of the message, the
    /// connection is reset, so that the part is not taken for the whole.
    ///
    /// Without this, a message is what is written between two reads, or up to a [`flush`](Write::flush). That is right for
    /// replies that are written in one go, however long they are.
    ///
    /// Messages that others send by an [`Outbox`](crate::Outbox) wait until the end of this one.
    pub fn begin_message(&mut self) {
        self.output.begin_message();
    }

    /// Ends the message that [`begin_message`](Connection::begin_message) has begun.
    pub fn end_message(&mut self) {
        self.output.end_message();
    }

    /// Ends the output: sends everything written before and all messages of the [`Outbox`](crate::Outbox), and then the end of the stream.
    /// Reading goes on. For protocols in which the end of the stream means "this is all" (as in HTTP/1.0). From then on,
    /// writing is an error, the outbox is closed, and there is no farewell.
    ///
    /// ```
    /// use acceptd::Connection;
    /// use std::io::{self, Write};
    ///
    /// fn send_all(client: &mut Connection, body: &[u8]) -> io::Result<()> {
    ///     client.write_all(body)?;
    ///     client.end_output()?;
    ///     // Until the client has read it and closes.
    ///     while client.read_line()?.is_some() {}
    ///     Ok(())
    /// }
    /// # let _ = send_all;
    /// ```
    ///
    /// # Errors
    ///
    /// The client does not read, or is gone.
    pub fn end_output(&mut self) -> io::Result<()> {
        self.check_writable()?;
        self.flush()?;
        if let Err(error) = self.transport.wait_for_others() {
            return Err(self.fail_output(SendError::Lost(error.kind())));
        }
        self.transport.close_outbox();
        self.transport.socket().end_output();
        Ok(())
    }

    pub(super) fn check_writable(&self) -> io::Result<()> {
        self.check_open()?;
        self.check_output_open()
    }

    pub(super) fn check_output_open(&self) -> io::Result<()> {
        if self.transport.socket().output_was_ended() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the handler has ended the output"));
        }
        Ok(())
    }

    pub(super) fn send_limits(&self) -> SendLimits {
        SendLimits { write_timeout: self.limits.write_timeout, max_held: self.limits.max_output }
    }
}
