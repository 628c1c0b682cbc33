//! Channels: who is in them, what they are about, and who looks after them.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::{Irc, Message, numeric, rooms_of, word};
use crate::connection::Connection;
use crate::handler::chat::event::{LONGEST_OF_IRC, LONGEST_TEXT};
use crate::handler::chat::hall::{Hall, Refusal, Room, Seat, Seated, Topic};
use crate::handler::chat::mail::Mail;
use crate::handler::chat::name::{self, Key, Name};
use crate::handler::chat::session::Session;
use crate::handler::chat::text::at_most;

/// As many names as surely fit into a line, whatever the client and the room are called.
const NAMES_IN_A_LINE: usize = (LONGEST_OF_IRC - 100) / (name::LONGEST + 2);

impl Irc<'_> {
    pub(super) fn join(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Some(list) = message.parameter(0) else { return self.needs_more(client, "JOIN") };
        if list == "0" {
            let id = self.id;
            self.settle(client)?;
            let rooms = self.hall(|hall, _| hall.member(id).map(|member| member.rooms.clone()).unwrap_or_default());
            for key in rooms {
                // Out of one that it is not in any more, it has been kicked meanwhile.
                let _ = self.hall(|hall, mail| hall.part(id, &key, "", mail));
            }
            return Ok(());
        }
        for (written, key) in rooms_of(list) {
            let Some(room) = key.and_then(|_| Name::of_room(written)) else {
                self.reply(client, 403, format_args!("{} :{}", word(written), name::RULE_OF_CHANNEL))?;
                continue;
            };
            // What was answered before is to be read before what is said there.
            self.settle(client)?;
            let (id, key) = (self.id, room.key());
            if self.hall(|hall, _| hall.member(id).is_some_and(|member| member.rooms.contains(&key))) {
                continue;
            }
            let name = self.name();
            let told = self.hall(|hall, mail| {
                hall.join(id, &room, mail)?;
                let Some(room) = hall.room(&key) else { return Ok(true) };
                hall.answer(id, topic_of(room, &name).unwrap_or_default(), mail);
                Ok(tell_names(hall, id, room, &name, mail))
            });
            match told {
                Ok(true) => {}
                Ok(false) => {
                    self.mail().send();
                    self.recite_names(client, &room)?;
                }
                Err(refusal) => self.refuse(client, refusal, written, "")?,
            }
        }
        Ok(())
    }

    pub(super) fn part(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Some(list) = message.parameter(0) else { return self.needs_more(client, "PART") };
        let reason = at_most(message.parameter(1).unwrap_or_default(), LONGEST_TEXT);
        for (written, key) in rooms_of(list) {
            self.settle(client)?;
            let id = self.id;
            let outcome =
                key.ok_or(Refusal::NoRoom).and_then(|key| self.hall(|hall, mail| hall.part(id, &key, reason, mail)));
            outcome.or_else(|refusal| self.refuse(client, refusal, written, ""))?;
        }
        Ok(())
    }

    pub(super) fn topic(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Some(written) = message.parameter(0) else { return self.needs_more(client, "TOPIC") };
        let Some((_, Some(key))) = rooms_of(written).next() else {
            return self.refuse(client, Refusal::NoRoom, written, "");
        };
        let id = self.id;
        if let Some(text) = message.parameters.get(1) {
            self.settle(client)?;
            let text = at_most(text, LONGEST_TEXT);
            let outcome = self.hall(|hall, mail| hall.set_topic(id, &key, text, mail));
            return outcome.or_else(|refusal| self.refuse(client, refusal, written, ""));
        }
        self.settle(client)?;
        let name = self.name();
        let told = self.hall(|hall, mail| {
            let topic = topic_of(hall.room(&key)?, &name);
            let has_topic = topic.is_some();
            hall.answer(id, topic.unwrap_or_default(), mail);
            Some(has_topic)
        });
        match told {
            None => self.refuse(client, Refusal::NoRoom, written, ""),
            Some(true) => Ok(()),
            Some(false) => self.reply(client, 331, format_args!("{} :No topic is set", word(written))),
        }
    }

    pub(super) fn names(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let written = message.parameter(0).unwrap_or("*");
        let Some((_, Some(key))) = rooms_of(written).next() else {
            return self.reply(client, 366, format_args!("{} :End of NAMES list", word(written)));
        };
        self.settle(client)?;
        let (id, name) = (self.id, self.name());
        let told = self.hall(|hall, mail| {
            let room = hall.room(&key)?;
            Some((tell_names(hall, id, room, &name, mail), room.name.clone()))
        });
        match told {
            Some((true, _)) => Ok(()),
            Some((false, room)) => self.recite_names(client, &room),
            None => self.reply(client, 366, format_args!("{} :End of NAMES list", word(written))),
        }
    }

    /// As [`tell_names`], for a room in which nobody is told who comes and goes: there may be many in it.
    fn recite_names(&self, client: &mut Connection, room: &Name) -> io::Result<()> {
        let name = self.name();
        self.chat.recite_members(client, &room.key(), NAMES_IN_A_LINE, |room, some| {
            vec![line_of_names(room, some, &name)]
        })?;
        client.write_all(end_of_names(room, &name).as_bytes())
    }

    pub(super) fn list(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let name = self.name();
        let line = |room: &Room| {
            let topic = room.topic.as_ref().map_or("", |topic| at_most(&topic.text, LONGEST_TEXT));
            numeric(322, &name, format_args!("#{} {} :{topic}", room.name, room.len()))
        };
        self.reply(client, 321, "Channel :Users Topic")?;
        if let Some(list) = message.parameter(0) {
            let wanted: BTreeSet<Key> = rooms_of(list).filter_map(|(_, key)| key).collect();
            let mut wanted = wanted.iter();
            self.chat.recite(client, |hall| wanted.find_map(|key| hall.room(key)).map(line).into_iter().collect())?;
        } else {
            self.chat.recite_rooms(client, line)?;
        }
        self.reply(client, 323, ":End of LIST")
    }

    pub(super) fn kick(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let (Some(written), Some(whom)) = (message.parameter(0), message.parameter(1)) else {
            return self.needs_more(client, "KICK");
        };
        let Some((_, Some(key))) = rooms_of(written).next() else {
            return self.refuse(client, Refusal::NoRoom, written, whom);
        };
        let reason = at_most(message.parameter(2).unwrap_or("kicked"), LONGEST_TEXT);
        for whom in whom.split(',') {
            self.settle(client)?;
            let id = self.id;
            let outcome = Name::of_member(whom)
                .ok_or(Refusal::NotThere)
                .and_then(|name| self.hall(|hall, mail| hall.kick(id, &key, &name.key(), reason, mail)));
            outcome.or_else(|refusal| self.refuse(client, refusal, written, whom))?;
        }
        Ok(())
    }

    /// Modes can be asked for: each channel takes messages from its members alone (`n`), and its first member is its
    /// operator (`o`). None can be changed. Several channels are answered one by one: irssi waits for each of them.
    pub(super) fn mode(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Some(target) = message.parameter(0) else { return self.needs_more(client, "MODE") };
        if !target.starts_with('#') {
            return self.mode_of_user(client, target, message.parameter(1));
        }
        rooms_of(target).try_for_each(|(name, key)| self.mode_of_room(client, name, key.as_ref(), message))
    }

    fn mode_of_room(
        &mut self,
        client: &mut Connection,
        name: &str,
        key: Option<&Key>,
        message: &Message,
    ) -> io::Result<()> {
        let (id, change) = (self.id, message.parameter(1));
        let of = |room: &Room| (room.name.to_string(), room.since.as_second(), room.first() == Some(id));
        let found = key.and_then(|key| self.hall(|hall, _| hall.room(key).map(of)));
        let Some((room, since, is_first)) = found else { return self.refuse(client, Refusal::NoRoom, name, "") };
        match change.map(|change| change.trim_start_matches(['+', '-'])) {
            None => {
                self.reply(client, 324, format_args!("#{room} +n"))?;
                self.reply(client, 329, format_args!("#{room} {since}"))
            }
            Some("b") if message.parameter(2).is_none() => {
                self.reply(client, 368, format_args!("#{room} :End of ban list"))
            }
            Some(_) if !is_first => self.refuse(client, Refusal::NotFirst, name, ""),
            Some(mode) => {
                let mode: String = mode.chars().take(1).collect();
                self.reply(client, 472, format_args!("{} :Modes can't be changed here", word(&mode)))
            }
        }
    }

    fn mode_of_user(&mut self, client: &mut Connection, target: &str, change: Option<&str>) -> io::Result<()> {
        let id = self.id;
        let found =
            Name::of_member(target).and_then(|name| self.hall(|hall, _| hall.find(&name.key()).map(|(id, _)| id)));
        match found {
            None => self.refuse(client, Refusal::Nobody, "", target),
            Some(other) if other != id => self.reply(client, 502, ":Not your modes to see or change"),
            // Nobody is listed to who shares no room with them, so all are invisible, and stay so.
            // irssi sets it after its welcome.
            Some(_) if matches!(change, None | Some("+i" | "i")) => self.reply(client, 221, "+i"),
            Some(_) => self.reply(client, 501, ":The mode of users is +i, and can't be changed"),
        }
    }
}

/// The replies that tell a room's topic to a client of that name.
fn topic_of(room: &Room, client: &str) -> Option<String> {
    let Topic { text, by, at } = room.topic.as_ref()?;
    let text = at_most(text, LONGEST_TEXT);
    let topic = numeric(332, client, format_args!("#{} :{text}", room.name));
    Some(topic + &numeric(333, client, format_args!("#{} {by} {}", room.name, at.as_second())))
}

/// Tells a client of that name who is in a room, if it is announced there who comes and goes: by way of the outbox, so in
/// its place among the announcements.
fn tell_names(hall: &Hall, id: u64, room: &Room, client: &str, mail: &mut Mail) -> bool {
    if !room.is_announced() {
        return false;
    }
    let all: Vec<Seated<'_>> = hall.members_after(room, 0).collect();
    let replies: String = all.chunks(NAMES_IN_A_LINE).map(|some| line_of_names(room, some, client)).collect();
    hall.answer(id, replies + &end_of_names(&room.name, client), mail);
    true
}

/// A line of those who are in a room.
fn line_of_names(room: &Room, some: &[Seated<'_>], client: &str) -> String {
    let mark = |seat: &Seat| if room.first() == Some(seat.id) { "@" } else { "" };
    let names: Vec<String> =
        some.iter().map(|(seat, member)| format!("{}{}", mark(seat), member.person.name)).collect();
    numeric(353, client, format_args!("= #{} :{}", room.name, names.join(" ")))
}

fn end_of_names(room: &Name, client: &str) -> String {
    numeric(366, client, format_args!("#{room} :End of NAMES list"))
}
