//! Clients that stay connected and send one request after another.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use acceptd_bench::{CPU_HEAVY_MARK, MESSAGE_LENGTH};

use super::message::{pattern, read_expected, stamp};
use super::poller::{EventFlags, Poller, TIMEOUT};
use super::sample::{Recorder, Sample};

/// Clients that connect before the first of them reads its response: the shortest accept queue of the peers holds them.
const CONNECT_AT_ONCE: usize = 100;

/// Clients of [`newcomers`] that reconnect for each request.
const NEWCOMERS: usize = 10;

/// How long each client of [`beside_cpu_heavy`] waits between a response and its next request: long enough that all of
/// them together do not use up a core.
const THINK_TIME: Duration = Duration::from_millis(10);

/// `count` clients that each send `size` bytes and read them back, again and again.
pub fn request_response(peer: SocketAddr, count: usize, size: usize, time: Duration) -> io::Result<Sample> {
    let mut clients = Clients::new(peer)?;
    clients.connect(count, &pattern(size), Role::Measured)?;
    clients.run(time)
}

/// `count` clients that wait between requests, beside one client whose every request makes the server compute. The
/// latencies are those of the waiting clients.
pub fn beside_cpu_heavy(peer: SocketAddr, count: usize, time: Duration) -> io::Result<Sample> {
    let mut clients = Clients::new(peer)?;
    clients.think_time = THINK_TIME;
    clients.connect(count, &pattern(MESSAGE_LENGTH), Role::Measured)?;
    clients.connect(1, &[CPU_HEAVY_MARK; MESSAGE_LENGTH], Role::Background)?;
    clients.run(time)
}

/// A few clients that reconnect for each request, while `busy` others stay connected and keep the server busy. The
/// latencies are those of the newcomers.
pub fn newcomers(peer: SocketAddr, busy: usize, time: Duration) -> io::Result<Sample> {
    let mut clients = Clients::new(peer)?;
    clients.connect(busy, &pattern(64), Role::Background)?;
    clients.connect(NEWCOMERS, &pattern(64), Role::Newcomer)?;
    clients.run(time)
}

/// Connects `count` clients that have each got one response, and that stay idle until they are dropped.
pub fn idle(peer: SocketAddr, count: usize) -> io::Result<Clients> {
    let mut clients = Clients::new(peer)?;
    clients.connect(count, &pattern(64), Role::Measured)?;
    Ok(clients)
}

/// The clients of one measurement.
pub struct Clients {
    poller: Poller,
    clients: Vec<Client>,
    /// How long a measured client waits before its next request.
    think_time: Duration,
    /// The clients that wait before their next request, and when each sends it.
    thinking: VecDeque<(Instant, usize)>,
}

struct Client {
    stream: TcpStream,
    number: usize,
    /// The number of its latest request.
    request: u32,
    message: Vec<u8>,
    sent_at: Instant,
    received: usize,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its requests are measured.
    Measured,
    /// It keeps the server busy; its requests are not measured.
    Background,
    /// It reconnects for each request; its requests are measured.
    Newcomer,
}

impl Clients {
    fn new(peer: SocketAddr) -> io::Result<Clients> {
        let poller = Poller::new(peer)?;
        Ok(Clients { poller, clients: Vec::new(), think_time: Duration::ZERO, thinking: VecDeque::new() })
    }

    /// Adds clients that are connected and have each got one response. A few connect at a time: when the accept queue
    /// overflows, TCP retries after a second, and only [`burst`](super::burst) measures that.
    fn connect(&mut self, count: usize, message: &[u8], role: Role) -> io::Result<()> {
        let mut buffer = vec![0; message.len()];
        for first in (0..count).step_by(CONNECT_AT_ONCE) {
            let begin = self.clients.len();
            for _ in first..count.min(first + CONNECT_AT_ONCE) {
                let stream = self.poller.connect()?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                let message = message.to_vec();
                let (number, sent_at) = (self.clients.len(), Instant::now());
                let mut client = Client { stream, number, request: 0, message, sent_at, received: 0, role };
                client.send_request()?;
                self.clients.push(client);
            }
            for client in self.clients.iter_mut().skip(begin) {
                client.wait_for_response(&mut buffer)?;
                client.stream.set_nonblocking(true)?;
                self.poller.add(&client.stream, client.number, EventFlags::IN)?;
            }
        }
        Ok(())
    }

    /// Each client sends a request, reads the response and starts again, until `time` has passed. Every request gets
    /// its response.
    fn run(&mut self, time: Duration) -> io::Result<Sample> {
        let mut buffer = vec![0; 64 * 1024];
        let start = Instant::now();
        self.send_first_requests(start)?;
        // The first fifth is warm-up: threads start, buffers grow.
        let begin = start + time / 5;
        let end = begin + time;
        let has_newcomers = self.clients.iter().any(|client| client.role == Role::Newcomer);
        let mut recorder = Recorder::new(begin, end);
        let mut waiting = self.clients.len() - self.thinking.len();
        while waiting > 0 || Instant::now() < end {
            let due = self.thinking.front().map_or(end, |(due, _)| *due);
            let is_over = Instant::now() >= end;
            let ready = self.poller.wait(if is_over { end + TIMEOUT } else { due.min(end) })?;
            if is_over && ready.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{waiting} requests got no response")));
            }
            if Instant::now() < end {
                waiting += self.send_due_requests()?;
            }
            for number in ready {
                let Some(client) = self.clients.get_mut(number) else { continue };
                if !client.read_response(&mut buffer)? {
                    continue;
                }
                let now = Instant::now();
                if has_newcomers == (client.role == Role::Newcomer) && client.role != Role::Background {
                    recorder.record(client.sent_at, now);
                }
                waiting -= 1;
                if now < end {
                    waiting += self.start_next_request(number, now)?;
                }
            }
        }
        recorder.sample(time)
    }

    /// Clients that think start one after the other: if they started together, they would stay together.
    fn send_first_requests(&mut self, start: Instant) -> io::Result<()> {
        let count = self.clients.len() as u32;
        for (number, client) in self.clients.iter_mut().enumerate() {
            if client.role == Role::Measured && !self.think_time.is_zero() {
                self.thinking.push_back((start + self.think_time * number as u32 / count, number));
            } else {
                client.send_request()?;
            }
        }
        Ok(())
    }

    /// Sends the requests of the clients that have waited long enough. Returns how many it has sent.
    fn send_due_requests(&mut self) -> io::Result<usize> {
        let mut count = 0;
        while let Some((due, number)) = self.thinking.front().copied()
            && due <= Instant::now()
        {
            self.thinking.pop_front();
            self.clients[number].send_request()?;
            count += 1;
        }
        Ok(count)
    }

    /// Sends the next request of a client, or schedules it. Returns how many requests it has sent.
    fn start_next_request(&mut self, number: usize, now: Instant) -> io::Result<usize> {
        let client = &mut self.clients[number];
        match client.role {
            Role::Measured if !self.think_time.is_zero() => {
                self.thinking.push_back((now + self.think_time, number));
                return Ok(0);
            }
            Role::Newcomer => self.reconnect(number)?,
            Role::Measured | Role::Background => client.send_request()?,
        }
        Ok(1)
    }

    /// Closes a newcomer's connection and sends its next request on a new one. The latency includes the connect.
    fn reconnect(&mut self, number: usize) -> io::Result<()> {
        let start = Instant::now();
        let stream = self.poller.connect()?;
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, number, EventFlags::IN)?;
        let client = &mut self.clients[number];
        client.stream = stream;
        client.send_request()?;
        client.sent_at = start;
        Ok(())
    }
}

impl Client {
    fn send_request(&mut self) -> io::Result<()> {
        self.request += 1;
        stamp(&mut self.message, self.number, self.request);
        self.sent_at = Instant::now();
        self.received = 0;
        let sent = self.stream.write(&self.message)?;
        if sent < self.message.len() {
            return Err(io::Error::other("a message does not fit into the socket's send buffer"));
        }
        Ok(())
    }

    /// Blocks until the response is complete.
    ///
    /// # Errors
    ///
    /// `TimedOut` if nothing comes within the stream's read timeout.
    fn wait_for_response(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let received = self.received;
            if self.read_response(buffer)? {
                return Ok(());
            }
            if self.received == received {
                return Err(io::Error::new(ErrorKind::TimedOut, "a client got no response after it connected"));
            }
        }
    }

    /// Reads what has come. Returns whether the response is complete.
    fn read_response(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.received += read_expected(&self.stream, &self.message[self.received..], buffer)?;
        Ok(self.received == self.message.len())
    }
}
