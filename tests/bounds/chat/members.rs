//! Members of a chat as sockets: how they come, and one thread that listens for all of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use socket2::{Domain, SockRef, Socket, Type};

use crate::crowds::source;
use crate::support::{Client, PATIENCE};

/// What the kernel may keep for a member who is not meant to read; it takes twice as much.
const SMALL: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Plain,
    Irc,
}

/// Whether the kernel reads on when the member does not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As much as the system likes.
    Usual,
    /// Next to nothing.
    Small,
}

/// Connects as the `n`th client, without a word.
pub fn connect(n: u32, addr: SocketAddr, room: Room) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if room == Room::Small {
        socket.set_recv_buffer_size(SMALL).unwrap();
    }
    socket.bind(&source(n).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    Client::of(socket.into())
}

/// Says what makes a member of the lobby of a client, at once: the first line decides about the dialect.
pub fn introduce(client: &mut Client, n: u32, dialect: Dialect) {
    match dialect {
        Dialect::Plain => client.send("/me\n"),
        Dialect::Irc => client.send(format!("NICK i{n}\r\nUSER i{n} 0 * :{n}\r\nJOIN #lobby\r\n")),
    }
}

/// What the answer to [`introduce`] ends with.
pub fn is_introduced(line: &[u8]) -> bool {
    line == b"* what do you do? /me waves" || line.ends_with(b" #lobby :End of NAMES list")
}

/// A member who is there, and has read all that the coming says.
pub fn enter(n: u32, addr: SocketAddr, dialect: Dialect, room: Room) -> Client {
    let mut client = connect(n, addr, room);
    introduce(&mut client, n, dialect);
    while !is_introduced(client.line().as_bytes()) {}
    client
}

/// The same for somebody called `p` and this number, which all others are told.
pub fn enter_by_name(n: u32, addr: SocketAddr, room: Room) -> Client {
    let mut client = enter(n, addr, Dialect::Plain, room);
    client.send(format!("/name p{n}\n"));
    while client.line() != format!("* you are now p{n}") {}
    client
}

/// Who had little room reads on at a usual pace.
pub fn listen_again(client: &Client) {
    SockRef::from(&client.stream).set_recv_buffer_size(1 << 20).unwrap();
}

/// Members who all listen.
pub struct Listeners {
    epoll: OwnedFd,
    members: Vec<Member>,
}

struct Member {
    stream: TcpStream,
    unread: Vec<u8>,
    has_ended: bool,
}

impl Listeners {
    /// Members `numbers`, all there.
    pub fn enter(numbers: std::ops::Range<u32>, addr: SocketAddr, dialect: fn(u32) -> Dialect) -> Listeners {
        let clients = numbers.map(|n| {
            let mut client = connect(n, addr, Room::Usual);
            introduce(&mut client, n, dialect(n));
            client
        });
        let mut listeners = Listeners::of(clients.collect());
        let mut missing = listeners.members.len();
        listeners.listen(|_, line| {
            missing -= usize::from(is_introduced(line));
            if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        listeners
    }

    pub fn of(clients: Vec<Client>) -> Listeners {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let member = |(place, client): (usize, Client)| {
            client.stream.set_nonblocking(true).unwrap();
            let data = epoll::EventData::new_u64(place as u64);
            epoll::add(&epoll, &client.stream, data, epoll::EventFlags::IN).unwrap();
            Member { stream: client.stream, unread: Vec::new(), has_ended: false }
        };
        let members = clients.into_iter().enumerate().map(member).collect();
        Listeners { epoll, members }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Hands over each line of each member, without its end, until somebody is satisfied; at the end of a connection
    /// what is left of a line, which is mostly nothing.
    pub fn listen(&mut self, mut hear: impl FnMut(usize, &[u8]) -> ControlFlow<()>) {
        let start = Instant::now();
        let mut events = Vec::with_capacity(256);
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            assert!(start.elapsed() < PATIENCE, "members wait in vain for what they should hear");
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&second)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("{error}"),
            }
            let mut flow = ControlFlow::Continue(());
            for event in &events {
                let place = event.data.u64() as usize;
                let member = &mut self.members[place];
                if !member.receive() {
                    epoll::delete(&self.epoll, &member.stream).unwrap();
                }
                // All that was received is handed over before this returns.
                for line in member.lines() {
                    if hear(place, &line).is_break() {
                        flow = ControlFlow::Break(());
                    }
                }
            }
            if flow.is_break() {
                return;
            }
        }
    }
}

impl Member {
    /// What has arrived. `false`: nothing more will.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => {
                self.unread.extend_from_slice(format!("{error}").as_bytes());
                self.has_ended = true;
            }
        }
        !self.has_ended
    }

    fn lines(&mut self) -> Vec<Vec<u8>> {
        let whole = match self.unread.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => self.unread.drain(..=last).collect(),
            None => Vec::new(),
        };
        let without_end = |line: &[u8]| line.trim_ascii_end().to_vec();
        let mut lines: Vec<Vec<u8>> = whole.split_inclusive(|&byte| byte == b'\n').map(without_end).collect();
        if self.has_ended {
            lines.push(std::mem::take(&mut self.unread));
        }
        lines
    }
}

/// Sends for as long as it is let, up to `limit` bytes; how many went.
pub fn send_until_stopped(client: &Client, chunk: &[u8], limit: usize) -> usize {
    let mut sent = 0;
    while sent < limit && (&client.stream).write_all(chunk).is_ok() {
        sent += chunk.len();
    }
    sent
}
