//! The dialect for people at `nc` and telnet: what they type is said in their room, and commands begin with a slash.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

use super::Chat;
use super::event::{Dialect, Kind, LONGEST_TEXT};
use super::hall::{Hall, Member, Refusal, Room};
use super::lines::{Line, Lines};
use super::mail::Mail;
use super::name::{Key, Name, RULE, RULE_OF_ROOM};
use super::session::{Place, Session, Then, attend_from};
use super::text::{at_most, clean};
use crate::connection::Connection;
use crate::handler::Farewell;

/// The longest line, with its end, in bytes.
pub(super) const LONGEST: usize = 4096;

/// How many names `/who` tells in a line.
const NAMES_IN_A_LINE: usize = 8;

/// Where everyone starts.
const LOBBY: &str = "lobby";

const COMMANDS: [(&str, &str); 14] = [
    ("/name NEW", "call yourself NEW; /nick NEW does it too"),
    ("/who", "who is in your room"),
    ("/rooms", "all rooms"),
    ("/join ROOM", "go to another room, or make it"),
    ("/leave", "go back to the lobby"),
    ("/msg NAME TEXT", "say something to one person alone"),
    ("/me TEXT", "do something: * you wave"),
    ("/topic [TEXT]", "the topic of your room, or a new one"),
    ("/away [TEXT]", "say that you are away, or back again"),
    ("/ignore NAME", "hear no more of somebody, or hear them again"),
    ("/history", "what was said last in your room"),
    ("/help", "this"),
    ("/quit [TEXT]", "leave, and say why"),
    ("//TEXT", "say something that begins with a slash"),
];

/// A person's session.
pub(super) struct Plain<'a> {
    place: Place<'a>,
    room: Option<Key>,
}

/// Serves a person from the first line on.
///
/// # Errors
///
/// The connection's.
pub(super) fn serve(mut person: Plain<'_>, client: &mut Connection, first: Line, lines: &mut Lines) -> io::Result<()> {
    let outcome = attend_from(&mut person, client, Some(first), lines);
    person.place.note(client, &outcome);
    outcome
}

impl Session for Plain<'_> {
    fn hear(&mut self, client: &mut Connection, line: Line) -> io::Result<Then> {
        let Line::Whole(bytes) = line else {
            refuse_long_line(client)?;
            return Ok(Then::Continue);
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            notice(client, "that line is not UTF-8 text; nothing was said")?;
            return Ok(Then::Continue);
        };
        let text = clean(text);
        self.act(client, text.trim_end())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn wonder(&mut self, _client: &mut Connection) -> io::Result<Then> {
        Ok(Then::Continue)
    }

    fn object(&mut self, client: &mut Connection) -> io::Result<()> {
        "flood".clone_into(&mut self.place.reason);
        refuse_flood(client)
    }

    fn mail(&mut self) -> &mut Mail {
        &mut self.place.mail
    }

    fn farewell(reason: Farewell) -> Cow<'static, [u8]> {
        match reason {
            Farewell::Unfinished => b"* your last line was not complete; it was not said\n".into(),
            other => format!("* {other}\n").into_bytes().into(),
        }
    }
}

impl<'a> Plain<'a> {
    /// Makes a guest of a client, greets it, and tells the lobby.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub(super) fn enter(chat: &'a Chat, client: &mut Connection) -> io::Result<Plain<'a>> {
        client.set_farewell(Plain::farewell);
        let outbox = client.outbox()?;
        // A guest's name is free.
        let entered = chat.hall().enter(client.id(), None, Dialect::Plain, outbox);
        let name = entered.map_err(|_| io::Error::other("no name is left for a guest"))?;
        let mut person = Plain { place: Place::new(chat, client), room: None };
        person.welcome(client, &name)?;
        person.mail().send();
        Ok(person)
    }

    /// Leaves, for a reason that the others are told.
    pub(super) fn leave_because(mut self, reason: &str) {
        reason.clone_into(&mut self.place.reason);
    }

    /// Leaves because the connection has failed.
    pub(super) fn leave_after(mut self, client: &mut Connection, outcome: &io::Result<()>) {
        self.place.note(client, outcome);
    }

    fn welcome(&mut self, client: &mut Connection, name: &Name) -> io::Result<()> {
        let Some(lobby) = Name::of_room(LOBBY) else { return Ok(()) };
        let here = People(self.hall(|hall, _| hall.len()));
        let welcome = format!(
            "* welcome, you are {name}; {here} here\n* what you type is said in your room; /help lists the commands\n"
        );
        self.go_to(client, &lobby, welcome)
    }

    fn act(&mut self, client: &mut Connection, text: &str) -> io::Result<Then> {
        let Some(command) = text.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
            let said = text.strip_prefix('/').unwrap_or(text);
            if !said.is_empty() {
                self.say(client, Kind::Message, said)?;
            }
            return Ok(Then::Continue);
        };
        // Its answer may be long, and who asked may read slowly.
        self.mail().send();
        let (command, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match command.to_ascii_lowercase().as_str() {
            "name" | "nick" => self.rename(client, rest)?,
            "who" => self.who(client)?,
            "rooms" => self.rooms(client)?,
            "join" => match Name::of_room(rest) {
                Some(room) => self.go_to(client, &room, String::new())?,
                None => notice(client, format_args!("{RULE_OF_ROOM}: /join ROOM"))?,
            },
            "leave" => self.leave(client)?,
            "msg" => self.tell(client, rest)?,
            "me" if rest.is_empty() => notice(client, "what do you do? /me waves")?,
            "me" => self.say(client, Kind::Action, rest)?,
            "topic" => self.topic(client, rest)?,
            "away" => self.away(client, rest)?,
            "ignore" => self.ignore(client, rest)?,
            "history" => self.history(client)?,
            "help" => {
                for (command, what) in COMMANDS {
                    notice(client, format_args!("{command:<14}  {what}"))?;
                }
            }
            "quit" => {
                at_most(rest, LONGEST_TEXT).clone_into(&mut self.place.reason);
                notice(client, "goodbye")?;
                return Ok(Then::Close);
            }
            unknown => notice(client, format_args!("there is no command /{unknown}; /help lists them"))?,
        }
        Ok(Then::Continue)
    }

    fn say(&mut self, client: &mut Connection, kind: Kind, text: &str) -> io::Result<()> {
        let Some(room) = self.room.clone() else { return nowhere(client) };
        let id = self.place.id;
        self.hall(|hall, mail| hall.say(id, &room, kind, text, false, mail)).or_else(|_| nowhere(client))
    }

    fn tell(&mut self, client: &mut Connection, rest: &str) -> io::Result<()> {
        let (whom, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let (Some(whom), text) = (Name::of_member(whom), text.trim()) else {
            return notice(client, "to whom, and what? /msg NAME TEXT");
        };
        if text.is_empty() {
            return notice(client, "to whom, and what? /msg NAME TEXT");
        }
        // What was answered before is to be read before, if this is for oneself.
        self.settle(client)?;
        let id = self.place.id;
        match self.hall(|hall, mail| hall.tell(id, &whom.key(), Kind::Message, text, false, mail)) {
            Ok((name, Some(away))) => notice(client, format_args!("{name} is away: {away}")),
            Ok((_, None)) => Ok(()),
            Err(refusal) => refuse(client, refusal, &whom),
        }
    }

    fn rename(&mut self, client: &mut Connection, name: &str) -> io::Result<()> {
        let Some(name) = Name::of_member(name) else {
            return notice(client, format_args!("{RULE}: /name NEW"));
        };
        let id = self.place.id;
        match self.hall(|hall, mail| hall.rename(id, name.clone(), mail)) {
            Ok(()) => notice(client, format_args!("you are now {name}")),
            Err(refusal) => refuse(client, refusal, &name),
        }
    }

    /// Goes to a room, out of the one before, and says so after `preface`.
    fn go_to(&mut self, client: &mut Connection, room: &Name, preface: String) -> io::Result<()> {
        // What was answered before is to be read before what is said there.
        self.settle(client)?;
        let (id, key, before) = (self.place.id, room.key(), self.present_room());
        if before.as_ref() == Some(&key) {
            return notice(client, format_args!("you are in {room} already"));
        }
        let outcome = self.hall(|hall, mail| {
            if let Some(before) = before {
                hall.part(id, &before, "", mail)?;
            }
            hall.join(id, room, mail)?;
            let mut text = preface;
            if let Some(room) = hall.room(&key) {
                text += &format!("* you are in {}; {} here\n", room.name, People(room.len()));
                text += &room.topic.as_ref().map_or(String::new(), |topic| format!("* topic: {}\n", topic.text));
            }
            hall.answer(id, text, mail);
            Ok(())
        });
        match outcome {
            Ok(()) => {
                self.room = Some(key);
                Ok(())
            }
            Err(refusal) => refuse(client, refusal, room),
        }
    }

    fn leave(&mut self, client: &mut Connection) -> io::Result<()> {
        match Name::of_room(LOBBY) {
            Some(lobby) if self.present_room().as_ref() != Some(&lobby.key()) => {
                self.go_to(client, &lobby, String::new())
            }
            _ => notice(client, "you are in the lobby; /quit leaves the chat"),
        }
    }

    fn who(&mut self, client: &mut Connection) -> io::Result<()> {
        let Some(key) = self.present_room() else { return nowhere(client) };
        let room = self.hall(|hall, _| hall.room(&key).map(|room| (room.name.clone(), room.len())));
        let Some((room, count)) = room else { return nowhere(client) };
        notice(client, format_args!("{} in {room}:", People(count)))?;
        let name = |member: &Member| match &member.away {
            Some(_) => format!("{} (away)", member.person.name),
            None => member.person.name.to_string(),
        };
        self.place.chat.recite_members(client, &key, NAMES_IN_A_LINE, |_, some| {
            let names: Vec<String> = some.iter().map(|(_, member)| name(member)).collect();
            vec![format!("* {}\n", names.join(", "))]
        })
    }

    fn rooms(&mut self, client: &mut Connection) -> io::Result<()> {
        let topic = |room: &Room| room.topic.as_ref().map_or(String::new(), |topic| format!(": {}", topic.text));
        let line = |room: &Room| format!("* {}, {} there{}\n", room.name, People(room.len()), topic(room));
        self.place.chat.recite_rooms(client, line)
    }

    fn topic(&mut self, client: &mut Connection, text: &str) -> io::Result<()> {
        let Some(key) = self.present_room() else { return nowhere(client) };
        let text = at_most(text, LONGEST_TEXT);
        if !text.is_empty() {
            let id = self.place.id;
            self.settle(client)?;
            let outcome = self.hall(|hall, mail| hall.set_topic(id, &key, text, mail));
            return outcome.or_else(|_| nowhere(client));
        }
        let topic = self.hall(|hall, _| {
            let topic = hall.room(&key)?.topic.as_ref()?;
            Some(format!("topic: {} (set by {})", topic.text, topic.by))
        });
        notice(client, topic.as_deref().unwrap_or("there is no topic; /topic TEXT sets one"))
    }

    fn away(&mut self, client: &mut Connection, text: &str) -> io::Result<()> {
        let id = self.place.id;
        let is_away =
            !text.is_empty() || self.hall(|hall, _| hall.member(id).is_some_and(|member| member.away.is_none()));
        let text = if text.is_empty() { "away" } else { at_most(text, LONGEST_TEXT) };
        self.hall(|hall, _| hall.set_away(id, is_away.then(|| text.to_owned())));
        notice(client, if is_away { "you are away; /away says that you are back" } else { "you are back" })
    }

    fn ignore(&mut self, client: &mut Connection, whom: &str) -> io::Result<()> {
        let Some(whom) = Name::of_member(whom) else { return notice(client, "whom? /ignore NAME") };
        let id = self.place.id;
        match self.hall(|hall, _| hall.ignore(id, &whom.key())) {
            Ok((name, true)) => notice(client, format_args!("you hear no more of {name}; the same again to undo it")),
            Ok((name, false)) => notice(client, format_args!("you hear {name} again")),
            Err(refusal) => refuse(client, refusal, &whom),
        }
    }

    fn history(&mut self, client: &mut Connection) -> io::Result<()> {
        let Some(key) = self.present_room() else { return nowhere(client) };
        let mut numbers = self.hall(|hall, _| hall.room(&key).map(Room::remembered)).unwrap_or_default();
        if numbers.is_empty() {
            return notice(client, "nothing was said here yet");
        }
        notice(client, format_args!("the last lines ({}), with their times in UTC:", numbers.end - numbers.start))?;
        self.place.chat.recite(client, |hall| {
            // What is forgotten meanwhile is left out.
            let line = numbers.find_map(|number| hall.room(&key)?.line(number));
            line.map(|(at, line)| format!("{} {line}", at.strftime("%H:%M:%S"))).into_iter().collect()
        })
    }

    /// The room that one is in, unless it was left by a kick.
    fn present_room(&mut self) -> Option<Key> {
        let id = self.place.id;
        let room = self.room.take();
        self.room =
            room.filter(|key| self.hall(|hall, _| hall.member(id).is_some_and(|member| member.rooms.contains(key))));
        self.room.clone()
    }

    /// As [`Chat::in_hall`].
    fn hall<T>(&mut self, act: impl FnOnce(&mut Hall, &mut Mail) -> T) -> T {
        self.place.chat.in_hall(&mut self.place.mail, act)
    }
}

pub(super) fn refuse_long_line(client: &mut Connection) -> io::Result<()> {
    notice(client, format_args!("that line is longer than {LONGEST} bytes; nothing was said"))
}

pub(super) fn refuse_flood(client: &mut Connection) -> io::Result<()> {
    notice(client, "you send faster than is allowed, closing")
}

fn notice(client: &mut Connection, text: impl Display) -> io::Result<()> {
    writeln!(client, "* {text}")
}

fn nowhere(client: &mut Connection) -> io::Result<()> {
    notice(client, "you are in no room; /join lobby")
}

fn refuse(client: &mut Connection, refusal: Refusal, name: &Name) -> io::Result<()> {
    match refusal {
        Refusal::Taken => notice(client, format_args!("{name} is taken; choose another name")),
        Refusal::Nobody => notice(client, format_args!("nobody here is called {name}; /who tells who is")),
        Refusal::TooMany => notice(client, "that is one too many"),
        _ => nowhere(client),
    }
}

/// `1 person is`, `3 people are`.
struct People(usize);

impl Display for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 1 { f.write_str("1 person is") } else { write!(f, "{} people are", self.0) }
    }
}
