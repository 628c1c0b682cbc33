//! The state that all sessions of a chat share: members, names and rooms. One lock guards it, and nothing here does I/O.
//!
//! Events are queued in the members' outboxes under that lock, so all members see them in the same order. They are sent
//! after it is released: see [`Delivery`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::delivery::Delivery;
use super::event::{ChatDialect, ChatEvent, Identity, MessageKind};
use super::member::Member;
use super::name::{Name, NameKey};
use super::room::Room;
use crate::Outbox;

mod rooms;

pub(super) use rooms::MAX_ROOMS_PER_MEMBER;

/// How many other members a member can ignore.
const MAX_IGNORED: usize = 100;

#[derive(Default)]
pub(super) struct ChatState {
    /// The members, by the number of their connection.
    members: HashMap<u64, Member>,
    /// The number of the member's connection, by the member's name.
    names: HashMap<NameKey, u64>,
    rooms: BTreeMap<NameKey, Room>,
    /// How many guest names have been tried.
    guest_count: u64,
    /// How often anyone has joined any room.
    join_count: u64,
}

/// A message that a member sends to a room or to another member.
#[derive(Clone, Copy)]
pub(super) struct OutgoingMessage<'a> {
    pub(super) kind: MessageKind,
    pub(super) text: &'a str,
    /// The sender gets a copy too (IRCv3 `echo-message`).
    pub(super) echo: bool,
}

/// Why the chat can't do what a member asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChatError {
    /// Another member has that name, or it is reserved.
    NameTaken,
    NoSuchMember,
    NoSuchRoom,
    /// The member is not in that room.
    NotInRoom,
    /// The member to be kicked is not in that room.
    TargetNotInRoom,
    /// Only the room's operator may do that.
    NotOperator,
    /// The member is in the maximum number of rooms, or ignores the maximum number of members.
    LimitReached,
}

impl ChatState {
    /// Adds a member, who is in no room yet. Without a name they become a guest with a number.
    ///
    /// # Errors
    ///
    /// `NameTaken`.
    pub(super) fn add_member(
        &mut self,
        id: u64,
        name: Option<Name>,
        dialect: ChatDialect,
        outbox: Outbox,
    ) -> Result<Name, ChatError> {
        let name = name.unwrap_or_else(|| self.next_guest_name());
        if self.is_taken(&name) {
            return Err(ChatError::NameTaken);
        }
        let identity = Identity { user: format!("~{}", name.as_str().to_ascii_lowercase()), name: name.clone() };
        let member = Member {
            id,
            identity,
            real_name: name.as_str().to_owned(),
            away: None,
            signed_on: Timestamp::now(),
            last_message: Instant::now(),
            rooms: Vec::new(),
            ignored: Arc::default(),
            dialect,
            outbox,
        };
        self.names.insert(name.key(), id);
        self.members.insert(id, member);
        Ok(name)
    }

    fn next_guest_name(&mut self) -> Name {
        loop {
            self.guest_count += 1;
            let name = Name::parse_member(&format!("guest{}", self.guest_count));
            if let Some(name) = name.filter(|name| !self.is_taken(name)) {
                return name;
            }
        }
    }

    /// Whether a new member can't have that name.
    pub(super) fn is_taken(&self, name: &Name) -> bool {
        name.is_reserved() || self.names.contains_key(&name.key())
    }

    /// Removes a member from the chat, and tells the members of their rooms.
    pub(super) fn remove_member(&mut self, id: u64, reason: &str, delivery: &mut Delivery) {
        let Some(member) = self.members.get(&id) else { return };
        self.notify_shared_rooms(id, ChatEvent::Quit { reason }, delivery);
        for key in member.rooms.clone() {
            self.remove_from_room(id, &key, delivery);
        }
        if let Some(member) = self.members.remove(&id) {
            self.names.remove(&member.identity.name.key());
        }
    }

    /// Gives a member another name, and tells the members of their rooms.
    ///
    /// # Errors
    ///
    /// `NameTaken`.
    pub(super) fn rename(&mut self, id: u64, name: Name, delivery: &mut Delivery) -> Result<(), ChatError> {
        let member = self.members.get(&id).ok_or(ChatError::NoSuchMember)?;
        if member.identity.name == name {
            return Ok(());
        }
        let old_key = member.identity.name.key();
        if name.key() != old_key && self.is_taken(&name) {
            return Err(ChatError::NameTaken);
        }
        let event = ChatEvent::Renamed { to: &name };
        self.notify_shared_rooms(id, event, delivery);
        // An IRC client expects the event for its own NICK. A person gets a reply instead.
        if member.dialect.is_irc() {
            member.queue(event, member, delivery);
        }
        self.names.remove(&old_key);
        self.names.insert(name.key(), id);
        if let Some(member) = self.members.get_mut(&id) {
            member.identity.name = name;
        }
        Ok(())
    }

    /// Sends a message to one member alone. Returns that member's name, and their away message if they are away.
    ///
    /// # Errors
    ///
    /// `NoSuchMember`.
    pub(super) fn send_to_member(
        &mut self,
        id: u64,
        target: &NameKey,
        message: OutgoingMessage<'_>,
        delivery: &mut Delivery,
    ) -> Result<(Name, Option<String>), ChatError> {
        let sender = self.members.get(&id).ok_or(ChatError::NoSuchMember)?;
        let receiver = self.member_by_name(target).ok_or(ChatError::NoSuchMember)?;
        let event = ChatEvent::PrivateMessage { kind: message.kind, to: &receiver.identity.name, text: message.text };
        if !receiver.ignored.contains(&id) {
            receiver.queue(event, sender, delivery);
        }
        if message.echo {
            sender.queue(event, sender, delivery);
        }
        let outcome = (receiver.identity.name.clone(), receiver.away.clone());
        if let Some(sender) = self.members.get_mut(&id) {
            sender.last_message = Instant::now();
        }
        Ok(outcome)
    }

    /// Ignores a member, or stops ignoring them. Returns that member's name, and whether they are ignored now.
    ///
    /// # Errors
    ///
    /// `NoSuchMember`; `LimitReached`: too many are ignored already.
    pub(super) fn toggle_ignore(&mut self, id: u64, target: &NameKey) -> Result<(Name, bool), ChatError> {
        let target = self.member_by_name(target).ok_or(ChatError::NoSuchMember)?;
        let (target_id, target_name) = (target.id, target.identity.name.clone());
        let member = self.members.get(&id).ok_or(ChatError::NoSuchMember)?;
        // Members who have left the chat don't count towards the limit.
        let is_present = |other: &u64| self.members.contains_key(other);
        let mut ignored: HashSet<u64> = member.ignored.iter().copied().filter(is_present).collect();
        let was_ignored = ignored.remove(&target_id);
        if !was_ignored {
            if ignored.len() >= MAX_IGNORED {
                return Err(ChatError::LimitReached);
            }
            ignored.insert(target_id);
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.ignored = Arc::new(ignored);
        }
        self.update_memberships(id);
        Ok((target_name, !was_ignored))
    }

    /// Queues a reply in the member's own outbox: it arrives before every event that is queued after it.
    pub(super) fn queue_reply(&self, id: u64, text: String, delivery: &mut Delivery) {
        if text.is_empty() {
            return;
        }
        if let Some(member) = self.members.get(&id) {
            delivery.add_member(&member.outbox, text.len());
            member.outbox.queue(text.into_bytes());
        }
    }

    pub(super) fn set_dialect(&mut self, id: u64, dialect: ChatDialect) {
        if let Some(member) = self.members.get_mut(&id) {
            member.dialect = dialect;
        }
        self.update_memberships(id);
    }

    /// Sets a member's away message. `None` means that the member is back.
    pub(super) fn set_away(&mut self, id: u64, away: Option<String>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.away = away;
        }
    }

    /// Sets what an IRC client gave in its USER command.
    pub(super) fn set_user(&mut self, id: u64, user: String, real_name: String) {
        if let Some(member) = self.members.get_mut(&id) {
            member.identity.user = user;
            member.real_name = real_name;
        }
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn member(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(super) fn member_by_name(&self, name: &NameKey) -> Option<&Member> {
        self.members.get(self.names.get(name)?)
    }

    pub(super) fn room(&self, key: &NameKey) -> Option<&Room> {
        self.rooms.get(key)
    }

    pub(super) fn is_in_room(&self, id: u64, key: &NameKey) -> bool {
        self.members.get(&id).is_some_and(|member| member.rooms.contains(key))
    }

    /// Copies a member's dialect and ignored members into the member's memberships, which repeat both.
    fn update_memberships(&mut self, id: u64) {
        let Some(member) = self.members.get(&id) else { return };
        for key in &member.rooms {
            let Some(room) = self.rooms.get_mut(key) else { continue };
            let memberships = Arc::make_mut(&mut room.members);
            if let Some(membership) = memberships.iter_mut().find(|membership| membership.id == id) {
                membership.dialect = member.dialect;
                membership.ignored = Arc::clone(&member.ignored);
            }
        }
    }
}
