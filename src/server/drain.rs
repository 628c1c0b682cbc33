//! The drain: every client gets to finish, until a deadline, and the rest are cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::admission::Admission;
use super::connections::Connections;
use super::listener::{Listener, is_peer_error};
use super::{Summary, event_log};
use crate::event_fd::wait_for;
use crate::farewell::Farewell;
use crate::shutdown::Shutdown;
use crate::socket::Socket;

/// The thread of a client that was cut gets this long to notice. Then the server stops waiting for it.
const CUT_GRACE: Duration = Duration::from_millis(50);

/// Lets every client finish, until the drain deadline, and cuts the rest.
pub(super) fn drain(listener: Listener, admission: &Admission) -> Summary {
    let listener = if admission.service.context.shutdown.is_requested() {
        Some(listener)
    } else {
        refuse_backlog(listener, admission);
        wait_for_request(admission);
        None
    };
    let Admission { connections, service, .. } = admission;
    let (limits, context) = (&service.limits, &service.context);
    event_log::draining(connections.connected_at_drain(), limits.drain_timeout);
    let deadline = Instant::now() + limits.drain_timeout;
    if let Some(listener) = listener {
        refuse_backlog(listener, admission);
    }
    wait_for_clients(connections, &context.shutdown, deadline);
    let cut = cut_the_rest(admission);
    let mut stats = context.totals.stats();
    // Clients that are stuck in their handler are not in the totals yet.
    for socket in connections.sockets() {
        stats.bytes_in += socket.received();
        stats.bytes_out += socket.sent();
    }
    Summary {
        drained: connections.connected_at_drain().saturating_sub(cut),
        cut,
        stuck: connections.active(),
        stats,
        uptime: context.started.elapsed(),
    }
}

/// Lets clients go on after the port was closed, until a drain is requested or the last of them has left.
fn wait_for_request(admission: &Admission) {
    let (connections, shutdown) = (&admission.connections, &admission.service.context.shutdown);
    while connections.active() > 0 && !shutdown.is_requested() {
        // After an error the loop looks again.
        if wait_for(&mut [PollFd::new(shutdown.event(), PollFlags::IN)], None).is_ok() {
            shutdown.event().clear();
        }
    }
}

/// Refuses clients still in the backlog. Bounded, because more may arrive meanwhile.
fn refuse_backlog(mut listener: Listener, admission: &Admission) {
    for _ in 0..admission.service.limits.backlog {
        match listener.accept() {
            Ok((stream, peer)) => admission.refuse(Socket::new(stream), peer, Farewell::ShuttingDown),
            Err(error) if is_peer_error(&error) => event_log::aborted_before_accept(&error),
            Err(_) => break,
        }
    }
}

/// Waits until no client is left, until the deadline, or until a cut is requested.
///
/// Threads that are busy notice the drain by themselves, before they wait for input. Threads that wait already are woken
/// by the end of their input, each one as soon as all output to its client has left. A client that keeps reading
/// ([`KeepReading`](crate::KeepReading)) is left to it.
fn wait_for_clients(connections: &Connections, shutdown: &Shutdown, deadline: Instant) {
    let mut waiting = connections.sockets();
    waiting.iter().for_each(|socket| socket.wake_for_drain());
    waiting.retain(|socket| socket.waits_for_drain());
    waiting.iter().for_each(|socket| socket.report_when_sent());
    while connections.active() > 0 && Instant::now() < deadline && !shutdown.is_cut() {
        for socket in all_left(&mut waiting, shutdown, deadline) {
            // Its thread may no longer wait, or keep reading.
            socket.end_input_for_drain();
        }
    }
}

/// Waits for a change, and takes the sockets out of `waiting` whose output has all left.
fn all_left(waiting: &mut Vec<Arc<Socket>>, shutdown: &Shutdown, deadline: Instant) -> Vec<Arc<Socket>> {
    let mut fds: Vec<PollFd<'_>> = waiting.iter().map(|socket| PollFd::new(&**socket, PollFlags::OUT)).collect();
    fds.push(PollFd::new(shutdown.event(), PollFlags::IN));
    // After an error the loop looks again, until the deadline.
    let _ = wait_for(&mut fds, Some(deadline));
    let mut is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    if is_ready.pop() == Some(true) {
        shutdown.event().clear();
    }
    let (left, waiting_still): (Vec<_>, Vec<_>) = waiting.drain(..).zip(is_ready).partition(|(_, is_ready)| *is_ready);
    waiting.extend(waiting_still.into_iter().map(|(socket, _)| socket));
    left.into_iter().map(|(socket, _)| socket).collect()
}

/// Cuts busy clients, and ends the input of idle ones so that they leave. Returns how many were cut.
fn cut_the_rest(admission: &Admission) -> usize {
    let Admission { connections, service, .. } = admission;
    let (idle, busy): (Vec<_>, Vec<_>) = connections.sockets().into_iter().partition(|socket| socket.is_idle());
    idle.iter().for_each(|socket| socket.end_input());
    if !busy.is_empty() {
        event_log::cutting(busy.len());
        for socket in &busy {
            socket.cut(&service.farewell_to(socket, Farewell::ShuttingDown));
        }
    }
    let deadline = Instant::now() + CUT_GRACE;
    while connections.active() > 0 && Instant::now() < deadline {
        service.context.shutdown.event().wait(deadline);
    }
    busy.len()
}
