//! Commands about channels: joining, leaving, topics, member lists, kicks and modes.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::{IrcMessage, IrcSession, first_room, first_word, numeric, numeric_reply, parse_rooms};
use crate::connection::Connection;
use crate::handler::chat::delivery::Delivery;
use crate::handler::chat::event::{MAX_IRC_LINE, MAX_TEXT};
use crate::handler::chat::membership::Membership;
use crate::handler::chat::name::{self, Name, NameKey};
use crate::handler::chat::room::{Room, RoomMember, Topic};
use crate::handler::chat::session::Session;
use crate::handler::chat::state::{ChatError, ChatState};
use crate::handler::chat::text::truncate;

/// How many names fit into a line, even if every name in it has its maximum length.
const NAMES_PER_LINE: usize = (MAX_IRC_LINE - 100) / (name::MAX_MEMBER_NAME + 2);

impl IrcSession<'_> {
    pub(super) fn join(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let Some(list) = message.parameter(0) else { return self.need_more_params(client, "JOIN") };
        if list == "0" {
            return self.part_all(client);
        }
        for (channel, room) in parse_rooms(list) {
            match room {
                Some(room) => self.join_channel(client, channel, &room)?,
                None => self.reply(
                    client,
                    numeric::ERR_NOSUCHCHANNEL,
                    format_args!("{} :{}", first_word(channel), name::CHANNEL_NAME_RULE),
                )?,
            }
        }
        Ok(())
    }

    fn part_all(&mut self, client: &mut Connection) -> io::Result<()> {
        let id = self.id;
        self.flush_reply(client)?;
        let rooms = self.with_state(|state, _| state.member(id).map(|member| member.rooms.clone()));
        for key in rooms.unwrap_or_default() {
            // An error means that the client has just been kicked out of this room.
            let _ = self.with_state(|state, delivery| state.part(id, &key, "", delivery));
        }
        Ok(())
    }

    /// Joins a room. `channel` is its name as the client wrote it.
    fn join_channel(&mut self, client: &mut Connection, channel: &str, room: &Name) -> io::Result<()> {
        // The replies so far must arrive before the messages of the channel.
        self.flush_reply(client)?;
        let (id, key) = (self.id, room.key());
        if self.with_state(|state, _| state.is_in_room(id, &key)) {
            return Ok(());
        }
        let name = self.name();
        let names_queued = self.with_state(|state, delivery| {
            state.join(id, room, delivery)?;
            let Some(room) = state.room(&key) else { return Ok(true) };
            state.queue_reply(id, topic_replies(room, &name).unwrap_or_default(), delivery);
            Ok(queue_names(state, id, room, &name, delivery))
        });
        match names_queued {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.delivery().flush();
                self.write_names(client, room)
            }
            Err(error) => self.refuse(client, error, channel, ""),
        }
    }

    pub(super) fn part(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let Some(list) = message.parameter(0) else { return self.need_more_params(client, "PART") };
        let reason = truncate(message.parameter(1).unwrap_or_default(), MAX_TEXT);
        for (channel, room) in parse_rooms(list) {
            self.flush_reply(client)?;
            let id = self.id;
            let outcome = room
                .ok_or(ChatError::NoSuchRoom)
                .and_then(|room| self.with_state(|state, delivery| state.part(id, &room.key(), reason, delivery)));
            outcome.or_else(|error| self.refuse(client, error, channel, ""))?;
        }
        Ok(())
    }

    pub(super) fn topic(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let Some(channel) = message.parameter(0) else { return self.need_more_params(client, "TOPIC") };
        let Some(key) = first_room(channel) else {
            return self.refuse(client, ChatError::NoSuchRoom, channel, "");
        };
        let id = self.id;
        if let Some(text) = message.parameters.get(1) {
            self.flush_reply(client)?;
            let text = truncate(text, MAX_TEXT);
            let outcome = self.with_state(|state, delivery| state.set_topic(id, &key, text, delivery));
            return outcome.or_else(|error| self.refuse(client, error, channel, ""));
        }
        self.flush_reply(client)?;
        let name = self.name();
        let has_topic = self.with_state(|state, delivery| {
            let topic = topic_replies(state.room(&key)?, &name);
            let has_topic = topic.is_some();
            state.queue_reply(id, topic.unwrap_or_default(), delivery);
            Some(has_topic)
        });
        match has_topic {
            None => self.refuse(client, ChatError::NoSuchRoom, channel, ""),
            Some(true) => Ok(()),
            Some(false) => {
                self.reply(client, numeric::RPL_NOTOPIC, format_args!("{} :No topic is set", first_word(channel)))
            }
        }
    }

    pub(super) fn names(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let channel = message.parameter(0).unwrap_or("*");
        let Some(key) = first_room(channel) else {
            return self.reply(
                client,
                numeric::RPL_ENDOFNAMES,
                format_args!("{} :End of NAMES list", first_word(channel)),
            );
        };
        self.flush_reply(client)?;
        let (id, name) = (self.id, self.name());
        let found = self.with_state(|state, delivery| {
            let room = state.room(&key)?;
            Some((queue_names(state, id, room, &name, delivery), room.name.clone()))
        });
        match found {
            Some((true, _)) => Ok(()),
            Some((false, room)) => self.write_names(client, &room),
            None => {
                self.reply(client, numeric::RPL_ENDOFNAMES, format_args!("{} :End of NAMES list", first_word(channel)))
            }
        }
    }

    /// Like [`queue_names`], for a large room: writes the names in chunks, not through the outbox. Their order among joins and
    /// parts doesn't matter, because the room doesn't announce these.
    fn write_names(&self, client: &mut Connection, room: &Name) -> io::Result<()> {
        let name = self.name();
        self.chat.write_member_list(client, &room.key(), NAMES_PER_LINE, |room, chunk| {
            vec![names_line(room, chunk, &name)]
        })?;
        client.write_all(names_end(room, &name).as_bytes())
    }

    pub(super) fn list(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let name = self.name();
        let line = |room: &Room| {
            let topic = room.topic.as_ref().map_or("", |topic| truncate(&topic.text, MAX_TEXT));
            numeric_reply(numeric::RPL_LIST, &name, format_args!("#{} {} :{topic}", room.name, room.member_count()))
        };
        self.reply(client, numeric::RPL_LISTSTART, "Channel :Users Topic")?;
        if let Some(list) = message.parameter(0) {
            let wanted: BTreeSet<NameKey> = parse_rooms(list).filter_map(|(_, room)| Some(room?.key())).collect();
            let mut wanted = wanted.iter();
            self.chat
                .write_list(client, |state| wanted.find_map(|key| state.room(key)).map(line).into_iter().collect())?;
        } else {
            self.chat.write_room_list(client, line)?;
        }
        self.reply(client, numeric::RPL_LISTEND, ":End of LIST")
    }

    pub(super) fn kick(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let (Some(channel), Some(targets)) = (message.parameter(0), message.parameter(1)) else {
            return self.need_more_params(client, "KICK");
        };
        let Some(key) = first_room(channel) else {
            return self.refuse(client, ChatError::NoSuchRoom, channel, targets);
        };
        let reason = truncate(message.parameter(2).unwrap_or("kicked"), MAX_TEXT);
        for target in targets.split(',') {
            self.flush_reply(client)?;
            let id = self.id;
            let outcome = Name::parse_member(target).ok_or(ChatError::TargetNotInRoom).and_then(|name| {
                self.with_state(|state, delivery| state.kick(id, &key, &name.key(), reason, delivery))
            });
            outcome.or_else(|error| self.refuse(client, error, channel, target))?;
        }
        Ok(())
    }

    /// Reports modes. No mode can be changed. Each channel takes messages only from its members (`n`), and the member
    /// who has been in it longest is its operator (`o`). Each channel of a list gets its own reply, because irssi waits for
    /// all of them.
    pub(super) fn mode(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let Some(target) = message.parameter(0) else { return self.need_more_params(client, "MODE") };
        if !target.starts_with('#') {
            return self.user_mode(client, target, message.parameter(1));
        }
        parse_rooms(target).try_for_each(|(channel, room)| self.channel_mode(client, channel, room.as_ref(), message))
    }

    fn channel_mode(
        &mut self,
        client: &mut Connection,
        channel: &str,
        room: Option<&Name>,
        message: &IrcMessage,
    ) -> io::Result<()> {
        let (id, change) = (self.id, message.parameter(1));
        let describe = |room: &Room| (room.name.to_string(), room.created_at.as_second(), room.operator() == Some(id));
        let found = room.and_then(|room| self.with_state(|state, _| state.room(&room.key()).map(describe)));
        let Some((room, created, is_operator)) = found else {
            return self.refuse(client, ChatError::NoSuchRoom, channel, "");
        };
        match change.map(|change| change.trim_start_matches(['+', '-'])) {
            None => {
                self.reply(client, numeric::RPL_CHANNELMODEIS, format_args!("#{room} +n"))?;
                self.reply(client, numeric::RPL_CREATIONTIME, format_args!("#{room} {created}"))
            }
            Some("b") if message.parameter(2).is_none() => {
                self.reply(client, numeric::RPL_ENDOFBANLIST, format_args!("#{room} :End of ban list"))
            }
            Some(_) if !is_operator => self.refuse(client, ChatError::NotOperator, channel, ""),
            Some(mode) => {
                let mode: String = mode.chars().take(1).collect();
                self.reply(
                    client,
                    numeric::ERR_UNKNOWNMODE,
                    format_args!("{} :Modes can't be changed here", first_word(&mode)),
                )
            }
        }
    }

    fn user_mode(&mut self, client: &mut Connection, target: &str, change: Option<&str>) -> io::Result<()> {
        let id = self.id;
        let found = Name::parse_member(target)
            .and_then(|name| self.with_state(|state, _| state.member_by_name(&name.key()).map(|member| member.id)));
        match found {
            None => self.refuse(client, ChatError::NoSuchMember, "", target),
            Some(other) if other != id => {
                self.reply(client, numeric::ERR_USERSDONTMATCH, ":Not your modes to see or change")
            }
            // Every member has the mode `i` (invisible): WHO lists only members who share a channel. irssi sets the mode
            // itself after the welcome.
            Some(_) if matches!(change, None | Some("+i" | "i")) => self.reply(client, numeric::RPL_UMODEIS, "+i"),
            Some(_) => {
                self.reply(client, numeric::ERR_UMODEUNKNOWNFLAG, ":The mode of users is +i, and can't be changed")
            }
        }
    }
}

/// The replies about a room's topic, if it has one, to the client with that nickname.
fn topic_replies(room: &Room, client: &str) -> Option<String> {
    let Topic { text, set_by, set_at } = room.topic.as_ref()?;
    let text = truncate(text, MAX_TEXT);
    let topic = numeric_reply(numeric::RPL_TOPIC, client, format_args!("#{} :{text}", room.name));
    let set = format_args!("#{} {set_by} {}", room.name, set_at.as_second()).to_string();
    Some(topic + &numeric_reply(numeric::RPL_TOPICWHOTIME, client, set))
}

/// Queues the names of a room's members in the client's outbox, so that they are in order with the room's announcements of
/// joins and parts. Returns `false`, and queues nothing, if the room is too large to announce these.
fn queue_names(state: &ChatState, id: u64, room: &Room, client: &str, delivery: &mut Delivery) -> bool {
    if !room.announces_joins() {
        return false;
    }
    let members: Vec<RoomMember<'_>> = state.members_after(room, 0).collect();
    let lines: String = members.chunks(NAMES_PER_LINE).map(|chunk| names_line(room, chunk, client)).collect();
    state.queue_reply(id, lines + &names_end(&room.name, client), delivery);
    true
}

/// The reply with some of a room's members.
fn names_line(room: &Room, members: &[RoomMember<'_>], client: &str) -> String {
    let prefix = |membership: &Membership| if room.operator() == Some(membership.id) { "@" } else { "" };
    let name = |(membership, member): &RoomMember<'_>| format!("{}{}", prefix(membership), member.identity.name);
    let names: Vec<String> = members.iter().map(name).collect();
    numeric_reply(numeric::RPL_NAMREPLY, client, format_args!("= #{} :{}", room.name, names.join(" ")))
}

fn names_end(room: &Name, client: &str) -> String {
    numeric_reply(numeric::RPL_ENDOFNAMES, client, format_args!("#{room} :End of NAMES list"))
}
