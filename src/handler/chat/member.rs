//! A member of the chat, who may be a person at a terminal or the user of an IRC client.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::delivery::Delivery;
use super::event::{ChatDialect, ChatEvent, Identity, RenderedEvent};
use super::name::NameKey;
use crate::Outbox;

pub(super) struct Member {
    /// The number of the member's connection.
    pub(super) id: u64,
    pub(super) identity: Identity,
    pub(super) real_name: String,
    /// The away message, if the member is away.
    pub(super) away: Option<String>,
    pub(super) signed_on: Timestamp,
    /// When the member last sent a message.
    pub(super) last_message: Instant,
    /// The rooms that the member is in, in the order of joining.
    pub(super) rooms: Vec<NameKey>,
    /// The ids of members whose messages this member does not get.
    pub(super) ignored: Arc<HashSet<u64>>,
    pub(super) dialect: ChatDialect,
    pub(super) outbox: Outbox,
}

impl Member {
    /// Queues an event that `source` caused for this member.
    pub(super) fn queue(&self, event: ChatEvent<'_>, source: &Member, delivery: &mut Delivery) {
        let lines = RenderedEvent::new(event, &source.identity).lines(self.dialect);
        delivery.add_member(&self.outbox, lines.len());
        self.outbox.queue(lines);
    }
}
