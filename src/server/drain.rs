//! The drain: every client gets to finish, until a deadline, and the rest are cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::connections::Connections;
use super::listener::{Listener, is_peer_error};
use super::shared::ServerShared;
use super::{Summary, event_log};
use crate::farewell::FarewellReason;
use crate::shutdown::Shutdown;
use crate::socket::Socket;

/// The thread of a client that was cut gets this long to notice. Then the server stops waiting for it.
const CUT_GRACE: Duration = Duration::from_millis(50);

/// Lets every client finish, until the drain deadline, and cuts the rest.
pub(super) fn drain(listener: Listener, admission: &Admission) -> Summary {
    refuse_backlog(listener, admission);
    wait_for_request(admission);
    let Admission { connections, shared, .. } = admission;
    let (limits, context) = (&shared.limits, &shared.context);
    event_log::draining(connections.connected_at_drain(), limits.drain_timeout);
    let deadline = Instant::now() + limits.drain_timeout;
    wait_for_clients(connections, &context.shutdown, deadline);
    let cut = cut_the_rest(admission);
    let mut stats = context.totals.stats();
    // Clients that are stuck in their handler are not in the totals yet.
    for socket in connections.sockets() {
        stats.bytes_in += socket.bytes_received();
        stats.bytes_out += socket.bytes_accepted();
    }
    Summary {
        drained: connections.connected_at_drain().saturating_sub(cut),
        cut,
        stuck: connections.sockets().len(),
        stats,
        uptime: context.started.elapsed(),
    }
}

/// Lets clients go on after the port was closed, until the last of them has left or a drain is requested. It may have been
/// requested already.
fn wait_for_request(admission: &Admission) {
    let (connections, shutdown) = (&admission.connections, &admission.shared.context.shutdown);
    while connections.active() > 0 && !shutdown.is_requested() {
        shutdown.event().wait(None);
    }
}

/// Refuses clients still in the backlog. Bounded, because more may arrive meanwhile.
fn refuse_backlog(mut listener: Listener, admission: &Admission) {
    for _ in 0..admission.shared.limits.backlog {
        match listener.accept() {
            Ok((stream, peer)) => admission.refuse(Socket::new(stream), peer, FarewellReason::ShuttingDown),
            Err(error) if is_peer_error(&error) => event_log::aborted_before_accept(&error),
            Err(_) => break,
        }
    }
}

/// Waits until no client is left, until the deadline, or until a cut is requested.
///
/// Threads that are busy notice the drain by themselves, before they wait for input. Threads that wait already are woken
/// by the end of their input, each one as soon as all output to its client has left. A handler that keeps reading
/// ([`KeepReading`](crate::KeepReading)) is left alone until the deadline.
fn wait_for_clients(connections: &Connections, shutdown: &Shutdown, deadline: Instant) {
    let mut waiting = connections.sockets();
    waiting.iter().for_each(|socket| socket.wake_for_drain());
    waiting.retain(|socket| socket.waits_for_drain());
    waiting.iter().for_each(|socket| socket.report_when_all_left());
    while connections.active() > 0 && Instant::now() < deadline && !shutdown.is_cut() {
        for socket in Socket::take_all_left(&mut waiting, shutdown.event(), deadline) {
            // Its thread may no longer wait, or keep reading.
            socket.end_input_for_drain();
        }
    }
}

/// Cuts busy clients, and ends the input of idle ones so that they leave; those that don't are cut as well. Returns how many
/// were cut.
fn cut_the_rest(admission: &Admission) -> usize {
    let Admission { connections, shared, .. } = admission;
    let (idle, busy): (Vec<_>, Vec<_>) = connections.sockets().into_iter().partition(|socket| socket.is_idle());
    idle.iter().for_each(|socket| socket.end_input());
    cut(&busy, shared);
    wait_for_the_last(connections, &shared.context.shutdown);
    let late: Vec<_> = connections.sockets().into_iter().filter(|socket| !socket.was_cut()).collect();
    if !late.is_empty() {
        cut(&late, shared);
        wait_for_the_last(connections, &shared.context.shutdown);
    }
    busy.len() + late.len()
}

fn cut(sockets: &[Arc<Socket>], shared: &ServerShared) {
    if !sockets.is_empty() {
        event_log::cutting(sockets.len());
    }
    for socket in sockets {
        socket.cut(&shared.farewell_to(socket, FarewellReason::ShuttingDown));
    }
}

/// Gives the threads of clients that should end now a moment to notice.
fn wait_for_the_last(connections: &Connections, shutdown: &Shutdown) {
    let deadline = Instant::now() + CUT_GRACE;
    while connections.active() > 0 && Instant::now() < deadline {
        shutdown.event().wait(deadline);
    }
}
