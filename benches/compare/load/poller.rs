//! The epoll of a measurement, and the sockets that it watches.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData};
use socket2::{Domain, Socket, Type};

pub use rustix::event::epoll::EventFlags;

/// A peer that takes longer to respond has failed.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Creates sockets for one peer, and waits until some of them are ready. Each socket has the number of its client.
pub struct Poller {
    epoll: OwnedFd,
    peer: SocketAddr,
}

impl Poller {
    pub fn new(peer: SocketAddr) -> io::Result<Poller> {
        Ok(Poller { epoll: epoll::create(CreateFlags::CLOEXEC)?, peer })
    }

    /// An unconnected socket. Every thousand sockets have a source address of their own, so that ports do not run out.
    pub fn socket(&self) -> io::Result<Socket> {
        static SOCKETS: AtomicU32 = AtomicU32::new(0);
        let [_, _, high, low] = (SOCKETS.fetch_add(1, Ordering::Relaxed) / 1000).to_be_bytes();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 10, high, low], 0)).into())?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket)
    }

    /// A connected, blocking stream.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let socket = self.socket()?;
        socket.connect_timeout(&self.peer.into(), TIMEOUT)?;
        Ok(socket.into())
    }

    /// Begins to connect a non-blocking socket.
    pub fn start_connect(&self, socket: &Socket) {
        // The expected error says that the connect is in progress. Any other one shows at the first write.
        let _ = socket.connect(&self.peer.into());
    }

    pub fn add(&self, socket: impl AsFd, number: usize, interest: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number as u64), interest)?)
    }

    pub fn modify(&self, socket: impl AsFd, number: usize, interest: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(number as u64), interest)?)
    }

    pub fn delete(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// The numbers of the sockets that are ready; none if the deadline passes first or a signal interrupts the wait.
    pub fn wait(&self, deadline: Instant) -> io::Result<Vec<usize>> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().map(|event| event.data.u64() as usize).collect())
    }
}
