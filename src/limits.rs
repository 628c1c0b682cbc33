//! [`Limits`]: every limit and timeout of a server, with its unit, its default, and what happens when it is reached.

use std::io;
use std::time::Duration;

/// The longest timeout: a year, which every clock can represent.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The smallest and the largest stack of a client's thread.
const MIN_STACK: usize = 16 * 1024;
const MAX_STACK: usize = 1 << 30;

/// The shortest timeout.
pub(crate) const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// The limits of a server. Start from the defaults and change what you need:
///
/// ```
/// use acceptd::Limits;
/// use std::time::Duration;
///
/// let limits = Limits { max_connections: 100, idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
/// # assert_eq!(limits.backlog, 4096);
/// ```
///
/// They bound the memory that a client costs: the stack that its handler touches (about 8 KiB), at most `max_line` (or the
/// limit that the handler gives [`read_request`](crate::Connection::read_request)) of an incomplete request, and at most
/// `max_output` of replies that are not sent yet. The read buffer of a busy stream grows up to `max_stream_buffer`, but not
/// beyond 16 KiB or 1/256 of the bytes received, and is freed when the flow pauses. The kernel holds about 64 KiB of
/// output that it can't send to a client (`TCP_NOTSENT_LOWAT` is 32 KiB, and memory comes in larger pieces), and output
/// that it has sent and that the client's system has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients served at once, at least 1. One more is refused with [`FarewellReason::Full`](crate::FarewellReason::Full).
    /// Lowered at start, with a warning, to what the system's limits on descriptors, threads, memory maps and address
    /// space allow. Default: 1024.
    pub max_connections: usize,
    /// How long a client may be silent between requests. Then it is told so and closed. `None`: no limit. What others send
    /// to it through its [`Outbox`](crate::Outbox) is no sign of life; a handler whose clients only listen calls
    /// [`set_idle_timeout`](crate::Connection::set_idle_timeout). `keepalive` and `write_timeout` still find those that are
    /// gone. Default: 5 minutes.
    pub idle_timeout: Option<Duration>,
    /// How long a request may take from its first byte to its last, however steadily the bytes arrive. Then the client is told
    /// so and closed. Default: 30 seconds.
    pub request_timeout: Duration,
    /// How long a client's system may take to accept the next 4 KiB of output, or the rest if that is less. Then the connection is
    /// reset: a client that does not read can't be told why. Only time spent waiting for the client counts, not time that the
    /// handler computes, and a reply may be of any length. Applies to replies, to messages in the outbox, and to the end of a
    /// connection until all output has left. Default: 10 seconds.
    ///
    /// TCP reports what a client reads in steps, of up to the size of its receive buffer once that is full: a few KiB over
    /// a network, 64 KiB and more on one machine. A step that takes longer than this timeout looks like no progress. So with the
    /// default, a client with a small buffer may read as slowly as 410 bytes a second; one with a default buffer on the same machine
    /// should read at least 10 KB a second.
    pub write_timeout: Duration,
    /// How long a drain waits for clients to finish. Then those whose handler is busy are cut. A handler that still waits for
    /// its client finds the end of its input, and is cut if it has not returned after 50 ms. Zero does so at once. Default:
    /// 5 seconds.
    pub drain_timeout: Duration,
    /// The longest line that [`read_line`](crate::Connection::read_line) takes, in bytes, line end included. A client
    /// that sends a longer one is told so and closed. Default: 64 KiB.
    pub max_line: usize,
    /// How many bytes of replies are held back to be sent together. More are sent at once, and a handler that writes waits for
    /// its client. Default: 64 KiB.
    pub max_output: usize,
    /// How many bytes of messages may wait in a client's [`Outbox`](crate::Outbox) (each message counts 96 bytes more), or one
    /// message that is longer than this limit. A client with more is told so and closed. Default: 256 KiB.
    pub max_outbox: usize,
    /// How far the read buffer of a busy stream may grow, in bytes. Default: 1 MiB.
    pub max_stream_buffer: usize,
    /// Descriptors that each client takes, at least 1: its socket, one more if its handler asks for an
    /// [`Outbox`](crate::Outbox) or a [`Waker`](crate::Waker), and what its handler opens. It counts in what the system allows. Default: 1.
    pub descriptors_per_client: usize,
    /// Connections that the kernel queues until they are accepted; it lowers this to `net.core.somaxconn` silently.
    /// A burst beyond it waits for TCP's retransmission, a second or more. Default: 4096.
    pub backlog: u16,
    /// A peer that has vanished without a word (power lost, cable pulled) is found out this long after its last sign
    /// of life, by TCP keepalive if nothing is on its way to it, else by TCP's user timeout (RFC 5482), and its
    /// connection closed. A peer that takes nothing of what it was sent for this long is closed as well. Whole
    /// seconds, from 2 s to 8 h. Default: 2 minutes.
    pub keepalive: Duration,
    /// Address space of a client's thread, in bytes; only what is touched becomes memory. A handler that recurses or
    /// has large local variables needs more: a stack that overflows aborts the whole process, as in any Rust program,
    /// so no client should decide how deep a handler recurses. Below 2 MiB on purpose: no stack can then be backed by
    /// a huge page. From 16 KiB to 1 GiB. Default: 256 KiB.
    pub stack_size: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 1024,
            idle_timeout: Some(Duration::from_secs(5 * 60)),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
            max_line: 64 * 1024,
            max_output: 64 * 1024,
            max_outbox: 256 * 1024,
            max_stream_buffer: 1024 * 1024,
            descriptors_per_client: 1,
            backlog: 4096,
            keepalive: Duration::from_secs(2 * 60),
            stack_size: 256 * 1024,
        }
    }
}

impl Limits {
    /// What of the system each client takes: descriptors, and the bytes of its stack.
    pub(crate) fn resources_per_client(&self) -> (usize, usize) {
        (self.descriptors_per_client, self.stack_size)
    }

    /// These limits, with what can't be meant replaced by the nearest that can.
    pub(crate) fn clamped(self) -> Limits {
        Limits {
            idle_timeout: self.idle_timeout.map(bounded),
            request_timeout: bounded(self.request_timeout),
            write_timeout: bounded(self.write_timeout),
            drain_timeout: self.drain_timeout.min(MAX_TIMEOUT),
            max_line: self.max_line.max(1),
            max_output: self.max_output.max(1),
            max_outbox: self.max_outbox.max(1),
            max_stream_buffer: self.max_stream_buffer.max(1),
            descriptors_per_client: self.descriptors_per_client.max(1),
            stack_size: self.stack_size.clamp(MIN_STACK, MAX_STACK),
            ..self
        }
    }

    /// Refuses what can't be meant.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with the name of the limit and what is allowed.
    pub(crate) fn check(&self) -> io::Result<()> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned()));
        if self.max_connections == 0 {
            return wrong("max_connections is 0: nobody could be served, allow at least 1");
        }
        if self.idle_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return wrong("idle_timeout is zero: every client would be closed at once, use None for no limit");
        }
        if self.request_timeout.is_zero() || self.write_timeout.is_zero() {
            return wrong("request_timeout and write_timeout must be longer than zero");
        }
        let sizes = [
            ("max_line", self.max_line),
            ("max_output", self.max_output),
            ("max_outbox", self.max_outbox),
            ("max_stream_buffer", self.max_stream_buffer),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return wrong(&format!("{name} is 0: it must be at least 1 byte"));
        }
        if self.descriptors_per_client == 0 {
            return wrong("descriptors_per_client is 0: a client takes at least 1");
        }
        if self.backlog == 0 {
            return wrong("backlog is 0: allow at least 1");
        }
        if !(MIN_STACK..=MAX_STACK).contains(&self.stack_size) {
            return wrong("stack_size must be from 16 KiB to 1 GiB");
        }
        if self.keepalive < Duration::from_secs(2) || self.keepalive > Duration::from_secs(8 * 3600) {
            return wrong("keepalive must be from 2 seconds to 8 hours");
        }
        let times =
            [self.idle_timeout.unwrap_or_default(), self.request_timeout, self.write_timeout, self.drain_timeout];
        if times.into_iter().any(|time| time > MAX_TIMEOUT) {
            return wrong("a timeout is longer than a year: use None for no idle_timeout, and a year for the others");
        }
        Ok(())
    }
}

/// The nearest length of time that can be a timeout.
pub(crate) fn bounded(timeout: Duration) -> Duration {
    timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT)
}
