//! What a client is told that the server refuses or cuts.

use std::borrow::Cow;
use std::panic::{self, AssertUnwindSafe};

use crate::farewell::FarewellReason;
use crate::handler::Handler;
use crate::panics;
use crate::socket::Socket;

/// The farewell for `reason`: the one that was set for this client, or the handler's; nothing if that panics.
pub(crate) fn farewell_to(socket: &Socket, handler: &dyn Handler, reason: FarewellReason) -> Cow<'static, [u8]> {
    let farewell = || socket.own_farewell(reason).unwrap_or_else(|| handler.farewell(reason));
    panic::catch_unwind(AssertUnwindSafe(farewell)).unwrap_or_else(|panic| {
        log::error!("a handler's farewell panicked: {:?}", panics::describe(&*panic));
        Cow::Borrowed(b"")
    })
}
