//! Members of a chat as sockets: how they join, and how one thread reads for all of them.

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

/// The receive buffer of a member who is not meant to read. The kernel doubles it.
const SMALL_BUFFER: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ChatDialect {
    Plain,
    Irc,
}

/// How much the kernel buffers for a member who does not read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReceiveBuffer {
    /// The system's default.
    Default,
    /// Almost nothing.
    Small,
}

/// Connects as the `n`th client, and sends nothing.
pub fn connect(n: u32, addr: SocketAddr, buffer: ReceiveBuffer) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if buffer == ReceiveBuffer::Small {
        socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
    }
    socket.bind(&source(n).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    Client::from_stream(socket.into())
}

/// Sends what makes a client a member of the lobby at once, because the first line decides the dialect.
pub fn request_to_join(client: &mut Client, n: u32, dialect: ChatDialect) {
    match dialect {
        ChatDialect::Plain => client.send("/me\n"),
        ChatDialect::Irc => client.send(format!("NICK i{n}\r\nUSER i{n} 0 * :{n}\r\nJOIN #lobby\r\n")),
    }
}

/// Whether a line is the last one of the reply to [`request_to_join`].
pub fn has_joined(line: &[u8]) -> bool {
    line == b"* what do you do? /me waves" || line.ends_with(b" #lobby :End of NAMES list")
}

/// A member of the lobby who has read the replies to joining.
pub fn join(n: u32, addr: SocketAddr, dialect: ChatDialect, buffer: ReceiveBuffer) -> Client {
    let mut client = connect(n, addr, buffer);
    request_to_join(&mut client, n, dialect);
    while !has_joined(client.line().as_bytes()) {}
    client
}

/// The same, with the name `p` and this number, which is announced to the others.
pub fn join_with_name(n: u32, addr: SocketAddr, buffer: ReceiveBuffer) -> Client {
    let mut client = join(n, addr, ChatDialect::Plain, buffer);
    client.send(format!("/name p{n}\n"));
    while client.line() != format!("* you are now p{n}") {}
    client
}

/// Enlarges the receive buffer of a member that had a small one, so that it can read at full speed.
pub fn resume_reading(client: &Client) {
    SockRef::from(&client.stream).set_recv_buffer_size(1 << 20).unwrap();
}

/// Members who all read.
pub struct Readers {
    epoll: OwnedFd,
    members: Vec<Reader>,
}

struct Reader {
    stream: TcpStream,
    unread: Vec<u8>,
    has_ended: bool,
}

impl Readers {
    /// Makes the clients with these numbers join.
    pub fn join(numbers: std::ops::Range<u32>, addr: SocketAddr, dialect: fn(u32) -> ChatDialect) -> Readers {
        let clients = numbers.map(|n| {
            let mut client = connect(n, addr, ReceiveBuffer::Default);
            request_to_join(&mut client, n, dialect(n));
            client
        });
        let mut readers = Readers::new(clients.collect());
        let mut missing = readers.members.len();
        readers.read_lines(|_, line| {
            missing -= usize::from(has_joined(line));
            if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        readers
    }

    pub fn new(clients: Vec<Client>) -> Readers {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let member = |(place, client): (usize, Client)| {
            client.stream.set_nonblocking(true).unwrap();
            let data = epoll::EventData::new_u64(place as u64);
            epoll::add(&epoll, &client.stream, data, epoll::EventFlags::IN).unwrap();
            Reader { stream: client.stream, unread: Vec::new(), has_ended: false }
        };
        let members = clients.into_iter().enumerate().map(member).collect();
        Readers { epoll, members }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Calls `on_line` for each line of each member, without its end, until it breaks. At the end of a connection it gets the
    /// rest of the last line, which usually is empty.
    pub fn read_lines(&mut self, mut on_line: impl FnMut(usize, &[u8]) -> ControlFlow<()>) {
        let start = Instant::now();
        let mut events = Vec::with_capacity(256);
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            assert!(start.elapsed() < PATIENCE, "members did not receive everything in time");
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
                // Passes on all received lines before it returns.
                for line in member.lines() {
                    if on_line(place, &line).is_break() {
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

impl Reader {
    /// Reads what has arrived. Returns `false` at the end of the connection.
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

/// Sends until the server stops reading, or `limit` bytes are sent. Returns how many were sent.
pub fn send_until_blocked(client: &Client, chunk: &[u8], limit: usize) -> usize {
    let mut sent = 0;
    while sent < limit && (&client.stream).write_all(chunk).is_ok() {
        sent += chunk.len();
    }
    sent
}
