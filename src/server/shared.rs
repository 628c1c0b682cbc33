//! [`ServerShared`]: what the accept loop and the threads of all clients share.

use std::borrow::Cow;
use std::sync::Arc;

use super::event::Events;
use super::farewells::farewell_to;
use super::linger::LingerHandle;
use crate::connection::ConnectionContext;
use crate::farewell::FarewellReason;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::socket::Socket;

pub(super) struct ServerShared {
    pub(super) handler: Box<dyn Handler>,
    pub(super) limits: Arc<Limits>,
    pub(super) linger: LingerHandle,
    pub(super) events: Events,
    pub(super) context: Arc<ConnectionContext>,
}

impl ServerShared {
    /// What a client is told for `reason`.
    pub(super) fn farewell_to(&self, socket: &Socket, reason: FarewellReason) -> Cow<'static, [u8]> {
        farewell_to(socket, &*self.handler, reason)
    }
}
