//! The load: one thread, one epoll, many clients. Every byte that comes back is compared with what was sent.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use acceptd_bench::{BURN_MARK, MESSAGE};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

/// What should come does so within this time, or the peer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// This many connect before they are answered: what the shortest queue of the peers holds.
const JOIN_AT_ONCE: usize = 100;

/// How long the quick clients beside a CPU-heavy one think: they are many, and still do not fill a processor.
const THINKING: Duration = Duration::from_millis(10);

/// What one measurement of one peer says.
pub struct Sample {
    /// Requests, connections or bytes a second; for a burst, bursts a second.
    pub rate: f64,
    /// Latency in microseconds: the median.
    pub p50: f64,
    /// Latency in microseconds that 99 of 100 stay below.
    pub p99: f64,
}

impl Sample {
    fn new(count: u64, time: Duration, latencies: &Histogram<u64>) -> Sample {
        let micros = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Sample { rate: count as f64 / time.as_secs_f64(), p50: micros(0.5), p99: micros(0.99) }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

/// The bytes that are sent: a period that is prime, so that bytes which went astray show.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| ((i % 65_521).wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect()
}

/// A client in a conversation of messages.
struct Client {
    stream: TcpStream,
    message: Vec<u8>,
    sent_at: Instant,
    received: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its latencies count.
    Measured,
    /// It keeps the server busy.
    Burden,
    /// It connects anew for each message, and its latencies alone count.
    Newcomer,
}

/// All clients of a measurement.
struct Crowd {
    epoll: OwnedFd,
    clients: Vec<Client>,
    addr: SocketAddr,
    /// How long a measured client waits with its next question.
    thinking: Duration,
    /// Who asks next, and when.
    thinkers: VecDeque<(Instant, usize)>,
}

impl Crowd {
    fn new(addr: SocketAddr) -> io::Result<Crowd> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Crowd { epoll, clients: Vec::new(), addr, thinking: Duration::ZERO, thinkers: VecDeque::new() })
    }

    /// A socket, each thousand with an address of its own, so that ports do not run out.
    fn socket(&self) -> io::Result<Socket> {
        static SOCKETS: AtomicU32 = AtomicU32::new(0);
        let [_, _, high, low] = (SOCKETS.fetch_add(1, Ordering::Relaxed) / 1000).to_be_bytes();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 10, high, low], 0)).into())?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = self.socket()?;
        socket.connect_timeout(&self.addr.into(), PATIENCE)?;
        Ok(socket.into())
    }

    /// Adds clients that are connected and have each been answered once. A few at a time: a queue that overflows, and
    /// the second that TCP then waits, is what [`burst`] measures.
    fn join(&mut self, count: usize, message: &[u8], kind: Kind) -> io::Result<()> {
        let mut buffer = vec![0; message.len()];
        for first in (0..count).step_by(JOIN_AT_ONCE) {
            let begin = self.clients.len();
            for _ in first..count.min(first + JOIN_AT_ONCE) {
                let stream = self.connect()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let message = message.to_vec();
                let mut client = Client { stream, message, sent_at: Instant::now(), received: 0, kind };
                client.ask()?;
                self.clients.push(client);
            }
            for (number, client) in self.clients.iter_mut().enumerate().skip(begin) {
                while !client.listen(&mut buffer)? {}
                client.stream.set_nonblocking(true)?;
                epoll::add(&self.epoll, &client.stream, EventData::new_u64(number as u64), EventFlags::IN)?;
            }
        }
        Ok(())
    }

    fn wait(&self, deadline: Instant) -> io::Result<Vec<(usize, EventFlags)>> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().map(|event| (event.data.u64() as usize, event.flags)).collect())
    }

    /// Each asks, gets its answer and asks again, until the time is over.
    fn converse(&mut self, time: Duration) -> io::Result<Sample> {
        let mut buffer = vec![0; 64 * 1024];
        for client in &mut self.clients {
            client.ask()?;
        }
        // What comes first is not measured: threads start, buffers grow.
        let begin = Instant::now() + time / 5;
        let end = begin + time;
        let (mut latencies, mut count) = (histogram(), 0);
        let has_newcomers = self.clients.iter().any(|client| client.kind == Kind::Newcomer);
        let mut silent_since = Instant::now();
        while Instant::now() < end {
            let due = self.thinkers.front().map_or(end, |(due, _)| *due);
            let ready = self.wait(due.min(end))?;
            self.ask_who_have_thought()?;
            if !ready.is_empty() {
                silent_since = Instant::now();
            } else if silent_since.elapsed() > PATIENCE {
                return Err(io::Error::new(ErrorKind::TimedOut, "the peer answers nobody"));
            }
            for (number, _) in ready {
                let Some(client) = self.clients.get_mut(number) else { continue };
                if !client.listen(&mut buffer)? {
                    continue;
                }
                let now = Instant::now();
                let counts = if has_newcomers { client.kind == Kind::Newcomer } else { client.kind == Kind::Measured };
                if now >= begin && counts {
                    count += 1;
                    latencies.saturating_record((now - client.sent_at).as_nanos() as u64);
                }
                if client.kind == Kind::Newcomer {
                    self.come_again(number)?;
                } else if client.kind == Kind::Measured && !self.thinking.is_zero() {
                    self.thinkers.push_back((now + self.thinking, number));
                } else {
                    client.ask()?;
                }
            }
        }
        Ok(Sample::new(count, time, &latencies))
    }

    fn ask_who_have_thought(&mut self) -> io::Result<()> {
        while let Some((due, number)) = self.thinkers.front().copied()
            && due <= Instant::now()
        {
            self.thinkers.pop_front();
            self.clients[number].ask()?;
        }
        Ok(())
    }

    /// A newcomer leaves, and another one comes in its place. Its latency begins with the connect.
    fn come_again(&mut self, number: usize) -> io::Result<()> {
        let start = Instant::now();
        let stream = self.connect()?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        let client = &mut self.clients[number];
        client.stream = stream;
        client.ask()?;
        client.sent_at = start;
        Ok(())
    }
}

impl Client {
    fn ask(&mut self) -> io::Result<()> {
        self.sent_at = Instant::now();
        self.received = 0;
        let sent = self.stream.write(&self.message)?;
        if sent < self.message.len() {
            return Err(io::Error::other("a message does not fit into the socket"));
        }
        Ok(())
    }

    /// Takes what has come. Whether the answer is complete.
    fn listen(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let wanted = self.message.len() - self.received;
        match self.stream.read(&mut buffer[..wanted]) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer has closed")),
            Ok(count) => {
                if buffer[..count] != self.message[self.received..self.received + count] {
                    return Err(io::Error::new(ErrorKind::InvalidData, "the peer has changed a byte"));
                }
                self.received += count;
                Ok(self.received == self.message.len())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// `clients` of them ask for `size` bytes each and get them, again and again.
pub fn request_response(addr: SocketAddr, clients: usize, size: usize, time: Duration) -> io::Result<Sample> {
    let mut crowd = Crowd::new(addr)?;
    crowd.join(clients, &pattern(size), Kind::Measured)?;
    crowd.converse(time)
}

/// Quick ones, who think a while before they ask again, beside one whose every message makes the server compute: the
/// latencies of the quick ones.
pub fn beside_a_burning_one(addr: SocketAddr, clients: usize, time: Duration) -> io::Result<Sample> {
    let mut crowd = Crowd::new(addr)?;
    crowd.thinking = THINKING;
    crowd.join(clients, &pattern(MESSAGE), Kind::Measured)?;
    crowd.join(1, &[BURN_MARK; MESSAGE], Kind::Burden)?;
    crowd.converse(time)
}

/// Connect, echo, close: the latencies of one newcomer after the other, while `busy` others are served.
pub fn newcomers(addr: SocketAddr, busy: usize, time: Duration) -> io::Result<Sample> {
    let mut crowd = Crowd::new(addr)?;
    crowd.join(busy, &pattern(64), Kind::Burden)?;
    crowd.join(1, &pattern(64), Kind::Newcomer)?;
    crowd.converse(time)
}

/// Where a client is that connects without waiting.
struct Visitor {
    socket: TcpStream,
    start: Instant,
    has_asked: bool,
}

impl Visitor {
    fn arrive(crowd: &Crowd, number: usize) -> io::Result<Visitor> {
        let socket = crowd.socket()?;
        socket.set_nonblocking(true)?;
        let start = Instant::now();
        // In progress, which is not an error.
        let _ = socket.connect(&crowd.addr.into());
        let visitor = Visitor { socket: socket.into(), start, has_asked: false };
        epoll::add(&crowd.epoll, &visitor.socket, EventData::new_u64(number as u64), EventFlags::OUT)?;
        Ok(visitor)
    }

    /// Whether the visit is over.
    fn go_on(&mut self, crowd: &Crowd, number: usize, message: &[u8]) -> io::Result<bool> {
        if !self.has_asked {
            self.socket.write_all(message)?;
            self.has_asked = true;
            epoll::modify(&crowd.epoll, &self.socket, EventData::new_u64(number as u64), EventFlags::IN)?;
            return Ok(false);
        }
        let mut answer = vec![0; message.len()];
        match self.socket.read(&mut answer) {
            Ok(count) if answer[..count] == *message => Ok(true),
            Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "the peer did not send the message back")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Connect, echo, close, by `at_once` at the same time.
pub fn come_and_go(addr: SocketAddr, at_once: usize, time: Duration) -> io::Result<Sample> {
    let message = pattern(64);
    let crowd = Crowd::new(addr)?;
    let mut visitors = (0..at_once).map(|n| Visitor::arrive(&crowd, n)).collect::<io::Result<Vec<_>>>()?;
    let begin = Instant::now() + time / 5;
    let end = begin + time;
    let (mut latencies, mut count) = (histogram(), 0);
    while Instant::now() < end {
        for (number, _) in crowd.wait(end)? {
            let visitor = &mut visitors[number];
            if !visitor.go_on(&crowd, number, &message)? {
                continue;
            }
            let now = Instant::now();
            if now >= begin {
                count += 1;
                latencies.saturating_record((now - visitor.start).as_nanos() as u64);
            }
            visitors[number] = Visitor::arrive(&crowd, number)?;
        }
    }
    Ok(Sample::new(count, time, &latencies))
}

/// All connect in the same instant; over when the last has its answer. The latencies are each one's own.
pub fn burst(addr: SocketAddr, clients: usize) -> io::Result<Sample> {
    let message = pattern(64);
    let crowd = Crowd::new(addr)?;
    let sockets: Vec<Socket> = (0..clients).map(|_| crowd.socket()).collect::<io::Result<_>>()?;
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        epoll::add(&crowd.epoll, socket, EventData::new_u64(number as u64), EventFlags::OUT)?;
    }
    let start = Instant::now();
    for socket in &sockets {
        let _ = socket.connect(&addr.into());
    }
    let visitor = |socket: Socket| Visitor { socket: socket.into(), start, has_asked: false };
    let mut visitors: Vec<Visitor> = sockets.into_iter().map(visitor).collect();
    let mut latencies = histogram();
    while latencies.len() < clients as u64 {
        let ready = crowd.wait(start + PATIENCE)?;
        if ready.is_empty() && start.elapsed() >= PATIENCE {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{} were answered", latencies.len())));
        }
        for (number, _) in ready {
            match visitors[number].go_on(&crowd, number, &message) {
                Ok(true) => {
                    latencies.saturating_record(start.elapsed().as_nanos() as u64);
                    epoll::delete(&crowd.epoll, &visitors[number].socket)?;
                }
                Ok(false) => {}
                // A queue that overflows may end so. Whoever wants an answer comes again.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    visitors[number] = Visitor::arrive(&crowd, number)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Sample::new(1, start.elapsed(), &latencies))
}

/// One client sends `bytes` and reads them back at the same time.
pub fn stream(addr: SocketAddr, bytes: usize) -> io::Result<Sample> {
    let crowd = Crowd::new(addr)?;
    let mut socket = crowd.connect()?;
    socket.set_nonblocking(true)?;
    epoll::add(&crowd.epoll, &socket, EventData::new_u64(0), EventFlags::IN | EventFlags::OUT)?;
    let block = pattern(1 << 20);
    let mut buffer = vec![0; 1 << 20];
    let (mut sent, mut received) = (0, 0);
    let start = Instant::now();
    while received < bytes {
        let interest = if sent < bytes { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let mut idle = true;
        if sent < bytes {
            let from = sent % block.len();
            match socket.write(&block[from..(from + bytes - sent).min(block.len())]) {
                Ok(count) => (sent, idle) = (sent + count, false),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer has closed")),
            Ok(count) => {
                compare(&buffer[..count], &block, received)?;
                (received, idle) = (received + count, false);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if idle {
            epoll::modify(&crowd.epoll, &socket, EventData::new_u64(0), interest)?;
            if crowd.wait(Instant::now() + PATIENCE)?.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "the stream has stopped"));
            }
        }
    }
    Ok(Sample::new(bytes as u64, start.elapsed(), &histogram()))
}

/// Compares what came with the pattern from there on.
fn compare(mut got: &[u8], block: &[u8], mut at: usize) -> io::Result<()> {
    while !got.is_empty() {
        let expected = &block[at % block.len()..];
        let count = got.len().min(expected.len());
        if got[..count] != expected[..count] {
            return Err(io::Error::new(ErrorKind::InvalidData, "the peer has changed a byte"));
        }
        got = &got[count..];
        at += count;
    }
    Ok(())
}

/// Clients that have each been answered once and do nothing now, for as long as this lives.
pub struct Idle {
    _crowd: Crowd,
}

/// Connects them.
pub fn idle(addr: SocketAddr, clients: usize) -> io::Result<Idle> {
    let mut crowd = Crowd::new(addr)?;
    crowd.join(clients, &pattern(64), Kind::Measured)?;
    Ok(Idle { _crowd: crowd })
}
