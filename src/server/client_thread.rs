//! How a thread serves its client, from the first byte to the farewell.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::admission::Admitted;
use super::event::Event;
use super::farewells::farewell_to;
use super::shared::ServerShared;
use crate::connection::{ClosedConnection, Connection};
use crate::handler::Handler;
use crate::socket::Socket;

/// Serves a client to its end, whatever its handler does.
pub(super) fn serve_client(client: Admitted, shared: Arc<ServerShared>) {
    let Admitted { id, peer, socket, slot, guard } = client;
    shared.context.totals.served.add(1);
    shared.events.publish(&Event::Opened { id, peer_addr: peer });
    let (limits, context) = (Arc::clone(&shared.limits), Arc::clone(&shared.context));
    let (closed, lingering) = serve_connection(Connection::new(id, peer, socket, limits, context), &*shared.handler);
    // The slot is free before the peer sees the end, so that the peer can come back at once.
    drop(slot);
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

/// Runs the handler, and ends its connection with the farewell. Returns the socket if it has to linger.
pub(crate) fn serve_connection(
    mut connection: Connection,
    handler: &dyn Handler,
) -> (ClosedConnection, Option<Arc<Socket>>) {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&mut connection)));
    connection.finish(outcome, |socket, reason| farewell_to(socket, handler, reason))
}
