//! Members: what they say to each other, and what can be known of them.

use std::io;

use super::{Irc, Message, numeric, rooms_of, word};
use crate::connection::Connection;
use crate::handler::chat::PIECE;
use crate::handler::chat::event::{ABOUT, HOST, Kind, LONGEST_OF_IRC, LONGEST_TEXT, SERVER};
use crate::handler::chat::hall::{Member, Refusal, Room};
use crate::handler::chat::name::{Key, Name};
use crate::handler::chat::session::Session;
use crate::handler::chat::text::at_most;

/// A message goes to at most this many rooms and members at once.
pub(super) const TARGETS_AT_MOST: usize = 4;

impl Irc<'_> {
    /// PRIVMSG and NOTICE; to the latter nothing is answered, whatever is wrong (RFC 2812, 3.3.2).
    pub(super) fn say(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let is_notice = message.command == "NOTICE";
        let (Some(targets), Some(text)) = (message.parameter(0), message.parameters.get(1)) else {
            return match message.parameter(0) {
                _ if is_notice => Ok(()),
                None => self.reply(client, 411, format_args!(":No recipient given ({})", message.command)),
                Some(_) => self.reply(client, 412, ":No text to send"),
            };
        };
        let kind = match (&message.ctcp, is_notice) {
            (Some(command), false) if command == "ACTION" => Kind::Action,
            (Some(_), true) => return Ok(()),
            (Some(_), false) => {
                return self.reply(client, 404, format_args!("{} :Of CTCP only ACTION is passed on", word(targets)));
            }
            (None, true) => Kind::Notice,
            (None, false) => Kind::Message,
        };
        if text.is_empty() {
            return if is_notice { Ok(()) } else { self.reply(client, 412, ":No text to send") };
        }
        if targets.split(',').count() > TARGETS_AT_MOST && !is_notice {
            return self.reply(client, 407, format_args!("{} :Too many targets", word(targets)));
        }
        for target in targets.split(',').take(TARGETS_AT_MOST) {
            // What was answered before is to be read before, if this comes back.
            if self.is_echoed || !target.starts_with('#') {
                self.settle(client)?;
            }
            let answer = if target.starts_with('#') {
                self.say_to_room(target, kind, text).map(|()| None)
            } else {
                self.say_to_member(target, kind, text)
            };
            match answer {
                _ if is_notice => {}
                Ok(None) => {}
                Ok(Some(away)) => self.reply(client, 301, away)?,
                Err(Refusal::NotInRoom) => {
                    self.reply(client, 404, format_args!("{} :Join that channel to talk there", word(target)))?;
                }
                Err(refusal) => self.refuse(client, refusal, target, target)?,
            }
        }
        Ok(())
    }

    fn say_to_room(&mut self, room: &str, kind: Kind, text: &str) -> Result<(), Refusal> {
        let key = rooms_of(room).next().and_then(|(_, key)| key).ok_or(Refusal::NoRoom)?;
        let (id, echo) = (self.id, self.is_echoed);
        self.hall(|hall, mail| hall.say(id, &key, kind, text, echo, mail))
    }

    /// What is to be known about somebody who is away.
    fn say_to_member(&mut self, whom: &str, kind: Kind, text: &str) -> Result<Option<String>, Refusal> {
        let name = Name::of_member(whom).ok_or(Refusal::Nobody)?;
        let (id, echo) = (self.id, self.is_echoed);
        let (name, away) = self.hall(|hall, mail| hall.tell(id, &name.key(), kind, text, echo, mail))?;
        Ok(away.map(|away| format!("{name} :{away}")))
    }

    /// Of a channel, of one member, or of all who share a channel with the client (`*`): everybody else is invisible.
    pub(super) fn who(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let mask = message.parameter(0).unwrap_or("*");
        if mask.starts_with('#') {
            if let Some((_, Some(key))) = rooms_of(mask).next() {
                self.who_is_in(client, &key)?;
            }
        } else if let "*" | "0" = mask {
            let (id, name) = (self.id, self.name());
            let mut met = self.hall(|hall, _| hall.acquaintances(id)).into_iter();
            self.chat.recite(client, |hall| {
                let line = |id| Some(numeric(352, &name, who_line(id, hall.member(id)?, None)));
                met.by_ref().filter_map(line).take(PIECE).collect()
            })?;
        } else {
            let line = self.hall(|hall, _| {
                let (id, member) = hall.find(&Name::of_member(mask)?.key())?;
                Some(who_line(id, member, None))
            });
            line.map_or(Ok(()), |line| self.reply(client, 352, line))?;
        }
        self.reply(client, 315, format_args!("{} :End of WHO list", word(mask)))
    }

    /// The lines of WHO for a room.
    fn who_is_in(&self, client: &mut Connection, key: &Key) -> io::Result<()> {
        let name = self.name();
        self.chat.recite_members(client, key, PIECE, |room, some| {
            some.iter().map(|(seat, member)| numeric(352, &name, who_line(seat.id, member, Some(room)))).collect()
        })
    }

    pub(super) fn whois(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        // `WHOIS server name` asks another server, of which there is none.
        let Some(whom) = message.parameter(1).or(message.parameter(0)) else {
            return self.reply(client, 431, ":No nickname given");
        };
        let lines = self.hall(|hall, _| {
            let (id, member) = hall.find(&Name::of_member(whom)?.key())?;
            let name = &member.person.name;
            let rooms: Vec<String> = member
                .rooms
                .iter()
                .filter_map(|key| hall.room(key))
                .map(|room| format!("{}#{}", if room.first() == Some(id) { "@" } else { "" }, room.name))
                .collect();
            let mut lines = vec![(311, format!("{name} {} {HOST} * :{}", member.person.user, member.real_name))];
            lines.extend(rooms.chunks(10).map(|some| (319, format!("{name} :{}", some.join(" ")))));
            lines.push((312, format!("{name} {SERVER} :{ABOUT}")));
            lines.extend(member.away.as_ref().map(|away| (301, format!("{name} :{away}"))));
            let idle = member.last_spoke.elapsed().as_secs();
            lines.push((317, format!("{name} {idle} {} :seconds idle, signon time", member.since.as_second())));
            Some(lines)
        });
        match lines {
            None => self.refuse(client, Refusal::Nobody, "", whom)?,
            Some(lines) => lines.iter().try_for_each(|(numeric, line)| self.reply(client, *numeric, line))?,
        }
        self.reply(client, 318, format_args!("{} :End of WHOIS list", word(whom)))
    }

    pub(super) fn away(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let id = self.id;
        let away = message.parameter(0).map(|text| at_most(text, LONGEST_TEXT).to_owned());
        let is_away = away.is_some();
        self.hall(|hall, _| hall.set_away(id, away));
        if is_away {
            self.reply(client, 306, ":You are marked as away")
        } else {
            self.reply(client, 305, ":You are no longer marked as away")
        }
    }

    pub(super) fn ison(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let there = self.known(message, usize::MAX, |member| member.person.name.to_string());
        // Their names and this client's own may make more than a line of what was asked in one.
        let room = LONGEST_OF_IRC - format!(":{SERVER} 303 {} :\r\n", self.name()).len();
        let there = there.join(" ");
        let end = if there.len() > room { there.get(..=room).and_then(|fits| fits.rfind(' ')) } else { None };
        self.reply(client, 303, format_args!(":{}", at_most(&there, end.unwrap_or(room))))
    }

    pub(super) fn userhost(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let there = self.known(message, 5, |member| {
            let sign = if member.away.is_some() { '-' } else { '+' };
            format!("{}={sign}{}@{HOST}", member.person.name, member.person.user)
        });
        self.reply(client, 302, format_args!(":{}", there.join(" ")))
    }

    /// What there is to tell of those of a list who are here.
    fn known(&mut self, message: &Message, count: usize, tell: impl Fn(&Member) -> String) -> Vec<String> {
        self.hall(|hall, _| {
            let names = message.parameters.iter().flat_map(|list| list.split(' ')).filter_map(Name::of_member);
            names.take(count).filter_map(|name| Some(tell(hall.find(&name.key())?.1))).collect()
        })
    }
}

/// `<channel> <user> <host> <server> <nick> <flags> :<hops> <real name>`.
fn who_line(id: u64, member: &Member, room: Option<&Room>) -> String {
    let is_first = room.is_some_and(|room| room.first() == Some(id));
    let channel = room.map_or("*".to_owned(), |room| format!("#{}", room.name));
    let flags = [if member.away.is_some() { "G" } else { "H" }, if is_first { "@" } else { "" }].concat();
    let (name, user) = (&member.person.name, &member.person.user);
    format!("{channel} {user} {HOST} {SERVER} {name} {flags} :0 {}", member.real_name)
}
