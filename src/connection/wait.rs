//! Waiting for input, within three deadlines: of the silence between requests, of a request that has begun, and of a drain.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::close::CloseReason;
use super::{Connection, State};

/// After this much silence, a connection's large buffers are freed.
const LULL: Duration = Duration::from_secs(1);

impl Connection {
    /// Flushes the output, then waits for input. Returns how many bytes came, 0 at the end of the input, `None` at the
    /// deadline.
    pub(super) fn receive(&mut self, until: Option<Instant>) -> io::Result<Option<usize>> {
        // Before the flush: what a client sends after it has read its reply did not arrive before the drain.
        self.note_drain();
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(None);
        }
        self.flush()?;
        if matches!(self.state, State::ClientEnded | State::DrainEnded) {
            return Ok(Some(0));
        }
        if !self.prepare_to_wait() {
            let socket = self.transport.socket();
            let has_ended = socket.peer_has_ended() && !socket.input_was_ended();
            self.state = if has_ended { State::ClientEnded } else { State::DrainEnded };
            return Ok(Some(0));
        }
        let outcome = self.receive_within_deadlines(until);
        let socket = self.transport.socket();
        socket.set_waiting(false);
        if let Ok(Some(0)) = outcome {
            self.state = if socket.input_was_ended() { State::DrainEnded } else { State::ClientEnded };
        }
        outcome
    }

    /// Waits until the deadline, or until a drain begins.
    pub(super) fn wait_until(&mut self, deadline: Instant) -> io::Result<()> {
        if Instant::now() >= deadline {
            return Ok(());
        }
        self.flush()?;
        // A drain ends the input, which wakes this thread.
        let mut events = PollFlags::RDHUP;
        while self.prepare_to_wait() && !self.is_draining() && Instant::now() < deadline {
            let outcome = self.transport.wait(events, deadline);
            self.transport.socket().set_waiting(false);
            match outcome {
                Ok(ready) if ready.intersects(PollFlags::HUP | PollFlags::ERR) => {
                    return Err(self.end(CloseReason::Lost(ErrorKind::ConnectionReset)));
                }
                // The client sends no more. It may still read.
                Ok(ready) if ready.contains(PollFlags::RDHUP) => events = PollFlags::empty(),
                Ok(_) => {}
                Err(error) => return Err(self.end_input(&error)),
            }
        }
        self.transport.socket().set_waiting(false);
        Ok(())
    }

    /// During a drain, this connection still reads what has arrived when it notices the drain, and no more.
    fn note_drain(&mut self) {
        if self.is_draining() && self.drain_budget.is_none() {
            self.drain_budget = Some(self.transport.socket().arrived());
        }
    }

    /// Whether to wait for input. Before a drain this marks the socket as waiting, so that the drain wakes its thread.
    fn prepare_to_wait(&mut self) -> bool {
        if self.drain_budget.is_none() {
            self.transport.socket().set_waiting(true);
            // A drain may have begun in between, without seeing the mark.
            self.note_drain();
            if self.drain_budget.is_some() {
                self.transport.socket().set_waiting(false);
            }
        }
        self.drain_budget.is_none_or(|budget| budget > 0)
    }

    fn receive_within_deadlines(&mut self, until: Option<Instant>) -> io::Result<Option<usize>> {
        let in_request = !self.input.unread().is_empty();
        loop {
            let start = Instant::now();
            if in_request && self.request_time_left().is_zero() {
                return Err(self.end(CloseReason::RequestTimeout));
            }
            let mut timeout = if in_request { Some(self.request_time_left()) } else { self.idle_time_left() };
            if let Some(until) = until {
                let left = until.saturating_duration_since(start);
                if left.is_zero() {
                    return Ok(None);
                }
                timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
            }
            let buffer = self.input.reserve(self.context.limits.max_stream_buffer);
            let outcome = self.transport.receive(buffer, timeout);
            if in_request {
                self.request_waited += start.elapsed();
            }
            match outcome {
                Ok(count) => {
                    self.input.note_received(count);
                    self.silent = Duration::ZERO;
                    self.drain_budget = self.drain_budget.map(|budget| budget.saturating_sub(count));
                    return Ok(Some(count));
                }
                // A signal ends the wait early, and a stopped process lets it end late: what counts is the time that passed.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    if !in_request {
                        self.silent += start.elapsed();
                        self.note_silence()?;
                    }
                }
                Err(error) => return Err(self.end_input(&error)),
            }
        }
    }

    /// How long the next wait for the rest of a request may take. Time that the handler computes does not count.
    fn request_time_left(&self) -> Duration {
        self.context.limits.request_timeout.saturating_sub(self.request_waited)
    }

    /// How long the next wait for a request may take; `None` has no limit. With large buffers it is short, and the buffers are
    /// freed afterwards: an idle client that has been busy costs no more than any other.
    fn idle_time_left(&self) -> Option<Duration> {
        let left = self.context.limits.idle_timeout.map(|timeout| timeout.saturating_sub(self.silent));
        if self.holds_memory() { Some(left.map_or(LULL, |left| left.min(LULL))) } else { left }
    }

    /// A wait for a request has timed out. Ends an idle connection; else frees memory, and the wait goes on.
    fn note_silence(&mut self) -> io::Result<()> {
        if self.context.limits.idle_timeout.is_some_and(|timeout| self.silent >= timeout) {
            return Err(self.end(CloseReason::Idle));
        }
        self.input.release_memory();
        self.output.release_memory();
        Ok(())
    }

    fn holds_memory(&self) -> bool {
        self.input.is_large() || self.output.is_large()
    }
}
