//! The members of a room: one thread, one epoll. Each line that comes is compared with the message whose turn it is.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::servers::Dialect;

/// What should come does so within this time, or the server has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A second copy of a message would come within this time.
const SILENCE: Duration = Duration::from_millis(20);

/// Bytes of each message, without its name and the end of its line.
const MESSAGE: usize = 64;

/// When the next message is sent.
#[derive(Clone, Copy)]
pub enum Pace {
    /// When fewer than this many are on their way to any member.
    Window(usize),
    /// When this time has gone since the one before, whether anybody has got that or not.
    Every(Duration),
}

/// What one measurement says.
pub struct Sample {
    /// Deliveries a second.
    pub rate: f64,
    /// Microseconds from the send of a message to its arrival at a member: the median.
    pub p50: f64,
    /// Microseconds that 99 of 100 deliveries stay below.
    pub p99: f64,
}

/// All members of a room, on connections of their own. The last one sends, all others receive.
pub struct Room {
    epoll: OwnedFd,
    dialect: Dialect,
    members: Vec<Member>,
    /// Messages that not everybody has, in their order.
    flights: VecDeque<Flight>,
    /// Messages that everybody has: the number of the first one of `flights`.
    landed: u64,
    buffer: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    is_in: bool,
    /// A line of which not all has come.
    begun: Vec<u8>,
    /// The number of the message whose turn it is.
    next: u64,
}

/// A message on its way.
struct Flight {
    text: [u8; MESSAGE],
    sent_at: Instant,
    arrivals: usize,
}

/// Counts the deliveries between two instants, and notes the times of the messages that were sent between them.
struct Tally {
    begin: Instant,
    end: Instant,
    count: u64,
    times: Histogram<u64>,
}

impl Room {
    /// Connects that many members and waits until each is in, in groups of `at_once`: a queue that overflows, and the
    /// second that TCP then waits, is not what is measured here.
    ///
    /// # Errors
    ///
    /// Somebody does not get in.
    pub fn join(addr: SocketAddr, dialect: Dialect, members: usize, at_once: usize) -> io::Result<Room> {
        let mut room = Room {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            dialect,
            members: Vec::new(),
            flights: VecDeque::new(),
            landed: 0,
            buffer: vec![0; 64 * 1024],
        };
        let now = Instant::now();
        let mut nothing = Tally::new(now, now);
        while room.members.len() < members {
            let first = room.members.len();
            for number in first..members.min(first + at_once) {
                room.connect(addr, number)?;
            }
            let deadline = Instant::now() + PATIENCE;
            while !room.members[first..].iter().all(|member| member.is_in) {
                if !room.listen(deadline, &mut nothing)? {
                    return Err(timed_out("somebody did not get into the room"));
                }
            }
        }
        Ok(room)
    }

    fn connect(&mut self, addr: SocketAddr, number: usize) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        let mut member = Member { stream, is_in: false, begun: Vec::new(), next: 0 };
        if self.dialect == Dialect::Irc {
            member.send(format!("NICK m{number}\r\nUSER m{number} 0 * :m\r\n").as_bytes())?;
        }
        self.members.push(member);
        Ok(())
    }

    /// Sends messages at this pace, until the time is over and everybody has each of them.
    ///
    /// # Errors
    ///
    /// A message did not reach a member, or not as it was, or not in its turn.
    pub fn talk(&mut self, pace: Pace, time: Duration) -> io::Result<Sample> {
        let start = Instant::now();
        // What comes first is not measured: threads start, buffers grow.
        let begin = start + time / 5;
        let end = begin + time;
        let mut tally = Tally::new(begin, end);
        let mut due = start;
        loop {
            let now = Instant::now();
            if now >= end {
                if self.flights.is_empty() {
                    return tally.sample(time);
                }
                if !self.listen(end + PATIENCE, &mut tally)? {
                    let late = self.flights.len();
                    return Err(timed_out(&format!("{late} messages did not reach everybody")));
                }
                continue;
            }
            match pace {
                Pace::Window(window) => {
                    while self.flights.len() < window {
                        self.send()?;
                    }
                    self.listen(end, &mut tally)?;
                }
                Pace::Every(pause) => {
                    if now >= due {
                        self.send()?;
                        due += pause;
                    }
                    self.listen(due.min(end), &mut tally)?;
                }
            }
        }
    }

    /// # Errors
    ///
    /// A message comes, though everybody has all of them.
    pub fn hear_nothing(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let deadline = now + SILENCE;
        let mut nothing = Tally::new(now, now);
        while self.listen(deadline, &mut nothing)? {}
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let number = self.landed + self.flights.len() as u64;
        let text = text(number);
        let Some(sender) = self.members.last_mut() else { return Ok(()) };
        let line = match self.dialect {
            Dialect::Plain => [text.as_slice(), b"\n"].concat(),
            Dialect::Irc => [b"PRIVMSG #lobby :", text.as_slice(), b"\r\n"].concat(),
        };
        self.flights.push_back(Flight { text, sent_at: Instant::now(), arrivals: 0 });
        sender.send(&line)
    }

    /// Waits until something comes, and takes what has come. Whether there is time left.
    fn listen(&mut self, deadline: Instant, tally: &mut Tally) -> io::Result<bool> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            self.read(event.data.u64() as usize, tally)?;
        }
        Ok(Instant::now() < deadline)
    }

    /// Takes what has come for a member.
    fn read(&mut self, number: usize, tally: &mut Tally) -> io::Result<()> {
        let member = &mut self.members[number];
        let count = match member.stream.read(&mut self.buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("member {number} was cut"))),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let mut bytes = std::mem::take(&mut member.begun);
        bytes.extend_from_slice(&self.buffer[..count]);
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            match self.dialect {
                Dialect::Plain => self.take_plain(number, line, now, tally)?,
                Dialect::Irc => self.take_irc(number, line, now, tally)?,
            }
            rest = &rest[end + 1..];
        }
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        self.members[number].begun = bytes;
        Ok(())
    }

    /// A line for people: a notice begins with `* `, and the first one is the welcome.
    fn take_plain(&mut self, number: usize, line: &[u8], now: Instant, tally: &mut Tally) -> io::Result<()> {
        if line.starts_with(b"* ") {
            self.members[number].is_in = true;
            return Ok(());
        }
        self.arrive(number, line, now, tally)
    }

    /// A line of IRC: its second word says what it is. Whoever is registered (001) joins the room, and is in it when
    /// the list of its members is complete (366).
    fn take_irc(&mut self, number: usize, line: &[u8], now: Instant, tally: &mut Tally) -> io::Result<()> {
        match line.split(|byte| *byte == b' ').nth(1) {
            Some(b"001") => self.members[number].send(b"JOIN #lobby\r\n"),
            Some(b"366") => {
                self.members[number].is_in = true;
                Ok(())
            }
            Some(b"PRIVMSG") => self.arrive(number, line, now, tally),
            _ => Ok(()),
        }
    }

    /// A message reaches a member. It has to be the one whose turn it is.
    fn arrive(&mut self, number: usize, line: &[u8], now: Instant, tally: &mut Tally) -> io::Result<()> {
        let receivers = self.members.len() - 1;
        let member = &mut self.members[number];
        let flight = (member.next.checked_sub(self.landed)).and_then(|place| self.flights.get_mut(place as usize));
        let Some(flight) = flight.filter(|flight| number < receivers && line.ends_with(&flight.text)) else {
            let (line, next) = (String::from_utf8_lossy(line), member.next);
            let wrong = format!("member {number} waits for message {next} and got {line:?}");
            return Err(io::Error::new(ErrorKind::InvalidData, wrong));
        };
        member.next += 1;
        flight.arrivals += 1;
        tally.note(flight.sent_at, now);
        // The first one has landed before all others, since each member gets them in their order.
        if flight.arrivals == receivers {
            self.flights.pop_front();
            self.landed += 1;
        }
        Ok(())
    }
}

impl Member {
    /// What is on its way is so little that it always fits.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stream.write(bytes)? < bytes.len() {
            return Err(io::Error::other("a message does not fit into the socket"));
        }
        Ok(())
    }
}

/// A message that is different from all others.
fn text(number: u64) -> [u8; MESSAGE] {
    let mut text = *b"---------- is the number of this message, and all of it is text.";
    let digits = format!("{number:010}");
    text[..digits.len()].copy_from_slice(digits.as_bytes());
    text
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

impl Tally {
    fn new(begin: Instant, end: Instant) -> Tally {
        let times = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
        Tally { begin, end, count: 0, times }
    }

    fn note(&mut self, sent: Instant, arrived: Instant) {
        self.count += u64::from(self.begin <= arrived && arrived < self.end);
        if sent >= self.begin {
            self.times.saturating_record((arrived - sent).as_nanos() as u64);
        }
    }

    fn sample(&self, time: Duration) -> io::Result<Sample> {
        if self.count == 0 || self.times.is_empty() {
            return Err(timed_out("nobody got a message in time"));
        }
        let micros = |quantile| self.times.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(Sample { rate: self.count as f64 / time.as_secs_f64(), p50: micros(0.5), p99: micros(0.99) })
    }
}
