//! [`MemberGuard`]: removes a member from the chat when its session ends, however it ends.

use std::io::{self, ErrorKind};

use super::Chat;
use super::delivery::Delivery;
use crate::connection::{Connection, EndReason};

/// Held by a session while its client is a member. Dropping it removes the member from the chat.
pub(super) struct MemberGuard<'a> {
    pub(super) chat: &'a Chat,
    pub(super) id: u64,
    /// What the others are told when the member leaves.
    pub(super) quit_reason: String,
    pub(super) delivery: Delivery,
}

impl<'a> MemberGuard<'a> {
    pub(super) fn new(chat: &'a Chat, client: &Connection) -> MemberGuard<'a> {
        let delivery = Delivery::new(chat.helper.clone(), client.limits().max_outbox);
        MemberGuard { chat, id: client.id(), quit_reason: String::new(), delivery }
    }

    /// Sets the quit reason that fits the outcome of the session, unless there is a reason already.
    pub(super) fn set_quit_reason(&mut self, outcome: &io::Result<()>) {
        let Err(error) = outcome else { return };
        if !self.quit_reason.is_empty() {
            return;
        }
        self.quit_reason = match EndReason::of(error) {
            Some(EndReason::OutboxFull(_) | EndReason::OutboxTimeout) => "read too slowly",
            Some(EndReason::Idle | EndReason::RequestTimeout | EndReason::WriteTimeout) => "timed out",
            Some(EndReason::Lost(ErrorKind::TimedOut)) => "timed out",
            Some(EndReason::Unfinished | EndReason::Drained | EndReason::ServerClosed(_)) => "",
            _ => "connection lost",
        }
        .to_owned();
    }
}

impl Drop for MemberGuard<'_> {
    fn drop(&mut self) {
        self.chat.lock_state().remove_member(self.id, &self.quit_reason, &mut self.delivery);
    }
}
