//! [`Connection`]: one client, as its handler sees it.
//!
//! Bytes come from the socket into `input`, where the handler reads them. What the handler writes goes through `output`
//! back to the socket. Three things happen here so that no handler has to think of them: output is flushed right before a
//! wait for input, every wait has a deadline, and the reason for the end is noted, for the farewell and for the log.

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::farewell::Farewell;
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::socket::Socket;
use crate::totals::{Stats, Totals};

pub(crate) mod close;
mod ending;
mod input;
mod output;
mod stream;
mod transport;
mod wait;

pub(crate) use close::CloseReason;
pub(crate) use ending::ConnectionSummary;
use input::Input;
use output::{Output, Pace};
use transport::{SendError, Transport};

/// One client: its input and output, its address, and the state of the server.
///
/// It is [`BufRead`] and [`Write`](io::Write). Written bytes are held back and sent together: when the handler would wait for
/// input, at [`flush`](io::Write::flush), at the end, and when there are more than [`Limits::max_output`]. So the replies to
/// a batch of requests go into one packet.
///
/// [`read_line`](Connection::read_line) and [`read_request`](Connection::read_request) know where a request begins and ends.
/// They enforce a deadline for the whole request, and a limit on its size. Reading by `Read` and `BufRead` has only the
/// idle timeout, and what `BufRead`'s own methods collect has no limit.
///
/// An error of a method means that the connection is over. Return it with `?`. After such an error, every method returns
/// it again.
pub struct Connection {
    id: u64,
    peer: SocketAddr,
    opened: Instant,
    context: Arc<Context>,
    transport: Transport,
    input: Input,
    output: Output,
    /// How long the handler has waited for the rest of the request that has begun to arrive.
    request_waited: Duration,
    /// How long the client has been silent between requests. Only time that the handler waited counts.
    silent: Duration,
    /// During a drain: how many bytes may still be read, of those that had arrived when it began.
    drain_budget: Option<usize>,
    /// Whether the input or the whole connection has ended, and why.
    state: State,
}

/// What [`Connection::read_request_until`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// A request.
    Request(T),
    /// The input has ended: the client has closed its side, or the server drains.
    End,
    /// The deadline came first.
    Deadline,
}

enum State {
    Open,
    /// The client has closed its side. Output can still be sent.
    ClientEnded,
    /// A drain has ended the input. Output can still be sent.
    DrainEnded,
    /// The connection is over.
    Ended(CloseReason),
}

/// What all connections of a server share.
pub(crate) struct Context {
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
    pub(crate) totals: Totals,
    pub(crate) started: Instant,
}

impl Connection {
    pub(crate) fn new(id: u64, peer: SocketAddr, socket: Arc<Socket>, context: Arc<Context>) -> Connection {
        let transport = Transport::new(socket, context.limits.idle_timeout);
        Connection {
            id,
            peer,
            opened: Instant::now(),
            context,
            transport,
            input: Input::default(),
            output: Output::default(),
            request_waited: Duration::ZERO,
            silent: Duration::ZERO,
            drain_budget: None,
            state: State::Open,
        }
    }

    /// The number of this connection, which the log uses too. The first client of a server has 1.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's address. An IPv4 client of an IPv6 socket has its IPv4 address: 127.0.0.1, not `::ffff:127.0.0.1`.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client connected to.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.transport.socket().local_addr().map(canonical)
    }

    /// The socket, for code that may end this connection from another thread.
    #[cfg(feature = "kv")]
    pub(crate) fn socket(&self) -> Arc<Socket> {
        Arc::clone(self.transport.socket())
    }

    /// Whether the server is shutting down. A handler that reads finds the end of the input. This is for a handler that computes
    /// for long or writes without reading.
    pub fn is_draining(&self) -> bool {
        self.context.shutdown.is_requested()
    }

    /// The server's counters.
    pub fn stats(&self) -> Stats {
        self.context.totals.stats()
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.context.started.elapsed()
    }

    /// The server's limits.
    pub fn limits(&self) -> &Limits {
        &self.context.limits
    }

    /// The next line without its line end (LF or CRLF). `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a line longer than [`Limits::max_line`], `UnexpectedEof` for a line that is not complete at the end of
    /// the input (half a line may mean something else than the whole), `TimedOut` for silence.
    pub fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        self.read_request(self.limits().max_line, |unread| {
            let Some(end) = unread.iter().skip(searched).position(|&byte| byte == b'\n') else {
                searched = unread.len();
                return None;
            };
            let line = unread.get(..searched + end)?;
            Some((line.strip_suffix(b"\r").unwrap_or(line).to_vec(), line.len() + 1))
        })
    }

    /// The next request of a protocol, as `parse` finds it. `None` at the end of the input.
    ///
    /// `parse` gets all bytes that are there and not consumed, and returns the request with the number of bytes that it
    /// takes, or `None` if it is not complete. It is called again when there are more; the bytes it has
    /// seen are still there then, at the same places, so it may remember how far it has looked. With a length of 0 nothing
    /// is consumed: the request goes on, and so does its deadline.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a request of more than `limit` bytes, `UnexpectedEof` for a request that is not complete at the end of
    /// the input, `TimedOut` for silence: [`Limits`] has the two timeouts.
    pub fn read_request<T>(
        &mut self,
        limit: usize,
        parse: impl FnMut(&[u8]) -> Option<(T, usize)>,
    ) -> io::Result<Option<T>> {
        match self.read_request_until(None, limit, parse)? {
            Next::Request(request) => Ok(Some(request)),
            Next::End | Next::Deadline => Ok(None),
        }
    }

    /// As [`read_request`](Connection::read_request), but waits only until `deadline`. With a deadline that has passed, checks
    /// what has been received already, without a system call.
    ///
    /// # Errors
    ///
    /// Those of [`read_request`](Connection::read_request).
    pub fn read_request_until<T>(
        &mut self,
        deadline: Option<Instant>,
        limit: usize,
        mut parse: impl FnMut(&[u8]) -> Option<(T, usize)>,
    ) -> io::Result<Next<T>> {
        self.check_open()?;
        self.output.note_whole();
        self.input.set_request_limit(limit);
        loop {
            let unread = self.input.unread();
            if !unread.is_empty() {
                if let Some((request, length)) = parse(unread).filter(|(_, length)| *length <= limit) {
                    self.consume(length);
                    return Ok(Next::Request(request));
                }
                if unread.len() >= limit {
                    return Err(self.end(CloseReason::TooLong(limit)));
                }
            }
            match self.receive(deadline)? {
                None => return Ok(Next::Deadline),
                Some(0) if self.input.unread().is_empty() => return Ok(Next::End),
                Some(0) => return Err(self.end(self.unfinished())),
                Some(_) => {}
            }
        }
    }

    /// Ends the connection: the handler holds a part of a request, and the rest has not come in time.
    #[cfg(feature = "chat")]
    pub(crate) fn time_out(&mut self) -> io::Error {
        self.end(CloseReason::RequestTimeout)
    }

    /// Whether a flush would have to send something.
    #[cfg(feature = "chat")]
    pub(crate) fn has_output(&self) -> bool {
        self.output.is_pending()
    }

    /// Sleeps until `deadline`, while outbox messages keep flowing. Returns early when a drain begins.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub fn pause(&mut self, deadline: Instant) -> io::Result<()> {
        self.check_open()?;
        self.wait_until(deadline)
    }

    /// The handle by which other threads send to this client. From now on their messages and this handler's replies arrive one
    /// after the other, each whole. Every call returns the same outbox.
    ///
    /// A handler that calls this should have [`Limits::descriptors_per_client`] count 2.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn outbox(&mut self) -> io::Result<Outbox> {
        let limits = &self.context.limits;
        self.transport.outbox(limits.max_outbox, limits.write_timeout)
    }

    /// Sends the next `count` bytes of input back, after everything written before, and consumes them. Sends at once and without
    /// a copy, as an echo needs it.
    ///
    /// # Errors
    ///
    /// The client does not read, or is gone.
    pub fn write_back(&mut self, count: usize) -> io::Result<()> {
        let pace = self.pace();
        self.check_open()?;
        let bytes = self.input.unread();
        let bytes = bytes.get(..count).unwrap_or(bytes);
        let outcome = self.output.send_reply(bytes, &mut self.transport, pace);
        self.consume(count);
        outcome.map_err(|error| self.end_output(error))
    }

    /// Sends `bytes` at once and without a copy, after everything written before. For handlers that collect replies by
    /// themselves.
    ///
    /// # Errors
    ///
    /// The client does not read, or is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let pace = self.pace();
        self.check_open()?;
        self.output.send_reply(bytes, &mut self.transport, pace).map_err(|error| self.end_output(error))
    }

    /// Begins a message that must not be interrupted, whatever the handler does before
    /// [`end_message`](Connection::end_message): it may flush, read or compute. If the connection ends before, for whatever
    /// reason, the client gets no farewell in the middle of the message. If it has been sent a part of the message, the
    /// connection is reset, so that the part is not taken for the whole.
    ///
    /// Without this, a message is what is written between two reads, or up to a [`flush`](io::Write::flush). That is right for
    /// replies that are written in one go, however long they are.
    ///
    /// Messages that others send by an [`Outbox`] wait until the end of this one.
    pub fn begin_message(&mut self) {
        self.output.hold_open();
    }

    /// Ends the message that [`begin_message`](Connection::begin_message) has begun.
    pub fn end_message(&mut self) {
        self.output.release_message();
    }

    /// Says farewell to this client with `farewell`, in place of [`Handler::farewell`](crate::Handler::farewell), for
    /// whatever reason it is lost: for a handler of several dialects that has learned which of them the client speaks. May be
    /// called by another thread, while the handler is busy.
    pub fn set_farewell(&mut self, farewell: fn(Farewell) -> Cow<'static, [u8]>) {
        self.transport.socket().set_farewell(farewell);
    }

    /// The reason if the input ends in the middle of a request.
    fn unfinished(&self) -> CloseReason {
        match self.state {
            State::DrainEnded => CloseReason::Drained,
            _ => CloseReason::Unfinished,
        }
    }

    fn end_input(&mut self, error: &io::Error) -> io::Error {
        self.end(self.outbox_reason().unwrap_or_else(|| CloseReason::of_input(error)))
    }

    fn end_output(&mut self, error: SendError) -> io::Error {
        self.end(self.output_reason(error))
    }

    fn output_reason(&self, error: SendError) -> CloseReason {
        self.outbox_reason().unwrap_or_else(|| CloseReason::of_output(error))
    }

    /// Why others can't send any more, if so.
    fn outbox_reason(&self) -> Option<CloseReason> {
        self.transport.end_of_outbox().map(|end| CloseReason::of_outbox(end, &self.context.limits))
    }

    /// Notes why the connection is over, and returns the error for the handler.
    fn end(&mut self, reason: CloseReason) -> io::Error {
        let error = reason.to_error();
        self.state = State::Ended(reason);
        error
    }

    fn check_open(&self) -> io::Result<()> {
        match &self.state {
            State::Ended(reason) => Err(reason.to_error()),
            State::Open | State::ClientEnded | State::DrainEnded => Ok(()),
        }
    }

    fn pace(&self) -> Pace {
        let limits = &self.context.limits;
        Pace { write_timeout: limits.write_timeout, hold: limits.max_output }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// An address in canonical form: IPv4 mapped into IPv6 becomes IPv4 (RFC 4291, 2.5.5.2).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), v6.port())
        }
        other => other,
    }
}
