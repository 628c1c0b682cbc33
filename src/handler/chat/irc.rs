//! The dialect of IRC clients: RFC 1459 and 2812 as <https://modern.ircdocs.horse> has them today.
//!
//! This file is the session: who the client is, and which of its commands is done where.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

use super::event::{Dialect, LONGEST_OF_IRC, LONGEST_TEXT, SERVER};
use super::hall::{Hall, Refusal};
use super::lines::{Line, Lines};
use super::mail::Mail;
use super::name::{Key, Name};
use super::text::at_most;
use super::{Chat, Place, Session, Then, attend};
use crate::Outbox;
use crate::connection::Connection;
use crate::handler::Farewell;

mod about;
mod message;
mod people;
mod rooms;

use message::Message;

/// The longest name of a user, without the `~` that says that nobody has checked it.
const LONGEST_OF_USER: usize = 10;

/// A conversation in this dialect.
///
/// # Errors
///
/// The connection's.
pub(super) fn converse(chat: &Chat, client: &mut Connection) -> io::Result<()> {
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
    let outcome = attend(&mut session, client, Lines::new(LONGEST_OF_IRC, chat.options.rate));
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

enum Stage<'a> {
    /// Has not said yet who it is.
    Stranger(Stranger),
    Member(Place<'a>),
}

#[derive(Default)]
struct Stranger {
    name: Option<Name>,
    /// The name of the user, and the real name.
    user: Option<(String, String)>,
    /// Capabilities are being negotiated, which `CAP END` ends.
    is_negotiating: bool,
    mail: Mail,
}

impl Session for Irc<'_> {
    fn hear(&mut self, client: &mut Connection, line: Line) -> io::Result<Then> {
        self.heard = Instant::now();
        self.pinged = None;
        let Line::Whole(bytes) = line else {
            self.reply(client, 417, format_args!(":That line is longer than {LONGEST_OF_IRC} bytes"))?;
            return Ok(Then::Continue);
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            write!(client, ":{SERVER} NOTICE {} :That line is not UTF-8, and was ignored\r\n", self.name())?;
            return Ok(Then::Continue);
        };
        match Message::parse(text) {
            Some(message) => self.act(client, &message),
            None => Ok(Then::Continue),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Stranger(_) => Some(self.patience),
            Stage::Member(_) => self.pinged.unwrap_or(self.heard).checked_add(self.chat.options.ping),
        }
    }

    fn wonder(&mut self, client: &mut Connection) -> io::Result<Then> {
        match (&self.stage, self.pinged) {
            (Stage::Stranger(_), _) => self.close(client, "registration timeout"),
            (Stage::Member(_), Some(_)) => self.close(client, "ping timeout"),
            (Stage::Member(_), None) => {
                self.pinged = Some(Instant::now());
                write!(client, "PING :{SERVER}\r\n")?;
                Ok(Then::Continue)
            }
        }
    }

    fn object(&mut self, client: &mut Connection) -> io::Result<()> {
        self.close(client, "Excess Flood").map(|_| ())
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

    /// Capabilities (IRCv3 capability negotiation).
    fn cap(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        const ALL: &str = "echo-message server-time";
        let name = self.name();
        let subcommand = message.parameter(0).unwrap_or_default().to_ascii_uppercase();
        if let (Stage::Stranger(stranger), "LS" | "REQ") = (&mut self.stage, subcommand.as_str()) {
            stranger.is_negotiating = true;
        }
        match subcommand.as_str() {
            "LS" => write!(client, ":{SERVER} CAP {name} LS :{ALL}\r\n"),
            "LIST" => {
                let has = [(self.is_echoed, "echo-message"), (self.is_timed, "server-time")];
                let list: Vec<&str> = has.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
                write!(client, ":{SERVER} CAP {name} LIST :{}\r\n", list.join(" "))
            }
            "REQ" => {
                let asked = message.parameter(1).unwrap_or_default();
                let words = || {
                    asked
                        .split_whitespace()
                        .map(|word| word.strip_prefix('-').map_or((word, true), |word| (word, false)))
                };
                let is_known = words().all(|(word, _)| ALL.split(' ').any(|known| known == word));
                let answer = if is_known { "ACK" } else { "NAK" };
                write!(client, ":{SERVER} CAP {name} {answer} :{}\r\n", at_most(asked, LONGEST_TEXT))?;
                for (word, is_on) in words().filter(|_| is_known) {
                    match word {
                        "echo-message" => self.is_echoed = is_on,
                        _ => self.is_timed = is_on,
                    }
                }
                let (id, dialect) = (self.id, self.dialect());
                self.hall(|hall, _| hall.set_dialect(id, dialect));
                Ok(())
            }
            "END" => {
                if let Stage::Stranger(stranger) = &mut self.stage {
                    stranger.is_negotiating = false;
                }
                self.register(client)
            }
            other => self.reply(client, 410, format_args!("{} :Invalid CAP command", word(other))),
        }
    }

    fn nick(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Some(wish) = message.parameter(0) else {
            return self.reply(client, 431, ":No nickname given");
        };
        let Some(name) = Name::of_member(wish) else {
            return self.reply(client, 432, format_args!("{} :{}", word(wish), super::name::RULE));
        };
        // What was answered before is to be read before what others say.
        self.settle(client)?;
        let id = self.id;
        match &mut self.stage {
            Stage::Stranger(stranger) => {
                // Told at once, so that the client can think of another one.
                if self.chat.hall().is_taken(&name) {
                    return self.reply(client, 433, format_args!("{name} :Nickname is already in use"));
                }
                stranger.name = Some(name);
                self.register(client)
            }
            Stage::Member(_) => match self.hall(|hall, mail| hall.rename(id, name.clone(), mail)) {
                Ok(()) => Ok(()),
                Err(_) => self.reply(client, 433, format_args!("{name} :Nickname is already in use")),
            },
        }
    }

    fn user(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Stage::Stranger(stranger) = &mut self.stage else {
            return self.reply(client, 462, ":You are registered already");
        };
        let (Some(user), Some(real_name)) = (message.parameter(0), message.parameter(3)) else {
            return self.needs_more(client, "USER");
        };
        let mut user: String = user.chars().filter(char::is_ascii_alphanumeric).take(LONGEST_OF_USER).collect();
        if user.is_empty() {
            "user".clone_into(&mut user);
        }
        stranger.user = Some((format!("~{user}"), at_most(real_name, LONGEST_TEXT / 3).to_owned()));
        self.register(client)
    }

    /// Makes a member of a stranger who has said all that is needed.
    fn register(&mut self, client: &mut Connection) -> io::Result<()> {
        let dialect = self.dialect();
        let Stage::Stranger(stranger) = &mut self.stage else { return Ok(()) };
        let (Some(name), Some((user, real_name)), false) = (&stranger.name, &stranger.user, stranger.is_negotiating)
        else {
            return Ok(());
        };
        let entered = {
            let mut hall = self.chat.hall();
            let entered = hall.enter(self.id, Some(name.clone()), dialect, self.outbox.clone());
            if entered.is_ok() {
                hall.introduce(self.id, user.clone(), real_name.clone());
            }
            entered
        };
        if entered.is_err() {
            // Somebody was faster.
            let name = stranger.name.take();
            return name
                .map_or(Ok(()), |name| self.reply(client, 433, format_args!("{name} :Nickname is already in use")));
        }
        let place = Place::new(self.chat, client);
        self.stage = Stage::Member(place);
        self.welcome(client)
    }

    /// Says why, and ends the session.
    fn close(&mut self, client: &mut Connection, reason: &str) -> io::Result<Then> {
        if let Stage::Member(place) = &mut self.stage {
            reason.clone_into(&mut place.reason);
        }
        write!(client, "ERROR :Closing link: {reason}\r\n")?;
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
