//! The options of listening sockets, which accepted ones inherit; that saves each client the system calls.
//!
//! Kernels differ in what they know (gVisor, WSL, old ones). The server does without what it can do without.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::Socket;

use super::super::event_log;
use crate::limits::Limits;
use crate::socket::{MAX_UNSENT, socket_timeout};

/// Keepalive probes that may stay unanswered.
pub(super) const PROBES: u32 = 4;

/// An option that the kernel does not take.
#[derive(Debug)]
pub(super) struct Unsupported {
    option: &'static str,
    /// What is missing without it.
    lost: &'static str,
    error: io::Error,
}

impl Unsupported {
    pub(super) fn warn(&self) {
        event_log::unsupported(self.option, self.lost, &self.error);
    }
}

/// Sets all options. `only_v6` is for IPv6 sockets. What the kernel does not take and is not needed is added to
/// `unsupported`, once for all sockets.
///
/// # Errors
///
/// An option is refused for another reason, or deadlines rest on it. The message names it.
pub(super) fn set(
    socket: &Socket,
    only_v6: Option<bool>,
    limits: &Limits,
    unsupported: &mut Vec<Unsupported>,
) -> io::Result<()> {
    needed("SO_RCVTIMEO", socket.set_read_timeout(limits.idle_timeout.map(socket_timeout)))?;

    // A vanished peer: quiet for half of the time, then probed in the other half. Probes are sent only when nothing
    // waits to be acknowledged; else the user timeout ends it, which TCP's own patience would do after a quarter of
    // an hour.
    let quiet = (limits.keepalive / 2).max(Duration::from_secs(1));
    let interval = (limits.keepalive.saturating_sub(quiet) / PROBES).max(Duration::from_secs(1));
    let user_timeout = u32::try_from(limits.keepalive.as_millis()).unwrap_or(u32::MAX);
    let vanished = "a peer that has vanished may be found out late";
    let mut wanted = |option, lost, outcome| optional(option, lost, outcome, unsupported);

    // A restarted server gets its port back although old connections linger in TIME_WAIT.
    wanted("SO_REUSEADDR", "a restart may have to wait for a minute", socket.set_reuse_address(true))?;
    if let Some(only_v6) = only_v6 {
        // Alone, `[::]` serves both families; beside an IPv4 address it must leave that to it.
        wanted("IPV6_V6ONLY", "IPv4 clients may not be served", socket.set_only_v6(only_v6))?;
    }
    // Replies leave in whole batches, so there is nothing to gain from waiting for more (Nagle).
    wanted("TCP_NODELAY", "replies may be late", socket.set_tcp_nodelay(true))?;
    // A sender is woken in time to see that its client reads, and the kernel holds little for one that does not.
    let unbounded = "the kernel may hold megabytes for a client, and one that reads slowly may be cut";
    wanted("TCP_NOTSENT_LOWAT", unbounded, socket.set_tcp_notsent_lowat(MAX_UNSENT))?;
    // Urgent data stay in the stream (RFC 6093): telnet sends the Data Mark of its Synch that way.
    wanted("SO_OOBINLINE", "urgent data are lost, as telnet's Synch sends them", socket.set_out_of_band_inline(true))?;
    wanted("TCP_USER_TIMEOUT", vanished, sockopt::set_tcp_user_timeout(socket, user_timeout).map_err(Into::into))?;
    wanted("TCP_KEEPIDLE", vanished, sockopt::set_tcp_keepidle(socket, quiet).map_err(Into::into))?;
    wanted("TCP_KEEPINTVL", vanished, sockopt::set_tcp_keepintvl(socket, interval).map_err(Into::into))?;
    wanted("TCP_KEEPCNT", vanished, sockopt::set_tcp_keepcnt(socket, PROBES).map_err(Into::into))?;
    wanted("SO_KEEPALIVE", "a peer that has vanished may stay until it is idle too long", socket.set_keepalive(true))
}

/// The outcome of setting an option that the server can't do without.
fn needed(option: &str, outcome: io::Result<()>) -> io::Result<()> {
    outcome.map_err(|error| io::Error::new(error.kind(), format!("the socket option {option} is refused: {error}")))
}

/// The outcome of setting an option that the server can do without.
fn optional(
    option: &'static str,
    lost: &'static str,
    outcome: io::Result<()>,
    unsupported: &mut Vec<Unsupported>,
) -> io::Result<()> {
    match outcome {
        Err(error) if is_unknown(&error) => {
            if !unsupported.iter().any(|other| other.option == option) {
                unsupported.push(Unsupported { option, lost, error });
            }
            Ok(())
        }
        outcome => needed(option, outcome),
    }
}

/// What a kernel says that does not know an option (ENOPROTOOPT, as it should), or knows it in part.
fn is_unknown(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOPROTOOPT | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_noted_once_and_any_other_error_names_the_option() {
        let mut unsupported = Vec::new();
        for _ in 0..2 {
            for errno in [Errno::NOPROTOOPT, Errno::OPNOTSUPP, Errno::INVAL] {
                optional("TCP_X", "y is lost", Err(errno.into()), &mut unsupported).unwrap();
            }
        }
        assert_eq!(unsupported.len(), 1);
        let error = optional("TCP_X", "y is lost", Err(Errno::NOBUFS.into()), &mut unsupported).unwrap_err();
        assert!(error.to_string().contains("TCP_X"), "{error}");
        let error = needed("SO_RCVTIMEO", Err(Errno::NOPROTOOPT.into())).unwrap_err();
        assert!(error.to_string().contains("SO_RCVTIMEO"), "{error}");
    }
}
