//! A room's member list, with what is needed to send an event to each member.

use std::collections::HashSet;
use std::sync::Arc;

use super::event::ChatDialect;
use crate::Outbox;

/// The members of a room, in the order in which they joined. The list is shared, so that a thread can go through it after the
/// lock on the chat's state is released.
pub(super) type MemberList = Arc<Vec<Membership>>;

/// One member's membership in one room.
#[derive(Clone)]
pub(super) struct Membership {
    pub(super) id: u64,
    /// The number of this join among the joins of all rooms, so a later member of a room has a higher number.
    pub(super) join_number: u64,
    pub(super) outbox: Outbox,
    pub(super) dialect: ChatDialect,
    /// The ids of members whose messages this member does not get.
    pub(super) ignored: Arc<HashSet<u64>>,
}
