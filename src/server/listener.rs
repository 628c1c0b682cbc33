//! The listening sockets: their options, the wait for clients, and what to make of an error of accept.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::bell::{Bell, wait_for};
use crate::connection::canonical;
use crate::limits::Limits;
use crate::socket::{UNSENT_AT_MOST, socket_timeout};

/// Keepalive probes that may stay unanswered.
const PROBES: u32 = 4;

/// One or more listening sockets, since a name may stand for several addresses. None of them ever blocks.
pub(super) struct Listener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    /// Whose turn it is, so that a busy socket does not starve the others.
    turn: usize,
}

impl Listener {
    /// Binds every address that can be bound; those that could not come back with the reason. With port 0, all get the
    /// port that the first was given.
    ///
    /// # Errors
    ///
    /// The first address's, when none could be bound.
    pub(super) fn bind(
        addresses: &[SocketAddr],
        limits: &Limits,
    ) -> io::Result<(Listener, Vec<(SocketAddr, io::Error)>)> {
        let mut listener = Listener { sockets: Vec::new(), addresses: Vec::new(), turn: 0 };
        let mut failed = Vec::new();
        for &address in addresses {
            let mut address = address;
            if let (0, Some(first)) = (address.port(), listener.addresses.first()) {
                address.set_port(first.port());
            }
            match listen(address, addresses.len() == 1, limits).and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((bound, socket)) => {
                    listener.addresses.push(bound);
                    listener.sockets.push(socket);
                }
                Err(error) => failed.push((address, error)),
            }
        }
        if listener.sockets.is_empty() {
            return Err(match failed.into_iter().next() {
                Some((_, error)) => error,
                None => io::Error::new(ErrorKind::InvalidInput, "the name stands for no address"),
            });
        }
        Ok((listener, failed))
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

/// A socket that listens. What clients' sockets are to have is set here once, and inherited by each of them.
fn listen(address: SocketAddr, alone: bool, limits: &Limits) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server gets its port back although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Alone, `[::]` serves both families; beside an IPv4 address it must leave that to it.
        socket.set_only_v6(!alone)?;
    }
    set_options(&socket, limits)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits.backlog.into())?;
    Ok(socket.into())
}

/// What accepted sockets inherit, which saves them the system calls.
fn set_options(socket: &Socket, limits: &Limits) -> io::Result<()> {
    socket.set_read_timeout(limits.idle_timeout.map(socket_timeout))?;
    // A sender is woken in time to see that its client reads, and the kernel holds little for one that does not.
    socket.set_tcp_notsent_lowat(UNSENT_AT_MOST)?;
    // Urgent data stay in the stream (RFC 6093): telnet sends the Data Mark of its Synch that way.
    socket.set_out_of_band_inline(true)?;
    // Replies leave in whole batches, so there is nothing to gain from waiting for more (Nagle).
    socket.set_tcp_nodelay(true)?;
    // A vanished peer: quiet for half of the time, then probed in the other half. Probes are sent only when nothing
    // waits to be acknowledged; else the user timeout ends it, which TCP's own patience would do after a quarter of
    // an hour.
    socket.set_tcp_user_timeout(Some(limits.keepalive))?;
    let quiet = (limits.keepalive / 2).max(Duration::from_secs(1));
    let interval = (limits.keepalive.saturating_sub(quiet) / PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(quiet).with_interval(interval).with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Whether an error of accept is about the one client that it would have been, so that the next may be accepted at
/// once. Others that Linux hands over from the new socket (accept(2), "Error handling"), like a network that is down
/// or a filter that forbids, may well be there the next time, so they are waited out.
pub(super) fn is_peers_fault(error: &io::Error) -> bool {
    use rustix::io::Errno;
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

    #[test]
    fn accepted_sockets_inherit_the_options_and_block() {
        let (mut listener, _) = Listener::bind(&["127.0.0.1:0".parse().unwrap()], &Limits::default()).unwrap();
        let _client = TcpStream::connect(listener.local_addrs()[0]).unwrap();
        listener.wait(&Bell::new().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
        assert!(!socket.nonblocking().unwrap());
        assert_eq!(socket.read_timeout().unwrap(), Limits::default().idle_timeout);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_AT_MOST);
        assert!(socket.out_of_band_inline().unwrap());
    }
}
