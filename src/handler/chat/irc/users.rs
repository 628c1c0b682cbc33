//! Commands about users: messages to channels and users, and queries about users.

use std::io;

use super::{IrcMessage, IrcSession, first_room, first_word, numeric, numeric_reply};
use crate::connection::Connection;
use crate::handler::chat::LIST_CHUNK;
use crate::handler::chat::event::{HOST, MAX_IRC_LINE, MAX_TEXT, MessageKind, SERVER_DESCRIPTION, SERVER_NAME};
use crate::handler::chat::member::Member;
use crate::handler::chat::name::{Name, NameKey};
use crate::handler::chat::room::Room;
use crate::handler::chat::session::Session;
use crate::handler::chat::state::{ChatError, OutgoingMessage};
use crate::handler::chat::text::truncate;

/// How many channels and users a message can go to.
pub(super) const MAX_TARGETS: usize = 4;

impl IrcSession<'_> {
    /// PRIVMSG and NOTICE. A NOTICE gets no reply, not even an error (RFC 2812, 3.3.2).
    pub(super) fn send_message(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let is_notice = message.command == "NOTICE";
        let (Some(targets), Some(text)) = (message.parameter(0), message.parameters.get(1)) else {
            return match message.parameter(0) {
                _ if is_notice => Ok(()),
                None => self.reply(
                    client,
                    numeric::ERR_NORECIPIENT,
                    format_args!(":No recipient given ({})", message.command),
                ),
                Some(_) => self.reply(client, numeric::ERR_NOTEXTTOSEND, ":No text to send"),
            };
        };
        let kind = match message.ctcp.as_deref() {
            None if is_notice => MessageKind::Notice,
            None => MessageKind::Message,
            Some(_) if is_notice => return Ok(()),
            Some("ACTION") => MessageKind::Action,
            Some(_) => {
                let text = format_args!("{} :Of CTCP only ACTION is passed on", first_word(targets));
                return self.reply(client, numeric::ERR_CANNOTSENDTOCHAN, text);
            }
        };
        if text.is_empty() {
            return if is_notice { Ok(()) } else { self.reply(client, numeric::ERR_NOTEXTTOSEND, ":No text to send") };
        }
        if targets.split(',').count() > MAX_TARGETS && !is_notice {
            return self.reply(
                client,
                numeric::ERR_TOOMANYTARGETS,
                format_args!("{} :Too many targets", first_word(targets)),
            );
        }
        for target in targets.split(',').take(MAX_TARGETS) {
            self.send_to_target(client, target, OutgoingMessage { kind, text, echo: self.capabilities.echo_message })?;
        }
        Ok(())
    }

    fn send_to_target(
        &mut self,
        client: &mut Connection,
        target: &str,
        message: OutgoingMessage<'_>,
    ) -> io::Result<()> {
        // The message may come back to the client. The replies so far must arrive before it.
        if message.echo || !target.starts_with('#') {
            self.flush_reply(client)?;
        }
        let outcome = if target.starts_with('#') {
            self.send_to_channel(target, message).map(|()| None)
        } else {
            self.send_to_user(target, message)
        };
        match outcome {
            _ if message.kind == MessageKind::Notice => Ok(()),
            Ok(None) => Ok(()),
            Ok(Some(away)) => self.reply(client, numeric::RPL_AWAY, away),
            Err(ChatError::NotInRoom) => self.reply(
                client,
                numeric::ERR_CANNOTSENDTOCHAN,
                format_args!("{} :Join that channel to talk there", first_word(target)),
            ),
            Err(error) => self.refuse(client, error, target, target),
        }
    }

    fn send_to_channel(&mut self, channel: &str, message: OutgoingMessage<'_>) -> Result<(), ChatError> {
        let key = first_room(channel).ok_or(ChatError::NoSuchRoom)?;
        let id = self.id;
        self.with_state(|state, delivery| state.send_to_room(id, &key, message, delivery))
    }

    /// Returns the text of an away reply if the user is away.
    fn send_to_user(&mut self, user: &str, message: OutgoingMessage<'_>) -> Result<Option<String>, ChatError> {
        let name = Name::parse_member(user).ok_or(ChatError::NoSuchMember)?;
        let id = self.id;
        let (name, away) =
            self.with_state(|state, delivery| state.send_to_member(id, &name.key(), message, delivery))?;
        Ok(away.map(|away| format!("{name} :{away}")))
    }

    /// WHO lists the members of a channel, one user, or (`*`) all users who share a channel with the client. Other users are
    /// invisible.
    pub(super) fn who(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let mask = message.parameter(0).unwrap_or("*");
        if mask.starts_with('#') {
            if let Some(key) = first_room(mask) {
                self.write_who_list(client, &key)?;
            }
        } else if let "*" | "0" = mask {
            let (id, name) = (self.id, self.name());
            let mut members = self.with_state(|state, _| state.members_sharing_rooms(id)).into_iter();
            self.chat.write_list(client, |state| {
                let line = |id| Some(numeric_reply(numeric::RPL_WHOREPLY, &name, who_line(state.member(id)?, None)));
                members.by_ref().filter_map(line).take(LIST_CHUNK).collect()
            })?;
        } else {
            let line = self.with_state(|state, _| {
                let member = state.member_by_name(&Name::parse_member(mask)?.key())?;
                Some(who_line(member, None))
            });
            line.map_or(Ok(()), |line| self.reply(client, numeric::RPL_WHOREPLY, line))?;
        }
        self.reply(client, numeric::RPL_ENDOFWHO, format_args!("{} :End of WHO list", first_word(mask)))
    }

    /// Writes the lines of WHO for a room.
    fn write_who_list(&self, client: &mut Connection, key: &NameKey) -> io::Result<()> {
        let name = self.name();
        self.chat.write_member_list(client, key, LIST_CHUNK, |room, chunk| {
            chunk
                .iter()
                .map(|(_, member)| numeric_reply(numeric::RPL_WHOREPLY, &name, who_line(member, Some(room))))
                .collect()
        })
    }

    pub(super) fn whois(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        // `WHOIS server nick` asks another server. There is no other, so only the nickname counts.
        let Some(nickname) = message.parameter(1).or(message.parameter(0)) else {
            return self.reply(client, numeric::ERR_NONICKNAMEGIVEN, ":No nickname given");
        };
        let lines = self.with_state(|state, _| {
            let member = state.member_by_name(&Name::parse_member(nickname)?.key())?;
            let name = &member.identity.name;
            let rooms: Vec<String> = member
                .rooms
                .iter()
                .filter_map(|key| state.room(key))
                .map(|room| format!("{}#{}", if room.operator() == Some(member.id) { "@" } else { "" }, room.name))
                .collect();
            let mut lines = vec![(
                numeric::RPL_WHOISUSER,
                format!("{name} {} {HOST} * :{}", member.identity.user, member.real_name),
            )];
            lines.extend(
                rooms.chunks(10).map(|chunk| (numeric::RPL_WHOISCHANNELS, format!("{name} :{}", chunk.join(" ")))),
            );
            lines.push((numeric::RPL_WHOISSERVER, format!("{name} {SERVER_NAME} :{SERVER_DESCRIPTION}")));
            lines.extend(member.away.as_ref().map(|away| (numeric::RPL_AWAY, format!("{name} :{away}"))));
            let idle = member.last_message.elapsed().as_secs();
            lines.push((
                numeric::RPL_WHOISIDLE,
                format!("{name} {idle} {} :seconds idle, signon time", member.signed_on.as_second()),
            ));
            Some(lines)
        });
        match lines {
            None => self.refuse(client, ChatError::NoSuchMember, "", nickname)?,
            Some(lines) => lines.iter().try_for_each(|(number, line)| self.reply(client, *number, line))?,
        }
        self.reply(client, numeric::RPL_ENDOFWHOIS, format_args!("{} :End of WHOIS list", first_word(nickname)))
    }

    pub(super) fn away(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let id = self.id;
        let away = message.parameter(0).map(|text| truncate(text, MAX_TEXT).to_owned());
        let is_away = away.is_some();
        self.with_state(|state, _| state.set_away(id, away));
        if is_away {
            self.reply(client, numeric::RPL_NOWAWAY, ":You are marked as away")
        } else {
            self.reply(client, numeric::RPL_UNAWAY, ":You are no longer marked as away")
        }
    }

    pub(super) fn ison(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let online = self.describe_online(message, usize::MAX, |member| member.identity.name.to_string());
        // With this client's own name, the reply can be longer than the line that asked.
        let max_length = MAX_IRC_LINE - format!(":{SERVER_NAME} 303 {} :\r\n", self.name()).len();
        let online = online.join(" ");
        let last_space =
            if online.len() > max_length { online.get(..=max_length).and_then(|fits| fits.rfind(' ')) } else { None };
        self.reply(client, numeric::RPL_ISON, format_args!(":{}", truncate(&online, last_space.unwrap_or(max_length))))
    }

    pub(super) fn userhost(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let online = self.describe_online(message, 5, |member| {
            let sign = if member.away.is_some() { '-' } else { '+' };
            format!("{}={sign}{}@{HOST}", member.identity.name, member.identity.user)
        });
        self.reply(client, numeric::RPL_USERHOST, format_args!(":{}", online.join(" ")))
    }

    /// Describes those of the first `max_names` nicknames in a message's parameters that belong to a member.
    fn describe_online(
        &mut self,
        message: &IrcMessage,
        max_names: usize,
        describe: impl Fn(&Member) -> String,
    ) -> Vec<String> {
        self.with_state(|state, _| {
            let names = message.parameters.iter().flat_map(|list| list.split(' ')).filter_map(Name::parse_member);
            names.take(max_names).filter_map(|name| state.member_by_name(&name.key()).map(&describe)).collect()
        })
    }
}

/// A line of WHO: `<channel> <user> <host> <server> <nick> <flags> :<hops> <real name>`.
fn who_line(member: &Member, room: Option<&Room>) -> String {
    let is_operator = room.is_some_and(|room| room.operator() == Some(member.id));
    let channel = room.map_or("*".to_owned(), |room| format!("#{}", room.name));
    let flags = [if member.away.is_some() { "G" } else { "H" }, if is_operator { "@" } else { "" }].concat();
    let (name, user) = (&member.identity.name, &member.identity.user);
    format!("{channel} {user} {HOST} {SERVER_NAME} {name} {flags} :0 {}", member.real_name)
}
