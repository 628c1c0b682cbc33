//! A client's lines, as they arrive: how long they may be, how fast they may come, and how many may wait.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

use super::rate::{Bucket, Rate};
use crate::connection::{Connection, Next};
use crate::handler::shared::telnet::{Item, Scanner};

/// A client that is faster than its rate has at most this many lines waiting, and is cut when there are more.
const WAITING_AT_MOST: usize = 200;

/// Nor is more read from it while its waiting lines have this many bytes; it is not cut for that.
const WAITING_BYTES: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// Longer than allowed; all of it is dropped.
    TooLong,
}

/// What comes next.
pub(super) enum Arrival {
    Line(Line),
    /// The client has sent its last.
    End,
    /// The same, in the middle of a line.
    Unfinished,
    /// The deadline was first.
    Deadline,
    /// Too many lines wait to be acted on.
    Flood,
}

/// Reads lines, and hands them out at a bounded rate.
pub(super) struct Lines {
    finder: Finder,
    bucket: Bucket,
    waiting: VecDeque<Line>,
    waiting_bytes: usize,
    /// The beginning of a line that arrived while others wait. It is not left in the connection: if the input ended
    /// there, that would end the conversation before they are heard.
    begun: Vec<u8>,
    /// Since when the rest of a line is waited for whose beginning was taken out of the connection, so that its own
    /// deadline does not see it.
    incomplete: Option<Instant>,
    has_ended: bool,
}

impl Lines {
    /// Lines have at most `longest` bytes, with their end.
    pub(super) fn new(longest: usize, rate: Rate) -> Lines {
        Lines {
            finder: Finder::new(longest),
            bucket: Bucket::new(rate),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            begun: Vec::new(),
            incomplete: None,
            has_ended: false,
        }
    }

    /// Changes how long the lines that are still to come may be.
    pub(super) fn set_longest(&mut self, longest: usize) {
        self.finder.longest = longest;
    }

    /// The next line that may be acted on. A deadline that has passed asks for one that is there already.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub(super) fn next(&mut self, client: &mut Connection, deadline: Option<Instant>) -> io::Result<Arrival> {
        loop {
            let mut until = deadline;
            if !self.waiting.is_empty() {
                // A drain does not wait for the rate.
                match if client.is_draining() { Ok(()) } else { self.bucket.take() } {
                    Ok(()) => return Ok(self.take().map_or(Arrival::End, Arrival::Line)),
                    Err(time) => until = Some(deadline.map_or(time, |deadline| deadline.min(time))),
                }
            }
            let reads_no_more = self.waiting_bytes >= WAITING_BYTES || self.has_ended;
            if !self.is_in_a_line() || !self.waiting.is_empty() || self.has_ended {
                self.incomplete = None;
            } else if deadline.is_none_or(|deadline| Instant::now() < deadline) {
                // What was answered to other lines is sent first: the time that takes is not the line's.
                client.flush()?;
                let due = *self.incomplete.get_or_insert_with(Instant::now) + client.limits().request_timeout;
                if Instant::now() >= due {
                    return Err(client.time_out());
                }
                until = Some(until.map_or(due, |until| until.min(due)));
            }
            if let Some(until) = until.filter(|_| reads_no_more && !self.waiting.is_empty()) {
                client.pause(until)?;
                if deadline == Some(until) {
                    return Ok(Arrival::Deadline);
                }
            } else if self.has_ended {
                return Ok(if self.begun.is_empty() { Arrival::End } else { Arrival::Unfinished });
            } else {
                match client.read_request_until(until, usize::MAX, |unread| self.find(unread))? {
                    Next::Request(None) => {}
                    Next::Request(Some(line)) => self.keep(line),
                    Next::End => self.has_ended = true,
                    Next::Deadline if until == deadline => return Ok(Arrival::Deadline),
                    Next::Deadline => {}
                }
            }
            client.write_all(std::mem::take(&mut self.finder.reply))?;
            if self.waiting.len() > WAITING_AT_MOST {
                return Ok(Arrival::Flood);
            }
        }
    }

    fn is_in_a_line(&self) -> bool {
        !self.begun.is_empty() || self.finder.is_dropping
    }

    /// The next line, and how many bytes of `unread` it takes.
    fn find(&mut self, unread: &[u8]) -> Option<(Option<Line>, usize)> {
        let before = self.begun.len();
        if before > 0 {
            self.begun.extend_from_slice(unread);
            return match self.finder.find(&self.begun) {
                None => Some((None, unread.len())),
                // Something to reply to in the middle of the line, which goes on after it.
                Some((_, 0)) => {
                    self.begun.truncate(self.finder.scanner.scanned());
                    Some((None, self.begun.len() - before))
                }
                Some((line, length)) => {
                    self.begun = Vec::new();
                    Some((line, length - before))
                }
            };
        }
        let found = self.finder.find(unread);
        if found.is_none() && !self.waiting.is_empty() {
            self.begun.extend_from_slice(unread);
            return Some((None, unread.len()));
        }
        found
    }

    fn keep(&mut self, line: Line) {
        self.waiting_bytes += line.length();
        self.waiting.push_back(line);
    }

    fn take(&mut self) -> Option<Line> {
        let line = self.waiting.pop_front()?;
        self.waiting_bytes -= line.length();
        Some(line)
    }
}

impl Line {
    fn length(&self) -> usize {
        match self {
            Line::Whole(bytes) => bytes.len(),
            Line::TooLong => 0,
        }
    }
}

/// Finds lines in bytes that arrive bit by bit.
struct Finder {
    longest: usize,
    scanner: Scanner,
    /// The rest of a line that was too long is still to come.
    is_dropping: bool,
    /// What telnet is to be sent at once.
    reply: &'static [u8],
}

impl Finder {
    fn new(longest: usize) -> Finder {
        Finder { longest, scanner: Scanner::default(), is_dropping: false, reply: b"" }
    }

    /// The next line and its length on the wire. No line, but a length: bytes that are none. A length of 0: there is only
    /// a reply.
    fn find(&mut self, unread: &[u8]) -> Option<(Option<Line>, usize)> {
        match self.scanner.scan(unread) {
            None => {}
            Some(Item::Line(found)) => {
                let is_first = !std::mem::take(&mut self.is_dropping);
                let whole = || Line::Whole(found.text(unread).into_owned());
                let line = is_first.then(|| if found.size() > self.longest { Line::TooLong } else { whole() });
                return Some((line, found.length));
            }
            Some(Item::Skip { length, reply }) => {
                self.reply = reply;
                // A length means that the next byte begins a line.
                self.is_dropping &= length == 0;
                return Some((None, length));
            }
        }
        // Of a line that is dropped, nothing is kept: it makes no difference in which pieces its rest arrives.
        if unread.len() < self.longest && !self.is_dropping {
            return None;
        }
        self.scanner.forget_scanned();
        let is_first = !std::mem::replace(&mut self.is_dropping, true);
        Some((is_first.then_some(Line::TooLong), unread.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(stream: &[u8], longest: usize, step: usize) -> Vec<Line> {
        let mut finder = Finder::new(longest);
        let (mut unread, mut lines) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            unread.extend_from_slice(piece);
            while let Some((line, length)) = finder.find(&unread) {
                lines.extend(line);
                unread.drain(..length);
                if unread.is_empty() {
                    break;
                }
            }
        }
        lines
    }

    #[test]
    fn a_line_that_is_too_long_is_one_and_the_next_is_found_however_they_arrive() {
        let stream = [&b"one\r\n"[..], &[b'x'; 95], b"\n", &[b'y'; 16], b"\nlast\n"].concat();
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for step in 1..=stream.len() {
            let lines = found(&stream, 16, step);
            assert_eq!(lines, [whole("one"), Line::TooLong, Line::TooLong, whole("last")], "{step}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_with_its_end() {
        assert_eq!(found(b"123456789\n", 10, 3), [Line::Whole(b"123456789".to_vec())]);
        assert_eq!(found(b"1234567890\n", 10, 3), [Line::TooLong]);
    }
}
