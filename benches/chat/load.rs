//! The members of a room: one thread, one epoll. Every line is compared with the message that its member expects next.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::servers::ChatDialect;

/// A server that takes longer to deliver has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for messages that should not come, such as second copies.
const QUIET_TIME: Duration = Duration::from_millis(20);

/// Bytes of each message, without the name of its sender and the end of its line.
const MESSAGE_LENGTH: usize = 64;

/// When the next message is sent.
#[derive(Clone, Copy)]
pub enum SendPace {
    /// As soon as fewer than this many messages are in flight.
    Window(usize),
    /// This long after the previous message, whether that is delivered or not.
    Every(Duration),
}

/// The result of one measurement.
pub struct Sample {
    /// Deliveries a second.
    pub rate: f64,
    /// The median time from the send of a message to its delivery to a member, in microseconds.
    pub p50: f64,
    /// The 99th percentile of these times, in microseconds.
    pub p99: f64,
}

/// All members of a room, each on its own connection. The last member sends, all others receive.
pub struct RoomClients {
    epoll: OwnedFd,
    dialect: ChatDialect,
    members: Vec<RoomClient>,
    /// Messages that some members have not received yet, oldest first.
    in_flight: VecDeque<MessageInFlight>,
    /// How many messages all members have received. This is the number of the first message in `in_flight`.
    delivered: u64,
    buffer: Vec<u8>,
}

struct RoomClient {
    stream: TcpStream,
    has_joined: bool,
    /// The bytes of a line that is not complete yet.
    partial_line: Vec<u8>,
    /// The number of the message that it should receive next.
    next_message: u64,
}

/// A message in flight.
struct MessageInFlight {
    text: [u8; MESSAGE_LENGTH],
    sent_at: Instant,
    /// How many members have received it.
    deliveries: usize,
}

/// Counts the deliveries between two instants, and records the delivery times of messages sent after the first instant.
struct Recorder {
    begin: Instant,
    end: Instant,
    count: u64,
    delivery_times: Histogram<u64>,
}

impl RoomClients {
    /// Connects `members` members and waits until all of them have joined. Connects them in groups of `at_once`: when
    /// the accept queue overflows, TCP retries only after a second.
    ///
    /// # Errors
    ///
    /// A member can't connect or join.
    pub fn join(addr: SocketAddr, dialect: ChatDialect, members: usize, at_once: usize) -> io::Result<RoomClients> {
        let mut room = RoomClients {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            dialect,
            members: Vec::new(),
            in_flight: VecDeque::new(),
            delivered: 0,
            buffer: vec![0; 64 * 1024],
        };
        let now = Instant::now();
        let mut unused = Recorder::new(now, now);
        while room.members.len() < members {
            let first = room.members.len();
            for number in first..members.min(first + at_once) {
                room.connect(addr, number)?;
            }
            let deadline = Instant::now() + TIMEOUT;
            while !room.members[first..].iter().all(|member| member.has_joined) {
                if !room.poll(deadline, &mut unused)? {
                    return Err(timed_out("a member did not join the room"));
                }
            }
        }
        Ok(room)
    }

    fn connect(&mut self, addr: SocketAddr, number: usize) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        let mut member = RoomClient { stream, has_joined: false, partial_line: Vec::new(), next_message: 0 };
        if self.dialect == ChatDialect::Irc {
            member.send(format!("NICK m{number}\r\nUSER m{number} 0 * :m\r\n").as_bytes())?;
        }
        self.members.push(member);
        Ok(())
    }

    /// Sends messages at this pace until `time` has passed, then waits until all of them are delivered.
    ///
    /// # Errors
    ///
    /// A message is lost, changed, repeated or out of order.
    pub fn send_messages(&mut self, pace: SendPace, time: Duration) -> io::Result<Sample> {
        let start = Instant::now();
        // The first fifth is warm-up: threads start, buffers grow.
        let begin = start + time / 5;
        let end = begin + time;
        let mut recorder = Recorder::new(begin, end);
        let mut due = start;
        loop {
            let now = Instant::now();
            if now >= end {
                if self.in_flight.is_empty() {
                    return recorder.sample(time);
                }
                if !self.poll(end + TIMEOUT, &mut recorder)? {
                    let undelivered = self.in_flight.len();
                    return Err(timed_out(&format!("{undelivered} messages did not reach all members")));
                }
                continue;
            }
            match pace {
                SendPace::Window(window) => {
                    while self.in_flight.len() < window {
                        self.send_message()?;
                    }
                    self.poll(end, &mut recorder)?;
                }
                SendPace::Every(pause) => {
                    if now >= due {
                        self.send_message()?;
                        due += pause;
                    }
                    self.poll(due.min(end), &mut recorder)?;
                }
            }
        }
    }

    /// Checks that no message comes after the last one.
    ///
    /// # Errors
    ///
    /// A message comes.
    pub fn expect_no_message(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let deadline = now + QUIET_TIME;
        let mut unused = Recorder::new(now, now);
        while self.poll(deadline, &mut unused)? {}
        Ok(())
    }

    fn send_message(&mut self) -> io::Result<()> {
        let number = self.delivered + self.in_flight.len() as u64;
        let text = message_text(number);
        let Some(sender) = self.members.last_mut() else { return Ok(()) };
        let line = match self.dialect {
            ChatDialect::Plain => [text.as_slice(), b"\n"].concat(),
            ChatDialect::Irc => [b"PRIVMSG #lobby :", text.as_slice(), b"\r\n"].concat(),
        };
        self.in_flight.push_back(MessageInFlight { text, sent_at: Instant::now(), deliveries: 0 });
        sender.send(&line)
    }

    /// Waits until sockets are readable, and reads them. Returns whether the deadline is still ahead.
    fn poll(&mut self, deadline: Instant, recorder: &mut Recorder) -> io::Result<bool> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            self.read(event.data.u64() as usize, recorder)?;
        }
        Ok(Instant::now() < deadline)
    }

    /// Reads what a member has received, and handles each complete line.
    fn read(&mut self, number: usize, recorder: &mut Recorder) -> io::Result<()> {
        let member = &mut self.members[number];
        let count = match member.stream.read(&mut self.buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("member {number} was cut"))),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let mut bytes = std::mem::take(&mut member.partial_line);
        bytes.extend_from_slice(&self.buffer[..count]);
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            match self.dialect {
                ChatDialect::Plain => self.on_plain_line(number, line, now, recorder)?,
                ChatDialect::Irc => self.on_irc_line(number, line, now, recorder)?,
            }
            rest = &rest[end + 1..];
        }
        let consumed = bytes.len() - rest.len();
        bytes.drain(..consumed);
        self.members[number].partial_line = bytes;
        Ok(())
    }

    /// Handles a line of the plain dialect. A notice begins with `* `, and the first notice is the welcome.
    fn on_plain_line(&mut self, number: usize, line: &[u8], now: Instant, recorder: &mut Recorder) -> io::Result<()> {
        if line.starts_with(b"* ") {
            self.members[number].has_joined = true;
            return Ok(());
        }
        self.on_message(number, line, now, recorder)
    }

    /// Handles a line of IRC, whose second word is the command. A member joins the room after RPL_WELCOME (001), and
    /// has joined at RPL_ENDOFNAMES (366).
    fn on_irc_line(&mut self, number: usize, line: &[u8], now: Instant, recorder: &mut Recorder) -> io::Result<()> {
        match line.split(|byte| *byte == b' ').nth(1) {
            Some(b"001") => self.members[number].send(b"JOIN #lobby\r\n"),
            Some(b"366") => {
                self.members[number].has_joined = true;
                Ok(())
            }
            Some(b"PRIVMSG") => self.on_message(number, line, now, recorder),
            _ => Ok(()),
        }
    }

    /// Records a delivery to a member. The message has to be the next one for this member.
    fn on_message(&mut self, number: usize, line: &[u8], now: Instant, recorder: &mut Recorder) -> io::Result<()> {
        let receivers = self.members.len() - 1;
        let member = &mut self.members[number];
        let message =
            (member.next_message.checked_sub(self.delivered)).and_then(|index| self.in_flight.get_mut(index as usize));
        let Some(message) = message.filter(|message| number < receivers && line.ends_with(&message.text)) else {
            let (line, next) = (String::from_utf8_lossy(line), member.next_message);
            let error = format!("member {number} waits for message {next} and got {line:?}");
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        };
        member.next_message += 1;
        message.deliveries += 1;
        recorder.record(message.sent_at, now);
        // This is always the oldest message in flight, because each member receives the messages in order.
        if message.deliveries == receivers {
            self.in_flight.pop_front();
            self.delivered += 1;
        }
        Ok(())
    }
}

impl RoomClient {
    /// Sends without blocking. The messages in flight are few enough to fit into the send buffer.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stream.write(bytes)? < bytes.len() {
            return Err(io::Error::other("a message does not fit into the socket's send buffer"));
        }
        Ok(())
    }
}

/// The text of a message, which differs from that of every other message.
fn message_text(number: u64) -> [u8; MESSAGE_LENGTH] {
    let mut text = *b"---------- is the number of this message, and all of it is text.";
    let digits = format!("{number:010}");
    text[..digits.len()].copy_from_slice(digits.as_bytes());
    text
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

impl Recorder {
    fn new(begin: Instant, end: Instant) -> Recorder {
        let delivery_times = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
        Recorder { begin, end, count: 0, delivery_times }
    }

    fn record(&mut self, sent_at: Instant, delivered_at: Instant) {
        self.count += u64::from(self.begin <= delivered_at && delivered_at < self.end);
        if sent_at >= self.begin {
            self.delivery_times.saturating_record((delivered_at - sent_at).as_nanos() as u64);
        }
    }

    fn sample(&self, time: Duration) -> io::Result<Sample> {
        if self.count == 0 || self.delivery_times.is_empty() {
            return Err(timed_out("no member got a message in time"));
        }
        let micros = |quantile| self.delivery_times.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(Sample { rate: self.count as f64 / time.as_secs_f64(), p50: micros(0.5), p99: micros(0.99) })
    }
}
