//! One room: its topic, its members and its history. IRC clients know it as a channel.

use std::sync::Arc;

use jiff::Timestamp;

use super::delivery::Delivery;
use super::event::{ChatEvent, RenderedEvent};
use super::history::History;
use super::member::Member;
use super::membership::{MemberList, Membership};
use super::name::Name;

/// Rooms with more members than this don't announce who joins and leaves.
const MAX_ANNOUNCED_MEMBERS: usize = 50;

pub(super) struct Room {
    pub(super) name: Name,
    pub(super) topic: Option<Topic>,
    pub(super) created_at: Timestamp,
    pub(super) members: MemberList,
    pub(super) history: History,
}

pub(super) struct Topic {
    pub(super) text: String,
    pub(super) set_by: String,
    pub(super) set_at: Timestamp,
}

/// A member of a room, with that membership.
pub(super) type RoomMember<'a> = (&'a Membership, &'a Member);

impl Room {
    pub(super) fn new(name: Name) -> Room {
        Room {
            name,
            topic: None,
            created_at: Timestamp::now(),
            members: MemberList::default(),
            history: History::default(),
        }
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether the members are told who joins and leaves.
    pub(super) fn announces_joins(&self) -> bool {
        self.members.len() <= MAX_ANNOUNCED_MEMBERS
    }

    /// The operator's id: the operator is the member who has been in the room longest.
    pub(super) fn operator(&self) -> Option<u64> {
        self.members.first().map(|membership| membership.id)
    }

    pub(super) fn add(&mut self, membership: Membership) {
        Arc::make_mut(&mut self.members).push(membership);
    }

    pub(super) fn remove(&mut self, id: u64) {
        Arc::make_mut(&mut self.members).retain(|membership| membership.id != id);
    }

    /// Queues an event for every member of the room except `except`. A message also skips members who ignore its sender.
    /// Returns the time of the event.
    pub(super) fn broadcast(
        &self,
        event: ChatEvent<'_>,
        source: &Member,
        except: Option<u64>,
        delivery: &mut Delivery,
    ) -> Timestamp {
        let can_be_ignored = matches!(event, ChatEvent::RoomMessage { .. });
        let receives = |membership: &&Membership| {
            Some(membership.id) != except && !(can_be_ignored && membership.ignored.contains(&source.id))
        };
        let mut rendered = RenderedEvent::new(event, &source.identity);
        let mut longest = 0;
        for membership in self.members.iter().filter(receives) {
            let lines = rendered.lines(membership.dialect);
            if !lines.is_empty() {
                longest = longest.max(lines.len());
                membership.outbox.queue(lines);
            }
        }
        delivery.add_room(&self.members, longest);
        rendered.time()
    }
}
