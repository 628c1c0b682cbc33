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

/// Newcomers beside the busy ones.
const NEWCOMERS: usize = 10;

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

/// Counts the answers that come between two instants, and notes the latencies of all questions asked between them.
struct Tally {
    begin: Instant,
    end: Instant,
    count: u64,
    latencies: Histogram<u64>,
}

impl Tally {
    fn new(begin: Instant, end: Instant) -> Tally {
        Tally { begin, end, count: 0, latencies: histogram() }
    }

    fn note(&mut self, asked: Instant, answered: Instant) {
        if answered >= self.begin {
            self.count += u64::from(answered < self.end);
            self.latencies.saturating_record((answered - asked).as_nanos() as u64);
        }
    }

    fn sample(&self, time: Duration) -> io::Result<Sample> {
        if self.count == 0 {
            return Err(io::Error::new(ErrorKind::TimedOut, "nobody was answered in time"));
        }
        Ok(Sample::new(self.count, time, &self.latencies))
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

/// The bytes that are sent, with a period that is prime, so that bytes which went astray show.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| ((i % 65_521).wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect()
}

/// The place in a message where its sender and its number are, so that an answer to somebody else, or to an earlier
/// question, shows.
const STAMP: std::ops::Range<usize> = 8..16;

/// Makes a message of a client different from all others.
fn stamp(message: &mut [u8], client: usize, number: u32) {
    if let Some(place) = message.get_mut(STAMP) {
        place.copy_from_slice(&((client as u64) << 32 | u64::from(number)).to_be_bytes());
    }
}

/// A client in a conversation of messages.
struct Client {
    stream: TcpStream,
    /// Its number, and that of its message.
    number: usize,
    count: u32,
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
                let (number, sent_at) = (self.clients.len(), Instant::now());
                let mut client = Client { stream, number, count: 0, message, sent_at, received: 0, kind };
                client.ask()?;
                self.clients.push(client);
            }
            for client in self.clients.iter_mut().skip(begin) {
                while !client.listen(&mut buffer)? {}
                client.stream.set_nonblocking(true)?;
                let number = EventData::new_u64(client.number as u64);
                epoll::add(&self.epoll, &client.stream, number, EventFlags::IN)?;
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

    /// Each asks, gets its answer and asks again, until the time is over. Every question that was asked is answered.
    fn converse(&mut self, time: Duration) -> io::Result<Sample> {
        let mut buffer = vec![0; 64 * 1024];
        let start = Instant::now();
        let count = self.clients.len() as u32;
        for (number, client) in self.clients.iter_mut().enumerate() {
            if client.kind == Kind::Measured && !self.thinking.is_zero() {
                // One after the other, or they would stay together.
                self.thinkers.push_back((start + self.thinking * number as u32 / count, number));
            } else {
                client.ask()?;
            }
        }
        // What comes first is not measured: threads start, buffers grow.
        let begin = start + time / 5;
        let end = begin + time;
        let has_newcomers = self.clients.iter().any(|client| client.kind == Kind::Newcomer);
        let mut tally = Tally::new(begin, end);
        let mut waiting = self.clients.len() - self.thinkers.len();
        while waiting > 0 || Instant::now() < end {
            let due = self.thinkers.front().map_or(end, |(due, _)| *due);
            let is_over = Instant::now() >= end;
            let ready = self.wait(if is_over { end + PATIENCE } else { due.min(end) })?;
            if is_over && ready.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{waiting} were not answered")));
            }
            if Instant::now() < end {
                waiting += self.ask_who_have_thought()?;
            }
            for (number, _) in ready {
                let Some(client) = self.clients.get_mut(number) else { continue };
                if !client.listen(&mut buffer)? {
                    continue;
                }
                let now = Instant::now();
                if has_newcomers == (client.kind == Kind::Newcomer) && client.kind != Kind::Burden {
                    tally.note(client.sent_at, now);
                }
                waiting -= 1;
                if now >= end {
                    continue;
                }
                if client.kind == Kind::Measured && !self.thinking.is_zero() {
                    self.thinkers.push_back((now + self.thinking, number));
                    continue;
                }
                waiting += 1;
                if client.kind == Kind::Newcomer {
                    self.come_again(number)?;
                } else {
                    client.ask()?;
                }
            }
        }
        tally.sample(time)
    }

    /// How many they are.
    fn ask_who_have_thought(&mut self) -> io::Result<usize> {
        let mut count = 0;
        while let Some((due, number)) = self.thinkers.front().copied()
            && due <= Instant::now()
        {
            self.thinkers.pop_front();
            self.clients[number].ask()?;
            count += 1;
        }
        Ok(count)
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
        self.count += 1;
        stamp(&mut self.message, self.number, self.count);
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

/// Connect, echo, close: the latencies of newcomers, a few at the same time, while `busy` others are served.
pub fn newcomers(addr: SocketAddr, busy: usize, time: Duration) -> io::Result<Sample> {
    let mut crowd = Crowd::new(addr)?;
    crowd.join(busy, &pattern(64), Kind::Burden)?;
    crowd.join(NEWCOMERS, &pattern(64), Kind::Newcomer)?;
    crowd.converse(time)
}

/// A client that connects without waiting, asks once, and leaves.
struct Visitor {
    socket: TcpStream,
    start: Instant,
    message: Vec<u8>,
    has_asked: bool,
    received: usize,
}

impl Visitor {
    fn new(socket: TcpStream, number: usize, count: u32) -> Visitor {
        let mut message = pattern(MESSAGE);
        stamp(&mut message, number, count);
        Visitor { socket, start: Instant::now(), message, has_asked: false, received: 0 }
    }

    fn arrive(crowd: &Crowd, number: usize, count: u32) -> io::Result<Visitor> {
        let socket = crowd.socket()?;
        socket.set_nonblocking(true)?;
        let start = Instant::now();
        // In progress, which is not an error.
        let _ = socket.connect(&crowd.addr.into());
        let visitor = Visitor { start, ..Visitor::new(socket.into(), number, count) };
        epoll::add(&crowd.epoll, &visitor.socket, EventData::new_u64(number as u64), EventFlags::OUT)?;
        Ok(visitor)
    }

    /// Whether the visit is over.
    fn go_on(&mut self, crowd: &Crowd, number: usize) -> io::Result<bool> {
        if !self.has_asked {
            self.socket.write_all(&self.message)?;
            self.has_asked = true;
            epoll::modify(&crowd.epoll, &self.socket, EventData::new_u64(number as u64), EventFlags::IN)?;
            return Ok(false);
        }
        let mut answer = [0; MESSAGE];
        let expected = &self.message[self.received..];
        match self.socket.read(&mut answer[..expected.len()]) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer has closed")),
            Ok(count) if answer[..count] == expected[..count] => {
                self.received += count;
                Ok(self.received == self.message.len())
            }
            Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "the peer has changed a byte")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A queue that overflows may end so. Whoever wants an answer comes again.
fn was_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Connect, echo, close, by `at_once` at the same time. Everybody who has come is answered.
pub fn come_and_go(addr: SocketAddr, at_once: usize, time: Duration) -> io::Result<Sample> {
    let crowd = Crowd::new(addr)?;
    let mut visitors = (0..at_once).map(|n| Visitor::arrive(&crowd, n, 0).map(Some)).collect::<io::Result<Vec<_>>>()?;
    let begin = Instant::now() + time / 5;
    let end = begin + time;
    let mut tally = Tally::new(begin, end);
    let (mut waiting, mut visits) = (at_once, 0);
    while waiting > 0 {
        let ready = crowd.wait(end + PATIENCE)?;
        if ready.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{waiting} were not answered")));
        }
        for (number, _) in ready {
            let Some(visitor) = &mut visitors[number] else { continue };
            match visitor.go_on(&crowd, number) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if was_reset(&error) => {
                    *visitor = Visitor { start: visitor.start, ..Visitor::arrive(&crowd, number, visits)? };
                    continue;
                }
                Err(error) => return Err(error),
            }
            let now = Instant::now();
            tally.note(visitor.start, now);
            if now < end {
                visits += 1;
                *visitor = Visitor::arrive(&crowd, number, visits)?;
            } else {
                // Closed, so that the next one's turn comes also where it comes one at a time.
                visitors[number] = None;
                waiting -= 1;
            }
        }
    }
    tally.sample(time)
}

/// All connect in the same instant; over when the last has its answer. The latencies are each one's own.
pub fn burst(addr: SocketAddr, clients: usize) -> io::Result<Sample> {
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
    let visitor = |(number, socket): (usize, Socket)| Visitor::new(socket.into(), number, 0);
    let mut visitors: Vec<Visitor> = sockets.into_iter().enumerate().map(visitor).collect();
    let mut latencies = histogram();
    while latencies.len() < clients as u64 {
        let ready = crowd.wait(start + PATIENCE)?;
        if ready.is_empty() && start.elapsed() >= PATIENCE {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{} were answered", latencies.len())));
        }
        for (number, _) in ready {
            match visitors[number].go_on(&crowd, number) {
                Ok(true) => {
                    latencies.saturating_record(start.elapsed().as_nanos() as u64);
                    epoll::delete(&crowd.epoll, &visitors[number].socket)?;
                }
                Ok(false) => {}
                Err(error) if was_reset(&error) => {
                    visitors[number] = Visitor::arrive(&crowd, number, 1)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Sample::new(1, start.elapsed(), &latencies))
}

/// What a stream repeats: whole periods of the pattern, and no multiple of anybody's buffer.
const BLOCK: usize = 16 * 65_521;

/// One client sends `bytes` and reads them back at the same time.
pub fn stream(addr: SocketAddr, bytes: usize) -> io::Result<Sample> {
    let crowd = Crowd::new(addr)?;
    let mut socket = crowd.connect()?;
    socket.set_nonblocking(true)?;
    epoll::add(&crowd.epoll, &socket, EventData::new_u64(0), EventFlags::IN | EventFlags::OUT)?;
    let block = pattern(BLOCK);
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
