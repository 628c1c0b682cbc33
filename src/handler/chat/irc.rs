//! The dialect of IRC clients: RFC 1459 and 2812 as <https://modern.ircdocs.horse> has them today.
//!
//! This file is the session: who the client is, and which of its commands is done where.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

use super::Chat;
use super::event::{Dialect, LONGEST_OF_IRC, LONGEST_TEXT, SERVER};
use super::hall::{Hall, Refusal};
use super::lines::{Line, Lines};
use super::mail::Mail;
use super::name::{Key, Name};
use super::session::{Session, Then, attend_from};
use super::text::at_most;
use crate::Outbox;
use crate::connection::Connection;
use crate::handler::Farewell;

mod about;
mod message;
mod people;
mod registration;
mod rooms;

use message::Message;
use registration::{Stage, Stranger};

/// Why a client is closed.
pub(super) const REGISTRATION_TIMEOUT: &str = "registration timeout";
pub(super) const FLOOD: &str = "Excess Flood";

/// Serves an IRC client from the first line on.
///
/// # Errors
///
/// The connection's.
pub(super) fn serve(chat: &Chat, client: &mut Connection, first: Line, lines: &mut Lines) -> io::Result<()> {
    client.set_farewell(farewell);
    let mut session = Irc {
        chat,
        id: client.id(),
        outbox: client.outbox()?,
        stage: Stage::Stranger(Stranger::default()),
        is_timed: false,
        is_echoed: false,
        patience: Instant::now() + client.limits().request_timeout,
        heard: Instant::now(),
        pinged: None,
    };
    let outcome = attend_from(&mut session, client, Some(first), lines);
    if let Stage::Member(place) = &mut session.stage {
        place.note(client, &outcome);
    }
    outcome
}

/// Last words as IRC has them.
pub(super) fn farewell(reason: Farewell) -> Cow<'static, [u8]> {
    let reason = match reason {
        Farewell::TooSlow => "SendQ exceeded: you read too slowly".to_owned(),
        other => other.to_string(),
    };
    format!("ERROR :Closing link: {reason}\r\n").into_bytes().into()
}

struct Irc<'a> {
    chat: &'a Chat,
    id: u64,
    outbox: Outbox,
    stage: Stage<'a>,
    /// The capability `server-time`.
    is_timed: bool,
    /// The capability `echo-message`.
    is_echoed: bool,
    /// By when a stranger is to be a member.
    patience: Instant,
    /// When the client was heard last.
    heard: Instant,
    /// When it was asked whether it is still there.
    pinged: Option<Instant>,
}

impl Session for Irc<'_> {
    fn hear(&mut self, client: &mut Connection, line: Line) -> io::Result<Then> {
        self.heard = Instant::now();
        self.pinged = None;
        let Line::Whole(bytes) = line else {
            refuse_long_line(client, &self.name())?;
            return Ok(Then::Continue);
        };
        let text = String::from_utf8_lossy(&bytes);
        let Some(message) = Message::parse(&text) else { return Ok(Then::Continue) };
        if matches!(text, Cow::Owned(_)) && !self.takes_repaired(client, &message)? {
            return Ok(Then::Continue);
        }
        self.act(client, &message)
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Stranger(_) => Some(self.patience),
            Stage::Member(_) => self.pinged.unwrap_or(self.heard).checked_add(self.chat.options.ping),
        }
    }

    fn wonder(&mut self, client: &mut Connection) -> io::Result<Then> {
        match (&self.stage, self.pinged) {
            (Stage::Stranger(_), _) => self.close(client, REGISTRATION_TIMEOUT),
            (Stage::Member(_), Some(_)) => self.close(client, "ping timeout"),
            (Stage::Member(_), None) => {
                self.pinged = Some(Instant::now());
                write!(client, "PING :{SERVER}\r\n")?;
                Ok(Then::Continue)
            }
        }
    }

    fn object(&mut self, client: &mut Connection) -> io::Result<()> {
        self.close(client, FLOOD).map(|_| ())
    }

    fn mail(&mut self) -> &mut Mail {
        match &mut self.stage {
            Stage::Stranger(stranger) => &mut stranger.mail,
            Stage::Member(place) => &mut place.mail,
        }
    }

    fn farewell(reason: Farewell) -> Cow<'static, [u8]> {
        farewell(reason)
    }
}

impl Irc<'_> {
    /// Whether to act on a line that was not UTF-8, and has U+FFFD now where it was not. If not, the client is told
    /// (IRCv3 UTF8ONLY). Registration goes on: a name so repaired is refused as a name, and nobody checks a password.
    fn takes_repaired(&self, client: &mut Connection, message: &Message) -> io::Result<bool> {
        match message.command.as_str() {
            "NICK" | "PASS" | "QUIT" => return Ok(true),
            "USER" => {
                write!(
                    client,
                    ":{SERVER} WARN USER INVALID_UTF8 :That was not UTF-8; your real name was repaired\r\n"
                )?;
                return Ok(true);
            }
            _ => {}
        }
        let is_text = !message.command.contains(char::REPLACEMENT_CHARACTER);
        let command = if is_text { word(&message.command) } else { "*" };
        write!(client, ":{SERVER} FAIL {command} INVALID_UTF8 :That was not UTF-8, and was ignored\r\n")?;
        Ok(false)
    }

    fn act(&mut self, client: &mut Connection, message: &Message) -> io::Result<Then> {
        if !matches!(message.command.as_str(), "PRIVMSG" | "NOTICE") {
            // Its answer may be long, and who asked may read slowly.
            self.mail().send();
        }
        match message.command.as_str() {
            "CAP" => self.cap(client, message)?,
            "NICK" => self.nick(client, message)?,
            "USER" => self.user(client, message)?,
            "PING" => match message.parameter(0) {
                Some(token) => write!(client, ":{SERVER} PONG {SERVER} :{}\r\n", at_most(token, LONGEST_TEXT))?,
                None => self.needs_more(client, "PING")?,
            },
            // Any line says that the client is there, and nobody has a password.
            "PASS" if matches!(self.stage, Stage::Member(_)) => {
                self.reply(client, 462, ":You are registered already")?;
            }
            "PONG" | "PASS" | "ERROR" => {}
            "QUIT" => {
                let reason = at_most(message.parameter(0).unwrap_or("quit"), LONGEST_TEXT).to_owned();
                return self.close(client, &reason);
            }
            command if matches!(self.stage, Stage::Stranger(_)) => {
                self.reply(client, 451, format_args!("{} :Say NICK and USER first", at_most(command, 50)))?;
            }
            "JOIN" => self.join(client, message)?,
            "PART" => self.part(client, message)?,
            "TOPIC" => self.topic(client, message)?,
            "NAMES" => self.names(client, message)?,
            "LIST" => self.list(client, message)?,
            "KICK" => self.kick(client, message)?,
            "MODE" => self.mode(client, message)?,
            "PRIVMSG" | "NOTICE" => self.say(client, message)?,
            "WHO" => self.who(client, message)?,
            "WHOIS" => self.whois(client, message)?,
            "AWAY" => self.away(client, message)?,
            "ISON" => self.ison(client, message)?,
            "USERHOST" => self.userhost(client, message)?,
            "MOTD" => self.motd(client)?,
            "LUSERS" => self.lusers(client)?,
            "VERSION" => self.version(client)?,
            "TIME" => self.time(client)?,
            command => self.reply(client, 421, format_args!("{} :Unknown command", at_most(command, 50)))?,
        }
        Ok(Then::Continue)
    }

    /// Says why, and ends the session.
    fn close(&mut self, client: &mut Connection, reason: &str) -> io::Result<Then> {
        if let Stage::Member(place) = &mut self.stage {
            reason.clone_into(&mut place.reason);
        }
        write_error(client, reason)?;
        Ok(Then::Close)
    }

    fn dialect(&self) -> Dialect {
        if self.is_timed { Dialect::TimedIrc } else { Dialect::Irc }
    }

    /// What the client is called; `*` as long as it has no name.
    fn name(&self) -> Cow<'static, str> {
        let name = match &self.stage {
            Stage::Stranger(stranger) => stranger.name.as_ref().map(ToString::to_string),
            Stage::Member(_) => self.chat.hall().member(self.id).map(|member| member.person.name.to_string()),
        };
        name.map_or("*".into(), Cow::from)
    }

    /// A numeric reply.
    fn reply(&self, client: &mut Connection, number: u16, text: impl Display) -> io::Result<()> {
        client.write_all(numeric(number, &self.name(), text).as_bytes())
    }

    fn needs_more(&self, client: &mut Connection, command: &str) -> io::Result<()> {
        self.reply(client, 461, format_args!("{command} :Not enough parameters"))
    }

    /// The numeric for what can't be done with a room, or a member of it.
    fn refuse(&self, client: &mut Connection, refusal: Refusal, room: &str, whom: &str) -> io::Result<()> {
        let (room, whom) = (word(room), word(whom));
        match refusal {
            Refusal::Taken => self.reply(client, 433, format_args!("{whom} :Nickname is already in use")),
            Refusal::Nobody => self.reply(client, 401, format_args!("{whom} :No such nick or channel")),
            Refusal::NoRoom => self.reply(client, 403, format_args!("{room} :No such channel")),
            Refusal::NotInRoom => self.reply(client, 442, format_args!("{room} :You are not on that channel")),
            Refusal::NotThere => self.reply(client, 441, format_args!("{whom} {room} :They are not on that channel")),
            Refusal::NotFirst => self.reply(client, 482, format_args!("{room} :You are not the channel's operator")),
            Refusal::TooMany => self.reply(client, 405, format_args!("{room} :You are on too many channels")),
        }
    }

    /// As [`Chat::in_hall`].
    fn hall<T>(&mut self, act: impl FnOnce(&mut Hall, &mut Mail) -> T) -> T {
        let chat = self.chat;
        chat.in_hall(self.mail(), act)
    }
}

/// The last line of a session.
pub(super) fn write_error(client: &mut Connection, reason: &str) -> io::Result<()> {
    write!(client, "ERROR :Closing link: {reason}\r\n")
}

pub(super) fn refuse_long_line(client: &mut Connection, name: &str) -> io::Result<()> {
    client.write_all(numeric(417, name, format_args!(":That line is longer than {LONGEST_OF_IRC} bytes")).as_bytes())
}

/// A numeric reply to a client of that name.
fn numeric(number: u16, client: &str, text: impl Display) -> String {
    format!(":{SERVER} {number:03} {client} {text}\r\n")
}

/// What a client has sent as a word, as it can be repeated in a reply.
fn word(text: &str) -> &str {
    let first = text.split(' ').next().unwrap_or_default();
    if first.is_empty() { "*" } else { at_most(first, 50) }
}

/// The rooms of a list such as `#a,#b`, each as it was written.
fn rooms_of(list: &str) -> impl Iterator<Item = (&str, Option<Key>)> {
    let key = |text: &str| text.starts_with('#').then(|| Name::of_room(text)).flatten().map(|name| name.key());
    list.split(',').filter(|text| !text.is_empty()).map(move |text| (text, key(text)))
}
