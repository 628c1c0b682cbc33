//! Reads a client's lines, and limits their length, their rate, and how many of them are queued.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

use super::message_rate::{MessageRate, TokenBucket};
use crate::connection::{Connection, Next, Paused};
use crate::handler::shared::http;
use crate::handler::shared::telnet::{Item, Scanner};

/// A client that sends faster than its rate may have this many lines queued. With more, it is closed.
const MAX_QUEUED_LINES: usize = 200;

/// Reading pauses while the queued lines have at least this many bytes.
const MAX_QUEUED_BYTES: usize = 64 * 1024;

/// A line that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    /// A line without its end.
    Complete(Vec<u8>),
    /// A line that was longer than allowed, and was discarded.
    TooLong,
    /// The same, and it began as an HTTP request.
    LongHttpRequest,
}

/// What [`LineReader::read_line`] returns.
pub(super) enum ReadOutcome {
    Line(InputLine),
    /// The client has closed its side.
    End,
    /// The client has closed its side in the middle of a line.
    Unfinished,
    /// The deadline passed before a line could be handled.
    Deadline,
    /// Too many lines are queued.
    Flood,
}

/// Reads lines, and returns them at a limited rate.
pub(super) struct LineReader {
    decoder: LineDecoder,
    bucket: TokenBucket,
    /// Lines that have arrived, but that the rate does not allow yet.
    queue: VecDeque<InputLine>,
    queued_bytes: usize,
    /// The beginning of a line that arrived while others were queued. It can't stay in the connection's buffer: if the input
    /// ended there, the connection would fail before the queued lines are handled.
    partial: Vec<u8>,
    /// When the reader began to wait for the rest of a line whose beginning it has taken out of the connection's buffer.
    /// The connection's own request timeout doesn't cover such a line.
    partial_since: Option<Instant>,
    /// The client has closed its side.
    has_ended: bool,
}

impl LineReader {
    /// A line may have at most `max_length` bytes, with its end.
    pub(super) fn new(max_length: usize, rate: MessageRate) -> LineReader {
        LineReader {
            decoder: LineDecoder::new(max_length),
            bucket: TokenBucket::new(rate),
            queue: VecDeque::new(),
            queued_bytes: 0,
            partial: Vec::new(),
            partial_since: None,
            has_ended: false,
        }
    }

    /// Changes the maximum length of lines that have not arrived yet.
    pub(super) fn set_max_length(&mut self, max_length: usize) {
        self.decoder.max_length = max_length;
    }

    /// The next line that the rate allows. With a deadline that has passed, it returns only a line that has already arrived.
    ///
    /// # Errors
    ///
    /// The connection's errors.
    pub(super) fn read_line(&mut self, client: &mut Connection, deadline: Option<Instant>) -> io::Result<ReadOutcome> {
        loop {
            // The end of the next wait: the deadline, or an earlier time at which something else is due.
            let mut until = deadline;
            if !self.queue.is_empty() {
                match self.take_token(client) {
                    Ok(()) => return Ok(self.dequeue().map_or(ReadOutcome::End, ReadOutcome::Line)),
                    Err(refilled_at) => until = earliest(until, refilled_at),
                }
            }
            if let Some(due) = self.partial_line_due(client, deadline)? {
                if Instant::now() >= due {
                    return Err(client.time_out());
                }
                until = earliest(until, due);
            }
            if self.has_ended && self.queue.is_empty() {
                return Ok(if self.partial.is_empty() { ReadOutcome::End } else { ReadOutcome::Unfinished });
            }
            let is_reading_paused = self.has_ended || self.queued_bytes >= MAX_QUEUED_BYTES;
            // While reading is paused, lines are queued, so there is a time at which the next one may be returned.
            if let Some(until) = until
                && is_reading_paused
            {
                if client.pause(until)? == Paused::Deadline && deadline == Some(until) {
                    return Ok(ReadOutcome::Deadline);
                }
            } else {
                match client.read_request_until(until, usize::MAX, |unread| self.decode_next(unread))? {
                    Next::Request(Found::Skipped) => {}
                    Next::Request(Found::Line(line)) => self.enqueue(line),
                    Next::End | Next::Draining => self.has_ended = true,
                    Next::Deadline if until == deadline => return Ok(ReadOutcome::Deadline),
                    Next::Deadline | Next::Woken => {}
                }
            }
            client.write_all(std::mem::take(&mut self.decoder.reply))?;
            if self.queue.len() > MAX_QUEUED_LINES {
                return Ok(ReadOutcome::Flood);
            }
        }
    }

    /// Takes the token that a line costs. A drain ignores the rate.
    ///
    /// # Errors
    ///
    /// There is no token. The error is the time at which there will be one.
    fn take_token(&mut self, client: &Connection) -> Result<(), Instant> {
        if client.is_draining() { Ok(()) } else { self.bucket.take(Instant::now()) }
    }

    /// When the line that has begun must be complete. `None` if the connection's own timeout covers it, or if the caller's
    /// deadline has passed, so that nothing waits for the line.
    fn partial_line_due(&mut self, client: &mut Connection, deadline: Option<Instant>) -> io::Result<Option<Instant>> {
        let is_partial = !self.partial.is_empty() || self.decoder.is_discarding;
        if !is_partial || !self.queue.is_empty() || self.has_ended {
            self.partial_since = None;
            return Ok(None);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        // Sends the replies to earlier lines first, so that the time it takes does not count as this line's.
        client.flush()?;
        let since = *self.partial_since.get_or_insert_with(Instant::now);
        Ok(Some(since + client.limits().request_timeout))
    }

    /// Decodes the bytes of `partial` and `unread`. Returns what they begin with, and how many bytes of `unread` to consume.
    /// `None` if more bytes are needed.
    fn decode_next(&mut self, unread: &[u8]) -> Option<(Found, usize)> {
        if !self.partial.is_empty() {
            return Some(self.decode_after_partial(unread));
        }
        let decoded = self.decoder.decode(unread);
        if decoded.is_none() && !self.queue.is_empty() {
            self.partial.extend_from_slice(unread);
            return Some((Found::Skipped, unread.len()));
        }
        decoded
    }

    /// Like [`decode_next`](LineReader::decode_next), if `partial` is not empty.
    fn decode_after_partial(&mut self, unread: &[u8]) -> (Found, usize) {
        let old_length = self.partial.len();
        self.partial.extend_from_slice(unread);
        match self.decoder.decode(&self.partial) {
            None => (Found::Skipped, unread.len()),
            // A telnet command in the middle of the line needs a reply.
            Some((_, 0)) => {
                self.partial.truncate(self.decoder.scanner.scanned());
                (Found::Skipped, self.partial.len() - old_length)
            }
            Some((found, length)) => {
                self.partial = Vec::new();
                (found, length - old_length)
            }
        }
    }

    fn enqueue(&mut self, line: InputLine) {
        self.queued_bytes += line.length();
        self.queue.push_back(line);
    }

    fn dequeue(&mut self) -> Option<InputLine> {
        let line = self.queue.pop_front()?;
        self.queued_bytes -= line.length();
        Some(line)
    }
}

fn earliest(deadline: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(deadline.map_or(other, |deadline| deadline.min(other)))
}

impl InputLine {
    fn length(&self) -> usize {
        match self {
            InputLine::Complete(bytes) => bytes.len(),
            InputLine::TooLong | InputLine::LongHttpRequest => 0,
        }
    }
}

/// What a decoder finds.
enum Found {
    Line(InputLine),
    /// Bytes that are no part of a line, or of one that was already reported as too long.
    Skipped,
}

/// Decodes lines of bounded length from bytes that arrive in pieces.
struct LineDecoder {
    max_length: usize,
    scanner: Scanner,
    /// The line that is arriving is too long: its bytes are discarded up to its end.
    is_discarding: bool,
    /// The reply to a telnet command, to be sent at once.
    reply: &'static [u8],
}

impl LineDecoder {
    fn new(max_length: usize) -> LineDecoder {
        LineDecoder { max_length, scanner: Scanner::default(), is_discarding: false, reply: b"" }
    }

    /// What `unread` begins with, and how many bytes of it to consume. `None` if more bytes are needed. With 0 bytes there is
    /// only a reply to send.
    fn decode(&mut self, unread: &[u8]) -> Option<(Found, usize)> {
        match self.scanner.scan(unread) {
            None => {}
            Some(Item::Line(span)) => {
                let was_discarding = std::mem::take(&mut self.is_discarding);
                let found = if was_discarding {
                    Found::Skipped
                } else if span.size() > self.max_length {
                    Found::Line(too_long(unread))
                } else {
                    Found::Line(InputLine::Complete(span.text(unread).into_owned()))
                };
                return Some((found, span.length));
            }
            Some(Item::Skip { length, reply }) => {
                self.reply = reply;
                // After bytes that were skipped, the next byte begins a line.
                if length > 0 {
                    self.is_discarding = false;
                }
                return Some((Found::Skipped, length));
            }
        }
        // Consumes a line that is too long as it arrives.
        if unread.len() < self.max_length && !self.is_discarding {
            return None;
        }
        self.scanner.forget_scanned();
        let was_discarding = std::mem::replace(&mut self.is_discarding, true);
        let found = if was_discarding { Found::Skipped } else { Found::Line(too_long(unread)) };
        Some((found, unread.len()))
    }
}

fn too_long(beginning: &[u8]) -> InputLine {
    if http::begins_request(beginning) { InputLine::LongHttpRequest } else { InputLine::TooLong }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(stream: &[u8], max_length: usize, step: usize) -> Vec<InputLine> {
        let mut decoder = LineDecoder::new(max_length);
        let (mut unread, mut lines) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            unread.extend_from_slice(piece);
            while let Some((found, length)) = decoder.decode(&unread) {
                if let Found::Line(line) = found {
                    lines.push(line);
                }
                unread.drain(..length);
                if unread.is_empty() {
                    break;
                }
            }
        }
        lines
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_and_the_next_line_is_found() {
        let stream = [&b"one\r\n"[..], &[b'x'; 95], b"\n", &[b'y'; 16], b"\nlast\n"].concat();
        let whole = |text: &str| InputLine::Complete(text.as_bytes().to_vec());
        for step in 1..=stream.len() {
            let lines = decode_all(&stream, 16, step);
            assert_eq!(lines, [whole("one"), InputLine::TooLong, InputLine::TooLong, whole("last")], "{step}");
        }
    }

    #[test]
    fn the_limit_includes_the_end_of_the_line() {
        assert_eq!(decode_all(b"123456789\n", 10, 3), [InputLine::Complete(b"123456789".to_vec())]);
        assert_eq!(decode_all(b"1234567890\n", 10, 3), [InputLine::TooLong]);
    }
}
