//! Waiting for input, until the client sends something, a timeout or the deadline of the call passes, a drain ends the input,
//! or a [`Waker`](crate::Waker) is used.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::end_reason::EndReason;
use super::{Connection, ConnectionState};

/// After this much silence, a connection's large buffers are freed.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// What a wait for input has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Bytes,
    /// The client has closed its side.
    End,
    /// A drain has ended the input.
    Draining,
    Deadline,
    Woken,
}

/// What a wait does when a [`Waker`](crate::Waker) is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnWake {
    /// Returns.
    Return,
    /// Goes on, and leaves the wake for a wait that returns.
    Remember,
}

/// Why [`Connection::pause`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// The deadline has passed.
    Deadline,
    /// A [`Waker`](crate::Waker) was used.
    Woken,
    /// The client has closed its side. It may have left, or wait for its reply. Reported once for each connection: a later pause
    /// goes on. Not reported if a read has found the end before, or while input that the kernel has no room for is still on
    /// its way.
    ClientEnded,
    /// A drain has begun.
    Draining,
}

impl Connection {
    /// Flushes the output, then waits for input. In a drain, only what had arrived when it began is still received.
    pub(super) fn receive(&mut self, until: Option<Instant>, on_wake: OnWake) -> io::Result<Received> {
        // Before the flush: a request that the client sends after it has read this reply must not count as arrived before the
        // drain.
        self.note_drain();
        if self.take_wake(on_wake) {
            return Ok(Received::Woken);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Received::Deadline);
        }
        self.flush()?;
        if let Some(ended) = self.ended_input() {
            return Ok(ended);
        }
        self.mark_waiting();
        if !self.may_still_receive() {
            let socket = self.transport.socket();
            let by_client = socket.peer_has_ended() && !socket.input_was_ended();
            return self.end_of_input(by_client);
        }
        let outcome = self.receive_within_deadlines(until, on_wake);
        self.transport.socket().set_waiting(false);
        outcome
    }

    /// What a read finds if the input has ended before.
    fn ended_input(&self) -> Option<Received> {
        match self.state {
            ConnectionState::ClientEnded => Some(Received::End),
            ConnectionState::DrainEnded => Some(Received::Draining),
            ConnectionState::Open | ConnectionState::Ended(_) => None,
        }
    }

    /// Notes the end of the input, and who has ended it. A cut ends more than the input.
    fn end_of_input(&mut self, by_client: bool) -> io::Result<Received> {
        if self.transport.socket().was_cut() {
            return Err(self.end(EndReason::Cut));
        }
        self.state = if by_client { ConnectionState::ClientEnded } else { ConnectionState::DrainEnded };
        Ok(if by_client { Received::End } else { Received::Draining })
    }

    /// Sleeps until `deadline` (`None`: without end), while outbox messages keep flowing; what the handler has written is sent first. Returns early
    /// when there is something that the handler may want to react to: see [`Paused`]. What the client sends meanwhile waits.
    ///
    /// Silence during a pause is not the client's, so it doesn't count in the idle timeout. The [guide](crate::guide#waiting)
    /// has an example, and a table of what each wait returns.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub fn pause(&mut self, deadline: impl Into<Option<Instant>>) -> io::Result<Paused> {
        let deadline = deadline.into();
        self.check_open()?;
        self.flush()?;
        loop {
            let outcome = self.pause_once(deadline);
            self.transport.socket().set_waiting(false);
            if let Some(paused) = outcome? {
                return Ok(paused);
            }
        }
    }

    fn pause_once(&mut self, deadline: Option<Instant>) -> io::Result<Option<Paused>> {
        self.check_closing()?;
        if self.take_wake(OnWake::Return) {
            return Ok(Some(Paused::Woken));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(Paused::Deadline));
        }
        self.mark_waiting();
        if self.drain_applies() || self.transport.socket().input_was_ended() {
            self.is_drain_reported = true;
            return Ok(Some(Paused::Draining));
        }
        let is_end_known = self.is_client_end_reported || matches!(self.state, ConnectionState::ClientEnded);
        if is_end_known {
            // From now on this thread doesn't watch the input, so a drain needs a wakeup to end the pause. If there is no
            // descriptor for one, the pause lasts until the drain's deadline.
            let _ = self.transport.socket().make_wakeup();
        }
        let events = if is_end_known { PollFlags::empty() } else { PollFlags::RDHUP };
        let ready = self.transport.wait(events, deadline).map_err(|error| self.fail_input(&error))?;
        if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(self.end(EndReason::Lost(ErrorKind::ConnectionReset)));
        }
        if !ready.contains(PollFlags::RDHUP) || self.transport.socket().input_was_ended() {
            return Ok(None);
        }
        self.is_client_end_reported = true;
        Ok(Some(Paused::ClientEnded))
    }

    /// Ends the connection if another thread wants that: see [`Outbox::close`](crate::Outbox::close).
    fn check_closing(&mut self) -> io::Result<()> {
        let reason = self.transport.socket().drain_state().closing_reason().map(str::to_owned);
        reason.map_or(Ok(()), |reason| Err(self.end(EndReason::ServerClosed(reason))))
    }

    /// Whether a wake is to be reported now.
    fn take_wake(&mut self, on_wake: OnWake) -> bool {
        self.is_woken |= self.transport.socket().wakeup().is_some_and(|wakeup| wakeup.take_woken());
        on_wake == OnWake::Return && std::mem::take(&mut self.is_woken)
    }

    /// Whether a drain ends the input of this connection.
    fn drain_applies(&self) -> bool {
        self.is_draining() && !self.transport.socket().drain_state().keeps_reading()
    }

    /// Notes how many bytes have arrived when a drain is noticed. This connection still reads those, and no more.
    fn note_drain(&mut self) {
        if self.drain_applies() && self.drain_budget.is_none() {
            self.drain_budget = Some(self.transport.socket().arrived());
        }
    }

    /// Marks the socket as waiting, so that a drain that begins wakes this thread. Not once this thread has noticed a drain:
    /// then it receives only what has arrived.
    fn mark_waiting(&mut self) {
        if self.drain_budget.is_some() {
            return;
        }
        self.transport.socket().set_waiting(true);
        // A drain may have begun in between, without seeing the mark.
        self.note_drain();
        if self.drain_budget.is_some() {
            self.transport.socket().set_waiting(false);
        }
    }

    /// False in a drain, when all that had arrived when it was noticed has been received.
    fn may_still_receive(&self) -> bool {
        self.drain_budget.is_none_or(|budget| budget > 0)
    }

    fn receive_within_deadlines(&mut self, until: Option<Instant>, on_wake: OnWake) -> io::Result<Received> {
        let in_request = !self.input.unread().is_empty();
        loop {
            let start = Instant::now();
            if in_request && self.request_time_left().is_zero() {
                return Err(self.end(EndReason::RequestTimeout));
            }
            self.check_closing()?;
            if self.take_wake(on_wake) {
                return Ok(Received::Woken);
            }
            let mut timeout = if in_request { Some(self.request_time_left()) } else { self.idle_time_left() };
            if let Some(until) = until {
                let left = until.saturating_duration_since(start);
                if left.is_zero() {
                    return Ok(Received::Deadline);
                }
                timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
            }
            let buffer = self.input.reserve(self.limits.max_stream_buffer);
            let outcome = self.transport.receive(buffer, timeout);
            if in_request {
                self.request_waited += start.elapsed();
            }
            match outcome {
                Ok(0) => {
                    let was_ended_here = self.transport.socket().input_was_ended();
                    return self.end_of_input(!was_ended_here);
                }
                Ok(count) => {
                    self.input.note_received(count);
                    self.idle_waited = Duration::ZERO;
                    self.drain_budget = self.drain_budget.map(|budget| budget.saturating_sub(count));
                    return Ok(Received::Bytes);
                }
                // A signal ends the wait early, and a stopped process lets it end late: what counts is the time that passed.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    if !in_request {
                        self.idle_waited += start.elapsed();
                        self.check_idle()?;
                        self.release_memory();
                    }
                }
                Err(error) => return Err(self.fail_input(&error)),
            }
        }
    }

    /// How long the next wait for the rest of a request may take. Time that the handler computes does not count.
    fn request_time_left(&self) -> Duration {
        self.limits.request_timeout.saturating_sub(self.request_waited)
    }

    /// How long the next wait for a request may take; `None` has no limit. With large buffers it is short, and the buffers are
    /// freed afterwards: an idle client that has been busy costs no more than any other.
    fn idle_time_left(&self) -> Option<Duration> {
        let left = self.limits.idle_timeout.map(|timeout| timeout.saturating_sub(self.idle_waited));
        if self.holds_memory() { Some(left.map_or(RELEASE_AFTER, |left| left.min(RELEASE_AFTER))) } else { left }
    }

    fn check_idle(&mut self) -> io::Result<()> {
        if self.limits.idle_timeout.is_some_and(|timeout| self.idle_waited >= timeout) {
            return Err(self.end(EndReason::Idle));
        }
        Ok(())
    }

    /// Frees buffers that are empty.
    fn release_memory(&mut self) {
        self.input.release_memory();
        self.output.release_memory();
    }

    fn holds_memory(&self) -> bool {
        self.input.is_large() || self.output.is_large()
    }
}
