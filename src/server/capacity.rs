//! [`Capacity`]: how many clients a server serves at once, and which limit that is due to.

use super::event_log;
use super::system::{self, Ceiling};
use crate::limits::Limits;

/// At most this many sockets linger until their farewells have arrived.
const MAX_LINGERING: usize = 1024;

/// At least this many may linger, even when descriptors are scarce. They get half of those that clients leave.
const MIN_LINGERING: usize = 16;

/// What the system allows a server with its limits.
pub(super) struct Capacity {
    /// Clients at once.
    pub(super) clients: usize,
    /// Which limit keeps it from serving more, and how to raise it.
    pub(super) limited_by: String,
    /// Sockets that linger at once.
    pub(super) lingering: usize,
}

impl Capacity {
    /// Logs a warning if the system allows fewer clients than the limit asks for.
    pub(super) fn of(limits: &Limits) -> Capacity {
        let Ceiling { clients, descriptors, limited_by } =
            system::ceiling(limits.descriptors_per_client, limits.stack_size);
        let asked = limits.max_connections;
        let (clients, limited_by) = if clients < asked {
            event_log::max_connections_lowered(asked, clients, &limited_by);
            (clients, limited_by)
        } else {
            (asked, "raise --max-connections (Limits::max_connections) for more".to_owned())
        };
        let spare = descriptors.saturating_sub(clients * limits.descriptors_per_client) / 2;
        Capacity { clients, limited_by, lingering: spare.clamp(MIN_LINGERING, MAX_LINGERING) }
    }
}
