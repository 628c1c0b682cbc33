//! The listening sockets: their options, the wait for clients, and what to make of an error of accept.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::events;
use crate::bell::{Bell, wait_for};
use crate::connection::canonical;
use crate::limits::Limits;

mod options;

use options::Unsupported;

/// So many ports are tried when a free one has to be free on several addresses.
const PORTS_TRIED: u32 = 16;

/// One or more listening sockets, since a name may stand for several addresses. None of them ever blocks.
pub(super) struct Listener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    /// Whose turn it is, so that a busy socket does not starve the others.
    turn: usize,
}

impl Listener {
    /// Binds all of these addresses, but for those that this machine lacks. With port 0, all get the same port.
    ///
    /// # Errors
    ///
    /// An address is in use, or can't be bound for another reason; or this machine has none of them.
    pub(super) fn bind(addresses: &[SocketAddr], limits: &Limits) -> io::Result<Listener> {
        let is_any_port = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
        let mut tries = if is_any_port { PORTS_TRIED } else { 1 };
        loop {
            tries -= 1;
            match Listener::bind_once(addresses, limits) {
                // Nobody has chosen the port that is free on the first address and not on another.
                Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    fn bind_once(addresses: &[SocketAddr], limits: &Limits) -> io::Result<Listener> {
        let mut listener = Listener { sockets: Vec::new(), addresses: Vec::new(), turn: 0 };
        let mut lacking = Vec::new();
        let mut unsupported = Vec::new();
        for &address in addresses {
            let mut address = address;
            if let (0, Some(first)) = (address.port(), listener.addresses.first()) {
                address.set_port(first.port());
            }
            match listen(address, addresses.len() == 1, limits, &mut unsupported) {
                Ok(socket) => {
                    listener.addresses.push(socket.local_addr()?);
                    listener.sockets.push(socket);
                }
                Err(error) if is_lacking(&error) => lacking.push((address, error)),
                Err(error) if addresses.len() == 1 => return Err(error),
                Err(error) => return Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
            }
        }
        if listener.sockets.is_empty() {
            let none = || io::Error::new(ErrorKind::InvalidInput, "the name stands for no address");
            return Err(lacking.into_iter().next().map_or_else(none, |(_, error)| error));
        }
        listener.addresses.iter().for_each(|address| events::bound(*address, None));
        lacking.iter().for_each(|(address, error)| events::bound(*address, Some(error)));
        unsupported.iter().for_each(Unsupported::warn);
        Ok(listener)
    }

    pub(super) fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The next client, with its own options set and its address as people know it. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nobody is there, and those that [`is_peers_fault`] and the caller's back-off are for.
    pub(super) fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut nobody = ErrorKind::WouldBlock.into();
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let Some(socket) = self.sockets.get(self.turn) else { break };
            match socket.accept() {
                // On Linux it has inherited the listener's options, and is in blocking mode.
                Ok((stream, peer)) => return Ok((stream, canonical(peer))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => nobody = error,
                Err(error) => return Err(error),
            }
        }
        Err(nobody)
    }

    /// Waits, for ever if need be, until somebody connects or the bell is rung.
    ///
    /// # Errors
    ///
    /// The kernel is out of memory.
    pub(super) fn wait(&self, bell: &Bell) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        fds.push(PollFd::new(bell, PollFlags::IN));
        wait_for(&mut fds, None).map(|_| ())
    }
}

/// Whether an error of bind means that this machine does not have such an address, as of a name that stands for an IPv6
/// address where there is no IPv6.
fn is_lacking(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

/// A socket that listens. What clients' sockets are to have is set here once, and inherited by each of them.
fn listen(
    address: SocketAddr,
    alone: bool,
    limits: &Limits,
    unsupported: &mut Vec<Unsupported>,
) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    options::set(&socket, address.is_ipv6().then_some(!alone), limits, unsupported)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits.backlog.into())?;
    Ok(socket.into())
}

/// Whether an error of accept is about the one client that it would have been, so that the next may be accepted at
/// once. Others that Linux hands over from the new socket (accept(2), "Error handling"), like a network that is down
/// or a filter that forbids, may well be there the next time, so they are waited out.
pub(super) fn is_peers_fault(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, Errno::INTR | Errno::CONNABORTED | Errno::CONNRESET | Errno::PROTO))
}

/// The pauses after errors of accept that are not the peer's: out of descriptors, memory or threads. It doubles from
/// `FIRST` to `LONGEST`: the processor stays idle, and a recovery is noticed within a second.
#[derive(Default)]
pub(super) struct Backoff {
    pause: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(500);

    /// Pauses, until the bell is rung at the latest.
    pub(super) fn pause(&mut self, bell: &Bell) {
        self.pause = (self.pause * 2).clamp(Backoff::FIRST, Backoff::LONGEST);
        bell.wait(Instant::now() + self.pause);
    }

    /// Accepting works: the next trouble is a new episode.
    pub(super) fn recover(&mut self) {
        self.pause = Duration::ZERO;
    }
}

/// Whether clients' sockets really inherit what they should.
#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;
    use crate::socket::UNSENT_AT_MOST;

    #[test]
    fn accepted_sockets_inherit_the_options_and_block() {
        let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &Limits::default()).unwrap();
        let _client = TcpStream::connect(listener.local_addrs()[0]).unwrap();
        listener.wait(&Bell::new().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), options::PROBES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
        assert!(!socket.nonblocking().unwrap());
        assert_eq!(socket.read_timeout().unwrap(), Limits::default().idle_timeout);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_AT_MOST);
        assert!(socket.out_of_band_inline().unwrap());
    }
}
