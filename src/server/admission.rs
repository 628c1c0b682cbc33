//! Admits clients, or refuses them with a reason in the handler's dialect. Nothing here waits.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::connections::{ConnectionGuard, Connections, Slot};
use super::event::Event;
use super::shared::ServerShared;
use crate::farewell::FarewellReason;
use crate::socket::Socket;

pub(super) struct Admission {
    pub(super) connections: Arc<Connections>,
    pub(super) shared: Arc<ServerShared>,
    /// The number of the next client.
    pub(super) next_id: u64,
}

/// A client that was admitted.
pub(super) struct Admitted {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) socket: Arc<Socket>,
    pub(super) slot: Slot,
    pub(super) guard: ConnectionGuard,
}

impl Admission {
    /// Admits a client, or refuses it when all slots are taken.
    pub(super) fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Admitted> {
        let socket = Socket::new(stream);
        let Some((slot, guard)) = self.connections.acquire(self.next_id, peer, &socket) else {
            self.refuse(socket, peer, FarewellReason::Full { limit: self.connections.capacity() });
            return None;
        };
        let id = self.next_id;
        self.next_id += 1;
        Some(Admitted { id, peer, socket, slot, guard })
    }

    /// Tells a client why it is refused. The socket lingers until the farewell has arrived.
    pub(super) fn refuse(&self, socket: Arc<Socket>, peer: SocketAddr, why: FarewellReason) {
        self.shared.context.totals.refused.add(1);
        self.shared.events.publish(&Event::Refused { peer_addr: peer, reason: why });
        socket.send_farewell(&self.shared.farewell_to(&socket, why));
        self.shared.linger.close(socket);
    }
}
