//! The operations on rooms: join, part, kick, messages, topics and lists.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::{ChatError, ChatState, OutgoingMessage};
use crate::handler::chat::delivery::Delivery;
use crate::handler::chat::event::{ChatEvent, RenderedEvent};
use crate::handler::chat::history::History;
use crate::handler::chat::member::Member;
use crate::handler::chat::membership::Membership;
use crate::handler::chat::name::{Name, NameKey};
use crate::handler::chat::room::{Room, RoomMember, Topic};

/// How many rooms a member can be in at once.
pub(crate) const MAX_ROOMS_PER_MEMBER: usize = 20;

impl ChatState {
    /// Adds a member to a room, and creates the room if it does not exist.
    ///
    /// # Errors
    ///
    /// `LimitReached`: the member is in too many rooms.
    pub(crate) fn join(&mut self, id: u64, name: &Name, delivery: &mut Delivery) -> Result<(), ChatError> {
        let member = self.members.get_mut(&id).ok_or(ChatError::NoSuchMember)?;
        let key = name.key();
        if member.rooms.contains(&key) {
            return Ok(());
        }
        if member.rooms.len() >= MAX_ROOMS_PER_MEMBER {
            return Err(ChatError::LimitReached);
        }
        member.rooms.push(key.clone());
        let room = self.rooms.entry(key).or_insert_with(|| Room::new(name.clone()));
        self.join_count += 1;
        room.add(Membership {
            id,
            join_number: self.join_count,
            outbox: member.outbox.clone(),
            dialect: member.dialect,
            ignored: Arc::clone(&member.ignored),
        });
        announce(ChatEvent::Joined { room: &room.name }, room, member, delivery);
        Ok(())
    }

    /// Takes a member out of a room.
    ///
    /// # Errors
    ///
    /// `NoSuchRoom`, `NotInRoom`.
    pub(crate) fn part(
        &mut self,
        id: u64,
        key: &NameKey,
        reason: &str,
        delivery: &mut Delivery,
    ) -> Result<(), ChatError> {
        let (member, room) = self.member_in_room(id, key)?;
        announce(ChatEvent::Parted { room: &room.name, reason }, room, member, delivery);
        self.remove_from_room(id, key, delivery);
        Ok(())
    }

    /// Takes the member named `target` out of a room, if the member `id` is the room's operator.
    ///
    /// # Errors
    ///
    /// `NoSuchRoom`, `NotInRoom`, `NotOperator`, `TargetNotInRoom`.
    pub(crate) fn kick(
        &mut self,
        id: u64,
        key: &NameKey,
        target: &NameKey,
        reason: &str,
        delivery: &mut Delivery,
    ) -> Result<(), ChatError> {
        let (member, room) = self.member_in_room(id, key)?;
        if room.operator() != Some(id) {
            return Err(ChatError::NotOperator);
        }
        let kicked = self.member_by_name(target).filter(|kicked| kicked.rooms.contains(key));
        let kicked = kicked.ok_or(ChatError::TargetNotInRoom)?;
        let event = ChatEvent::Kicked { room: &room.name, target: &kicked.identity.name, reason };
        room.broadcast(event, member, None, delivery);
        self.remove_from_room(kicked.id, key, delivery);
        Ok(())
    }

    /// Sends a message to a room, and adds it to the room's history.
    ///
    /// # Errors
    ///
    /// `NoSuchRoom`, `NotInRoom`.
    pub(crate) fn send_to_room(
        &mut self,
        id: u64,
        key: &NameKey,
        message: OutgoingMessage<'_>,
        delivery: &mut Delivery,
    ) -> Result<(), ChatError> {
        self.member_in_room(id, key)?;
        let max_bytes = History::bytes_per_room(self.rooms.len());
        // Always found, because `member_in_room` has found both.
        let (Some(member), Some(room)) = (self.members.get_mut(&id), self.rooms.get_mut(key)) else {
            return Err(ChatError::NoSuchRoom);
        };
        member.last_message = Instant::now();
        let event = ChatEvent::RoomMessage { kind: message.kind, room: &room.name, text: message.text };
        let except = if message.echo { None } else { Some(id) };
        let time = room.broadcast(event, member, except, delivery);
        let line = event.render_plain(&member.identity);
        room.history.add(time, line, max_bytes);
        Ok(())
    }

    /// Sets a room's topic. An empty text removes it.
    ///
    /// # Errors
    ///
    /// `NoSuchRoom`, `NotInRoom`.
    pub(crate) fn set_topic(
        &mut self,
        id: u64,
        key: &NameKey,
        text: &str,
        delivery: &mut Delivery,
    ) -> Result<(), ChatError> {
        let (member, room) = self.member_in_room(id, key)?;
        room.broadcast(ChatEvent::TopicSet { room: &room.name, text }, member, None, delivery);
        let set_by = member.identity.name.to_string();
        if let Some(room) = self.rooms.get_mut(key) {
            let topic = || Topic { text: text.to_owned(), set_by, set_at: Timestamp::now() };
            room.topic = (!text.is_empty()).then(topic);
        }
        Ok(())
    }

    /// At most `count` rooms whose names follow `last`, in the order of their names. `None` starts with the first room.
    pub(crate) fn rooms_after(&self, last: Option<&NameKey>, count: usize) -> Vec<&Room> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.rooms.range::<NameKey, _>((start, Bound::Unbounded)).take(count).map(|(_, room)| room).collect()
    }

    /// The members of a room whose join numbers are greater than `join_number`, in the order in which they joined.
    pub(crate) fn members_after<'a>(
        &'a self,
        room: &'a Room,
        join_number: u64,
    ) -> impl Iterator<Item = RoomMember<'a>> {
        let start = room.members.partition_point(|membership| membership.join_number <= join_number);
        let memberships = room.members.iter().skip(start);
        memberships.filter_map(|membership| Some((membership, self.members.get(&membership.id)?)))
    }

    /// The ids of the members of all rooms that a member is in, each once. The member's own id is among them.
    pub(crate) fn members_sharing_rooms(&self, id: u64) -> Vec<u64> {
        let rooms = self.members.get(&id).into_iter().flat_map(|member| &member.rooms);
        let memberships = rooms.filter_map(|key| self.rooms.get(key)).flat_map(|room| room.members.iter());
        let mut seen = HashSet::new();
        memberships.map(|membership| membership.id).filter(|&id| seen.insert(id)).collect()
    }

    /// The member and the room, if the member is in that room.
    fn member_in_room(&self, id: u64, key: &NameKey) -> Result<(&Member, &Room), ChatError> {
        let room = self.rooms.get(key).ok_or(ChatError::NoSuchRoom)?;
        let member = self.members.get(&id).ok_or(ChatError::NoSuchMember)?;
        if member.rooms.contains(key) { Ok((member, room)) } else { Err(ChatError::NotInRoom) }
    }

    /// Takes a member out of a room without announcing it. If they were the operator, the next member becomes the operator.
    /// An empty room is deleted.
    pub(super) fn remove_from_room(&mut self, id: u64, key: &NameKey, delivery: &mut Delivery) {
        if let Some(member) = self.members.get_mut(&id) {
            member.rooms.retain(|other| other != key);
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        let old_operator = room.operator();
        room.remove(id);
        let Some(operator) = room.operator() else {
            self.rooms.remove(key);
            return;
        };
        if old_operator == Some(operator) {
            return;
        }
        if let Some(member) = self.members.get(&operator) {
            room.broadcast(ChatEvent::Promoted { room: &room.name }, member, None, delivery);
        }
    }

    /// Queues an event once for every other member who shares a room with a member. A room that doesn't announce who leaves
    /// doesn't announce who quits either.
    pub(super) fn notify_shared_rooms(&self, id: u64, event: ChatEvent<'_>, delivery: &mut Delivery) {
        let Some(member) = self.members.get(&id) else { return };
        let is_quit = matches!(event, ChatEvent::Quit { .. });
        let rooms = member.rooms.iter().filter_map(|key| self.rooms.get(key));
        let rooms: Vec<&Room> = rooms.filter(|room| !is_quit || room.announces_joins()).collect();
        // Within one room, nobody can be notified twice.
        if let [room] = rooms.as_slice() {
            room.broadcast(event, member, Some(id), delivery);
            return;
        }
        let mut rendered = RenderedEvent::new(event, &member.identity);
        let mut notified = HashSet::from([id]);
        for room in rooms {
            for membership in room.members.iter().filter(|membership| notified.insert(membership.id)) {
                let lines = rendered.lines(membership.dialect);
                delivery.add_member(&membership.outbox, lines.len());
                membership.outbox.queue(lines);
            }
        }
    }
}

/// Tells a room who joins or leaves, if it announces that. An IRC client is always told about its own joins and parts.
fn announce(event: ChatEvent<'_>, room: &Room, member: &Member, delivery: &mut Delivery) {
    if room.announces_joins() {
        room.broadcast(event, member, Some(member.id), delivery);
    }
    if member.dialect.is_irc() {
        member.queue(event, member, delivery);
    }
}
