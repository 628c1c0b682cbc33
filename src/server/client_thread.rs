//! How a thread serves its client, from the first byte to the farewell.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::admission::Admitted;
use super::event::Event;
use super::service::Service;
use crate::connection::Connection;

/// Serves a client to its end, whatever its handler does.
pub(super) fn serve_client(client: Admitted, service: Arc<Service>) {
    let Admitted { id, peer, socket, slot, guard } = client;
    service.context.totals.served.add(1);
    service.events.publish(&Event::Opened { id, peer_addr: peer });
    let (limits, context) = (Arc::clone(&service.limits), Arc::clone(&service.context));
    let mut connection = Connection::new(id, peer, Arc::clone(&socket), limits, context);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| service.handler.handle(&mut connection)));
    let (closed, lingering) = connection.finish(outcome, |reason| service.farewell_to(&socket, reason));
    // The slot is free before the peer sees the end, so that the peer can come back at once.
    drop((socket, slot));
    closed.count(&service.context.totals);
    service.events.publish(&Event::Closed(&closed));
    if let Some(socket) = lingering {
        service.linger.close(socket);
    }
    // Before the guard: the handler must not outlive `Server::run`, which returns once all guards are released.
    drop(service);
    // Last, because the drain waits for it.
    drop(guard);
}
