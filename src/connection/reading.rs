//! Reading requests: lines, and whatever a protocol's own `parse` finds.

use std::io::{self, BufRead};
use std::time::Instant;

use super::wait::{OnWake, Received};
use super::{Connection, EndReason};

/// What [`Connection::read_request_until`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// A request.
    Request(T),
    /// The client has closed its side: this is the whole of what it wanted to send. It may still read.
    End,
    /// A drain has ended the input. The client may have wanted to send more. Output can still be sent.
    Draining,
    /// The deadline came first. Bytes of an incomplete request stay where they are.
    Deadline,
    /// A [`Waker`](crate::Waker) was used.
    Woken,
}

impl Connection {
    /// The next line without its line end (LF or CRLF). `None` when the client has closed its side after a whole line.
    ///
    /// This is not [`BufRead::read_line`], which has neither a limit nor a deadline for the whole line. To answer a line that is
    /// too long and go on, see the [guide](crate::guide#framing).
    ///
    /// # Errors
    ///
    /// `InvalidData` for a line longer than [`Limits::max_line`](crate::Limits::max_line), `UnexpectedEof` for a line that is
    /// not complete at the end of the input (half a line may mean something else than the whole) and in a drain, `TimedOut`
    /// for silence. [`EndReason::of`] tells them apart.
    pub fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.read_request(self.limits.max_line, line_parser())
    }

    /// As [`read_line`](Connection::read_line), but waits only until `deadline`, or until a [`Waker`](crate::Waker) is used.
    /// A drain is [`Next::Draining`].
    ///
    /// # Errors
    ///
    /// Those of [`read_line`](Connection::read_line), except for the drain between two lines.
    pub fn read_line_until(&mut self, deadline: Option<Instant>) -> io::Result<Next<Vec<u8>>> {
        self.read_request_until(deadline, self.limits.max_line, line_parser())
    }

    /// The next request of a protocol, as `parse` finds it. `None` when the client has closed its side between two requests.
    ///
    /// `parse` gets all bytes that have arrived and are not consumed, at least one, and returns the request with the number of
    /// bytes that it takes, or `None` if it is not complete. There may be more bytes than `limit`, of the requests that follow;
    /// a request may take `limit` bytes, its header included. `parse` is called again when there are more; the bytes it has
    /// seen are still there then, at the same places, so it may remember how far it has looked. With a length of 0 nothing
    /// is consumed: the request goes on, and so does its deadline. A malformed request is a request too: let `T` be a
    /// `Result`.
    ///
    /// A length-prefixed frame, of at most 1 KiB with its four bytes of length:
    ///
    /// ```
    /// # use std::io::{self, BufRead};
    /// fn read_frame(client: &mut acceptd::Connection) -> io::Result<Option<Vec<u8>>> {
    ///     client.read_request(1024, |unread| {
    ///         let (length, rest) = unread.split_first_chunk()?;
    ///         let length = u32::from_be_bytes(*length) as usize;
    ///         let frame = rest.get(..length)?;
    ///         Some((frame.to_vec(), 4 + length))
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidData` for a request of more than `limit` bytes, `UnexpectedEof` for a request that is not complete at the end of
    /// the input and in a drain, `TimedOut` for silence: [`Limits`](crate::Limits) has the two timeouts.
    /// [`EndReason::of`] tells them apart.
    pub fn read_request<T>(
        &mut self,
        limit: usize,
        parse: impl FnMut(&[u8]) -> Option<(T, usize)>,
    ) -> io::Result<Option<T>> {
        match self.next_request(None, limit, parse, OnWake::Remember)? {
            Next::Request(request) => Ok(Some(request)),
            Next::Draining => Err(self.end(self.drain_reason())),
            // There is no deadline, and wakes are left for a wait that reports them.
            Next::End | Next::Deadline | Next::Woken => Ok(None),
        }
    }

    /// As [`read_request`](Connection::read_request), but waits only until `deadline`, or until a [`Waker`](crate::Waker) is
    /// used. A drain is [`Next::Draining`]. With a deadline that has passed, checks what has been received already, without a
    /// system call.
    ///
    /// The idle timeout and the request timeout apply as well: whichever comes first ends the wait, and these two end the
    /// connection. Waits that end at `deadline` count in them.
    ///
    /// # Errors
    ///
    /// Those of [`read_request`](Connection::read_request), except for the drain between two requests.
    pub fn read_request_until<T>(
        &mut self,
        deadline: Option<Instant>,
        limit: usize,
        parse: impl FnMut(&[u8]) -> Option<(T, usize)>,
    ) -> io::Result<Next<T>> {
        self.next_request(deadline, limit, parse, OnWake::Return)
    }

    fn next_request<T>(
        &mut self,
        deadline: Option<Instant>,
        limit: usize,
        mut parse: impl FnMut(&[u8]) -> Option<(T, usize)>,
        on_wake: OnWake,
    ) -> io::Result<Next<T>> {
        self.check_open()?;
        self.output.note_whole();
        self.input.set_request_limit(limit);
        loop {
            let unread = self.input.unread();
            if !unread.is_empty() {
                if let Some((request, length)) = parse(unread).filter(|(_, length)| *length <= limit) {
                    self.consume(length);
                    self.is_drain_reported = false;
                    return Ok(Next::Request(request));
                }
                if unread.len() >= limit {
                    return Err(self.end(EndReason::TooLong(limit)));
                }
            }
            let next = match self.receive(deadline, on_wake)? {
                Received::Bytes => continue,
                Received::Deadline => return Ok(Next::Deadline),
                Received::Woken => return Ok(Next::Woken),
                Received::End => Next::End,
                Received::Draining => Next::Draining,
            };
            if !self.input.unread().is_empty() {
                return Err(self.end(self.unfinished()));
            }
            return Ok(next);
        }
    }

    /// The reason if the input ends in the middle of a request.
    pub(super) fn unfinished(&self) -> EndReason {
        match self.state {
            super::ConnectionState::DrainEnded => self.drain_reason(),
            _ => EndReason::Unfinished,
        }
    }

    /// The reason if a drain ends the connection: the server's own drain, or what another thread has asked for.
    pub(super) fn drain_reason(&self) -> EndReason {
        match self.transport.socket().drain_state().reason() {
            Some(reason) if !self.context.shutdown.is_requested() => EndReason::ServerClosed(reason.to_owned()),
            _ => EndReason::Drained,
        }
    }
}

/// Finds the next line, and remembers how far it has looked.
fn line_parser() -> impl FnMut(&[u8]) -> Option<(Vec<u8>, usize)> {
    let mut searched = 0;
    move |unread| {
        let Some(end) = unread.iter().skip(searched).position(|&byte| byte == b'\n') else {
            searched = unread.len();
            return None;
        };
        let line = unread.get(..searched + end)?;
        Some((line.strip_suffix(b"\r").unwrap_or(line).to_vec(), line.len() + 1))
    }
}
