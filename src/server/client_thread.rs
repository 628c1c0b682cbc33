//! How a thread serves its client, from the first byte to the farewell.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::admission::Admitted;
use super::event::Event;
use super::shared::ServerShared;
use crate::connection::Connection;

/// Serves a client to its end, whatever its handler does.
pub(super) fn serve_client(client: Admitted, shared: Arc<ServerShared>) {
    let Admitted { id, peer, socket, slot, guard } = client;
    shared.context.totals.served.add(1);
    shared.events.publish(&Event::Opened { id, peer_addr: peer });
    let (limits, context) = (Arc::clone(&shared.limits), Arc::clone(&shared.context));
    let mut connection = Connection::new(id, peer, Arc::clone(&socket), limits, context);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| shared.handler.handle(&mut connection)));
    let (closed, lingering) = connection.finish(outcome, |reason| shared.farewell_to(&socket, reason));
    // The slot is free before the peer sees the end, so that the peer can come back at once.
    drop((socket, slot));
    closed.count(&shared.context.totals);
    shared.events.publish(&Event::Closed(&closed));
    if let Some(socket) = lingering {
        shared.linger.close(socket);
    }
    // Before the guard: the handler must not outlive `Server::run`, which returns once all guards are released.
    drop(shared);
    // Last, because the drain waits for it.
    drop(guard);
}
