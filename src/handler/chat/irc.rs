//! The dialect of IRC clients: RFC 1459 and RFC 2812, as <https://modern.ircdocs.horse> describes their use today.
//!
//! This file has the session, and dispatches its commands to the methods in `irc/`.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

use super::Chat;
use super::delivery::Delivery;
use super::event::{ChatDialect, MAX_IRC_LINE, MAX_TEXT, SERVER_NAME};
use super::line_reader::{InputLine, LineReader};
use super::name::{Name, NameKey};
use super::session::{Flow, Session, run_session_from};
use super::state::{ChatError, ChatState};
use super::text::truncate;
use crate::Outbox;
use crate::connection::Connection;
use crate::handler::FarewellReason;

mod channels;
mod message;
mod numeric;
mod registration;
mod server_info;
mod users;

use message::IrcMessage;
use registration::{Capabilities, PendingRegistration, Registration};

/// Reasons for closing a client.
pub(super) const REGISTRATION_TIMEOUT: &str = "registration timeout";
pub(super) const FLOOD: &str = "Excess Flood";

/// Serves an IRC client from the first line on.
///
/// # Errors
///
/// The connection's errors.
pub(super) fn serve(chat: &Chat, client: &mut Connection, first: InputLine, lines: &mut LineReader) -> io::Result<()> {
    client.set_farewell(farewell);
    let mut session = IrcSession {
        chat,
        id: client.id(),
        outbox: client.outbox()?,
        registration: Registration::Pending(PendingRegistration::default()),
        capabilities: Capabilities::default(),
        registration_deadline: Instant::now() + client.limits().request_timeout,
        last_line: Instant::now(),
        ping_sent: None,
    };
    let outcome = run_session_from(first, &mut session, client, lines);
    if let Registration::Done(guard) = &mut session.registration {
        guard.set_quit_reason(&outcome);
    }
    outcome
}

/// The farewell as an IRC ERROR message.
pub(super) fn farewell(reason: FarewellReason) -> Cow<'static, [u8]> {
    let reason = match reason {
        FarewellReason::TooSlow => "SendQ exceeded: you read too slowly".to_owned(),
        other => other.to_string(),
    };
    format!("ERROR :Closing link: {reason}\r\n").into_bytes().into()
}

struct IrcSession<'a> {
    chat: &'a Chat,
    id: u64,
    outbox: Outbox,
    registration: Registration<'a>,
    capabilities: Capabilities,
    /// When a client that has not registered is closed.
    registration_deadline: Instant,
    /// When the client's last line arrived.
    last_line: Instant,
    /// When a PING was sent, if no line has arrived since.
    ping_sent: Option<Instant>,
}

impl Session for IrcSession<'_> {
    fn on_line(&mut self, client: &mut Connection, line: InputLine) -> io::Result<Flow> {
        self.last_line = Instant::now();
        self.ping_sent = None;
        let InputLine::Complete(bytes) = line else {
            refuse_long_line(client, &self.name())?;
            return Ok(Flow::Continue);
        };
        let text = String::from_utf8_lossy(&bytes);
        let Some(message) = IrcMessage::parse(&text) else { return Ok(Flow::Continue) };
        if matches!(text, Cow::Owned(_)) && !self.accepts_repaired(client, &message)? {
            return Ok(Flow::Continue);
        }
        self.on_message(client, &message)
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.registration {
            Registration::Pending(_) => Some(self.registration_deadline),
            Registration::Done(_) => self.ping_sent.unwrap_or(self.last_line).checked_add(self.chat.options.ping),
        }
    }

    fn on_deadline(&mut self, client: &mut Connection) -> io::Result<Flow> {
        match (&self.registration, self.ping_sent) {
            (Registration::Pending(_), _) => self.close(client, REGISTRATION_TIMEOUT),
            (Registration::Done(_), Some(_)) => self.close(client, "ping timeout"),
            (Registration::Done(_), None) => {
                self.ping_sent = Some(Instant::now());
                write!(client, "PING :{SERVER_NAME}\r\n")?;
                Ok(Flow::Continue)
            }
        }
    }

    fn on_flood(&mut self, client: &mut Connection) -> io::Result<()> {
        self.close(client, FLOOD).map(|_| ())
    }

    fn delivery(&mut self) -> &mut Delivery {
        match &mut self.registration {
            Registration::Pending(pending) => &mut pending.delivery,
            Registration::Done(guard) => &mut guard.delivery,
        }
    }

    fn farewell(reason: FarewellReason) -> Cow<'static, [u8]> {
        farewell(reason)
    }
}

impl IrcSession<'_> {
    /// Whether to execute a message whose line was not UTF-8 and was repaired with U+FFFD. If not, sends an error (IRCv3
    /// UTF8ONLY). The commands of the registration are executed: a repaired nickname is refused as malformed, and no password
    /// is checked.
    fn accepts_repaired(&self, client: &mut Connection, message: &IrcMessage) -> io::Result<bool> {
        match message.command.as_str() {
            "NICK" | "PASS" | "QUIT" => return Ok(true),
            "USER" => {
                write!(
                    client,
                    ":{SERVER_NAME} WARN USER INVALID_UTF8 :That was not UTF-8; your real name was repaired\r\n"
                )?;
                return Ok(true);
            }
            _ => {}
        }
        let is_text = !message.command.contains(char::REPLACEMENT_CHARACTER);
        let command = if is_text { first_word(&message.command) } else { "*" };
        write!(client, ":{SERVER_NAME} FAIL {command} INVALID_UTF8 :That was not UTF-8, and was ignored\r\n")?;
        Ok(false)
    }

    fn on_message(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<Flow> {
        if !matches!(message.command.as_str(), "PRIVMSG" | "NOTICE") {
            // Sending the reply may wait for this client. Messages for other members should not.
            self.delivery().flush();
        }
        match message.command.as_str() {
            "CAP" => self.cap(client, message)?,
            "NICK" => self.nick(client, message)?,
            "USER" => self.user(client, message)?,
            "PING" => match message.parameter(0) {
                Some(token) => write!(client, ":{SERVER_NAME} PONG {SERVER_NAME} :{}\r\n", truncate(token, MAX_TEXT))?,
                None => self.need_more_params(client, "PING")?,
            },
            // The chat has no passwords. For PONG there is nothing to do, because every line resets the PING timer.
            "PASS" if matches!(self.registration, Registration::Done(_)) => {
                self.reply(client, numeric::ERR_ALREADYREGISTERED, ":You are registered already")?;
            }
            "PONG" | "PASS" | "ERROR" => {}
            "QUIT" => {
                let reason = truncate(message.parameter(0).unwrap_or("quit"), MAX_TEXT).to_owned();
                return self.close(client, &reason);
            }
            command if matches!(self.registration, Registration::Pending(_)) => {
                self.reply(
                    client,
                    numeric::ERR_NOTREGISTERED,
                    format_args!("{} :Say NICK and USER first", truncate(command, 50)),
                )?;
            }
            "JOIN" => self.join(client, message)?,
            "PART" => self.part(client, message)?,
            "TOPIC" => self.topic(client, message)?,
            "NAMES" => self.names(client, message)?,
            "LIST" => self.list(client, message)?,
            "KICK" => self.kick(client, message)?,
            "MODE" => self.mode(client, message)?,
            "PRIVMSG" | "NOTICE" => self.send_message(client, message)?,
            "WHO" => self.who(client, message)?,
            "WHOIS" => self.whois(client, message)?,
            "AWAY" => self.away(client, message)?,
            "ISON" => self.ison(client, message)?,
            "USERHOST" => self.userhost(client, message)?,
            "MOTD" => self.motd(client)?,
            "LUSERS" => self.lusers(client)?,
            "VERSION" => self.version(client)?,
            "TIME" => self.time(client)?,
            command => self.reply(
                client,
                numeric::ERR_UNKNOWNCOMMAND,
                format_args!("{} :Unknown command", truncate(command, 50)),
            )?,
        }
        Ok(Flow::Continue)
    }

    /// Sends an ERROR message with the reason, and ends the session.
    fn close(&mut self, client: &mut Connection, reason: &str) -> io::Result<Flow> {
        if let Registration::Done(guard) = &mut self.registration {
            reason.clone_into(&mut guard.quit_reason);
        }
        write_error(client, reason)?;
        Ok(Flow::Close)
    }

    fn dialect(&self) -> ChatDialect {
        if self.capabilities.server_time { ChatDialect::IrcWithTime } else { ChatDialect::Irc }
    }

    /// The client's nickname; `*` while it has none.
    fn name(&self) -> Cow<'static, str> {
        let name = match &self.registration {
            Registration::Pending(pending) => pending.name.as_ref().map(ToString::to_string),
            Registration::Done(_) => {
                self.chat.lock_state().member(self.id).map(|member| member.identity.name.to_string())
            }
        };
        name.map_or("*".into(), Cow::from)
    }

    /// Writes a numeric reply.
    fn reply(&self, client: &mut Connection, number: u16, text: impl Display) -> io::Result<()> {
        client.write_all(numeric_reply(number, &self.name(), text).as_bytes())
    }

    fn need_more_params(&self, client: &mut Connection, command: &str) -> io::Result<()> {
        self.reply(client, numeric::ERR_NEEDMOREPARAMS, format_args!("{command} :Not enough parameters"))
    }

    /// Writes the numeric reply for an error about a room, or about the member `target`.
    fn refuse(&self, client: &mut Connection, error: ChatError, room: &str, target: &str) -> io::Result<()> {
        let (room, target) = (first_word(room), first_word(target));
        match error {
            ChatError::NameTaken => {
                self.reply(client, numeric::ERR_NICKNAMEINUSE, format_args!("{target} :Nickname is already in use"))
            }
            ChatError::NoSuchMember => {
                self.reply(client, numeric::ERR_NOSUCHNICK, format_args!("{target} :No such nick or channel"))
            }
            ChatError::NoSuchRoom => {
                self.reply(client, numeric::ERR_NOSUCHCHANNEL, format_args!("{room} :No such channel"))
            }
            ChatError::NotInRoom => {
                self.reply(client, numeric::ERR_NOTONCHANNEL, format_args!("{room} :You are not on that channel"))
            }
            ChatError::TargetNotInRoom => self.reply(
                client,
                numeric::ERR_USERNOTINCHANNEL,
                format_args!("{target} {room} :They are not on that channel"),
            ),
            ChatError::NotOperator => self.reply(
                client,
                numeric::ERR_CHANOPRIVSNEEDED,
                format_args!("{room} :You are not the channel's operator"),
            ),
            ChatError::LimitReached => {
                self.reply(client, numeric::ERR_TOOMANYCHANNELS, format_args!("{room} :You are on too many channels"))
            }
        }
    }

    /// Like [`Chat::with_state`], with this session's delivery.
    fn with_state<T>(&mut self, act: impl FnOnce(&mut ChatState, &mut Delivery) -> T) -> T {
        let chat = self.chat;
        chat.with_state(self.delivery(), act)
    }
}

/// Writes an ERROR message, the last line of a session.
pub(super) fn write_error(client: &mut Connection, reason: &str) -> io::Result<()> {
    write!(client, "ERROR :Closing link: {reason}\r\n")
}

pub(super) fn refuse_long_line(client: &mut Connection, name: &str) -> io::Result<()> {
    client.write_all(
        numeric_reply(numeric::ERR_INPUTTOOLONG, name, format_args!(":That line is longer than {MAX_IRC_LINE} bytes"))
            .as_bytes(),
    )
}

/// A numeric reply to the client with that nickname.
fn numeric_reply(number: u16, client: &str, text: impl Display) -> String {
    format!(":{SERVER_NAME} {number:03} {client} {text}\r\n")
}

/// The first word of a client's parameter, shortened so that a reply can repeat it.
fn first_word(text: &str) -> &str {
    let first = text.split(' ').next().unwrap_or_default();
    if first.is_empty() { "*" } else { truncate(first, 50) }
}

/// Parses a list such as `#a,#b`. Each item is a word of the client, and the room's name if the word is one.
fn parse_rooms(list: &str) -> impl Iterator<Item = (&str, Option<Name>)> {
    list.split(',').filter(|word| !word.is_empty()).map(|word| (word, parse_room(word)))
}

/// Parses a room's name, which begins with `#` in IRC.
fn parse_room(word: &str) -> Option<Name> {
    if word.starts_with('#') { Name::parse_room(word) } else { None }
}

/// The key of the first room in a list, for commands that take only one.
fn first_room(list: &str) -> Option<NameKey> {
    let (_, room) = parse_rooms(list).next()?;
    room.map(|room| room.key())
}
