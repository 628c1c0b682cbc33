//! The listening sockets: binding, waiting for clients, and the kinds of accept errors.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::event_log;
use crate::connection::canonical;
use crate::event_fd::{EventFd, wait_for};
use crate::limits::Limits;

mod options;

use options::Unsupported;

/// How many ports are tried when one has to be free on several addresses.
const MAX_PORTS_TRIED: u32 = 16;

/// One or more listening sockets, because a name may stand for several addresses. None of them blocks.
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    /// Present for a socket that listened before. A client that had connected by then has inherited none of our options.
    options_to_set: Option<Limits>,
    /// The socket to accept from next, so that a busy one does not starve the others.
    turn: usize,
}

impl Listener {
    /// Binds all addresses except those that this machine lacks. With port 0, all of them get the same port.
    ///
    /// # Errors
    ///
    /// An address is in use, or can't be bound for another reason; or this machine has none of them.
    pub(crate) fn bind(addresses: &[SocketAddr], limits: &Limits) -> io::Result<Listener> {
        let is_any_port = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
        let mut tries = if is_any_port { MAX_PORTS_TRIED } else { 1 };
        loop {
            tries -= 1;
            match Listener::bind_once(addresses, limits) {
                // The port is free on the first address and in use on another. The kernel chose it, so try again.
                Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    fn bind_once(addresses: &[SocketAddr], limits: &Limits) -> io::Result<Listener> {
        let mut listener = Listener { sockets: Vec::new(), addresses: Vec::new(), options_to_set: None, turn: 0 };
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
        listener.addresses.iter().for_each(|address| event_log::bound(*address, None));
        lacking.iter().for_each(|(address, error)| event_log::bound(*address, Some(error)));
        unsupported.iter().for_each(Unsupported::warn);
        Ok(listener)
    }

    /// Takes over a socket that listens.
    ///
    /// # Errors
    ///
    /// It is not a TCP socket that can listen, or refuses an option.
    pub(super) fn from_std(listener: TcpListener, limits: &Limits) -> io::Result<Listener> {
        let address = listener.local_addr()?;
        let socket = Socket::from(listener);
        let mut unsupported = Vec::new();
        options::set(&socket, None, limits, &mut unsupported)?;
        socket.set_nonblocking(true)?;
        socket.listen(limits.backlog.into())?;
        unsupported.iter().for_each(Unsupported::warn);
        event_log::bound(address, None);
        let options_to_set = Some(limits.clone());
        Ok(Listener { sockets: vec![socket.into()], addresses: vec![address], options_to_set, turn: 0 })
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The next client, with its socket options set and its address in canonical form. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when no client waits. [`is_peer_error`] tells the two kinds of other errors apart.
    pub(crate) fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut would_block = ErrorKind::WouldBlock.into();
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let Some(socket) = self.sockets.get(self.turn) else { break };
            match socket.accept() {
                // On Linux the stream has inherited the listener's options, and is in blocking mode.
                Ok((stream, peer)) => {
                    if let Some(limits) = &self.options_to_set {
                        options::set(&SockRef::from(&stream), None, limits, &mut Vec::new())?;
                    }
                    return Ok((stream, canonical(peer)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => would_block = error,
                Err(error) => return Err(error),
            }
        }
        Err(would_block)
    }

    /// Waits without a limit until a client connects or the event is notified.
    ///
    /// # Errors
    ///
    /// The kernel is out of memory.
    pub(crate) fn wait(&self, event: &EventFd) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        fds.push(PollFd::new(event, PollFlags::IN));
        wait_for(&mut fds, None).map(|_| ())
    }
}

/// The first of the addresses of a listener, which always has one.
pub(super) fn first_of(addresses: &[SocketAddr]) -> SocketAddr {
    addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

/// Whether an error of bind means that this machine does not have the address, for example an IPv6 address on a machine
/// without IPv6.
fn is_lacking(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

/// A listening socket. Clients' sockets inherit the options that are set here.
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

/// Whether an error of accept concerns only the client that was to be accepted, so that the next one can be accepted at
/// once. Linux also passes other errors of the new socket on (accept(2), "Error handling"), such as a network that is down
/// or a firewall rule. Those may occur again at once, so the accept loop pauses for them.
pub(super) fn is_peer_error(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, Errno::INTR | Errno::CONNABORTED | Errno::CONNRESET | Errno::PROTO))
}

/// The pauses after errors of accept that are not the peer's: no descriptors, memory or threads. A pause doubles from
/// `FIRST` to `LONGEST`. So the processor stays idle, and the server notices within a second when the trouble is over.
#[derive(Default)]
pub(super) struct Backoff {
    length: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(500);

    /// Pauses. Returns early when the event is notified.
    pub(super) fn pause(&mut self, event: &EventFd) {
        self.length = (self.length * 2).clamp(Backoff::FIRST, Backoff::LONGEST);
        event.wait(Instant::now() + self.length);
    }

    /// Accepting works again: the next pause is the first.
    pub(super) fn recover(&mut self) {
        self.length = Duration::ZERO;
    }
}

/// Whether clients' sockets really inherit what they should.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::MAX_UNSENT;

    #[test]
    fn accepted_sockets_inherit_the_options_and_block() {
        let mut listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &Limits::default()).unwrap();
        let _client = TcpStream::connect(listener.local_addrs()[0]).unwrap();
        assert_has_options(&mut listener);
    }

    #[test]
    fn a_client_that_connected_before_its_listener_was_taken_over_has_the_options_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_has_options(&mut Listener::from_std(listener, &Limits::default()).unwrap());
    }

    fn assert_has_options(listener: &mut Listener) {
        listener.wait(&EventFd::new().unwrap()).unwrap();
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
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), MAX_UNSENT);
        assert!(socket.out_of_band_inline().unwrap());
    }
}
