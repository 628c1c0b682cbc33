//! Registration: a client negotiates capabilities, gives its nickname and user, and becomes a member.

use std::io::{self, Write};

use super::message::IrcMessage;
use super::{IrcSession, first_word, numeric};
use crate::connection::Connection;
use crate::handler::chat::delivery::Delivery;
use crate::handler::chat::event::{MAX_TEXT, SERVER_NAME};
use crate::handler::chat::member_guard::MemberGuard;
use crate::handler::chat::name::{MEMBER_NAME_RULE, Name};
use crate::handler::chat::session::Session;
use crate::handler::chat::state::ChatError;
use crate::handler::chat::text::truncate;

/// The capabilities that the server offers: see [`Capabilities`].
const CAPABILITIES: &str = "echo-message server-time";

/// The longest user name, without the `~` that marks it as unverified.
const MAX_USER_NAME: usize = 10;

/// The capabilities that a client has enabled.
#[derive(Clone, Copy, Default)]
pub(super) struct Capabilities {
    /// The client gets copies of its own messages.
    pub(super) echo_message: bool,
    /// Events carry their time.
    pub(super) server_time: bool,
}

pub(super) enum Registration<'a> {
    Pending(PendingRegistration),
    /// The client is a member.
    Done(MemberGuard<'a>),
}

/// What a client has sent of its registration.
#[derive(Default)]
pub(super) struct PendingRegistration {
    pub(super) name: Option<Name>,
    /// The user name and the real name.
    user: Option<(String, String)>,
    /// The client negotiates capabilities, until it sends `CAP END`.
    is_negotiating: bool,
    pub(super) delivery: Delivery,
}

impl IrcSession<'_> {
    /// Negotiates capabilities (IRCv3 capability negotiation).
    pub(super) fn cap(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let name = self.name();
        let subcommand = message.parameter(0).unwrap_or_default().to_ascii_uppercase();
        if let (Registration::Pending(pending), "LS" | "REQ") = (&mut self.registration, subcommand.as_str()) {
            pending.is_negotiating = true;
        }
        match subcommand.as_str() {
            "LS" => write!(client, ":{SERVER_NAME} CAP {name} LS :{CAPABILITIES}\r\n"),
            "LIST" => {
                let enabled =
                    [(self.capabilities.echo_message, "echo-message"), (self.capabilities.server_time, "server-time")];
                let list: Vec<&str> = enabled.into_iter().filter_map(|(is_on, name)| is_on.then_some(name)).collect();
                write!(client, ":{SERVER_NAME} CAP {name} LIST :{}\r\n", list.join(" "))
            }
            "REQ" => {
                let requested = message.parameter(1).unwrap_or_default();
                let changed = self.changed_capabilities(requested);
                let reply = if changed.is_some() { "ACK" } else { "NAK" };
                write!(client, ":{SERVER_NAME} CAP {name} {reply} :{}\r\n", truncate(requested, MAX_TEXT))?;
                if let Some(capabilities) = changed {
                    self.capabilities = capabilities;
                    let (id, dialect) = (self.id, self.dialect());
                    self.with_state(|state, _| state.set_dialect(id, dialect));
                }
                Ok(())
            }
            "END" => {
                if let Registration::Pending(pending) = &mut self.registration {
                    pending.is_negotiating = false;
                }
                self.register(client)
            }
            other => self.reply(
                client,
                numeric::ERR_INVALIDCAPCMD,
                format_args!("{} :Invalid CAP command", first_word(other)),
            ),
        }
    }

    /// The client's capabilities after a request that enables and (with a minus sign) disables some. `None` if the server
    /// doesn't offer one of them.
    fn changed_capabilities(&self, requested: &str) -> Option<Capabilities> {
        let mut capabilities = self.capabilities;
        for change in requested.split_whitespace() {
            match change.strip_prefix('-').map_or((change, true), |name| (name, false)) {
                ("echo-message", is_on) => capabilities.echo_message = is_on,
                ("server-time", is_on) => capabilities.server_time = is_on,
                _ => return None,
            }
        }
        Some(capabilities)
    }

    pub(super) fn nick(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let Some(nickname) = message.parameter(0) else {
            return self.reply(client, numeric::ERR_NONICKNAMEGIVEN, ":No nickname given");
        };
        let Some(name) = Name::parse_member(nickname) else {
            return self.reply(
                client,
                numeric::ERR_ERRONEUSNICKNAME,
                format_args!("{} :{}", first_word(nickname), MEMBER_NAME_RULE),
            );
        };
        // The replies so far must arrive before the events that this command causes.
        self.flush_reply(client)?;
        let id = self.id;
        match &mut self.registration {
            Registration::Pending(pending) => {
                // Refuses the nickname at once, not only at the end of the registration, so that the client can choose another.
                if self.chat.lock_state().is_taken(&name) {
                    return self.refuse(client, ChatError::NameTaken, "", name.as_str());
                }
                pending.name = Some(name);
                self.register(client)
            }
            Registration::Done(_) => {
                let outcome = self.with_state(|state, delivery| state.rename(id, name.clone(), delivery));
                outcome.or_else(|_| self.refuse(client, ChatError::NameTaken, "", name.as_str()))
            }
        }
    }

    pub(super) fn user(&mut self, client: &mut Connection, message: &IrcMessage) -> io::Result<()> {
        let Registration::Pending(pending) = &mut self.registration else {
            return self.reply(client, numeric::ERR_ALREADYREGISTERED, ":You are registered already");
        };
        let (Some(user), Some(real_name)) = (message.parameter(0), message.parameter(3)) else {
            return self.need_more_params(client, "USER");
        };
        let mut user: String = user.chars().filter(char::is_ascii_alphanumeric).take(MAX_USER_NAME).collect();
        if user.is_empty() {
            "user".clone_into(&mut user);
        }
        pending.user = Some((format!("~{user}"), truncate(real_name, MAX_TEXT / 3).to_owned()));
        self.register(client)
    }

    /// Makes the client a member once its registration is complete.
    fn register(&mut self, client: &mut Connection) -> io::Result<()> {
        let dialect = self.dialect();
        let Registration::Pending(pending) = &mut self.registration else { return Ok(()) };
        let (Some(name), Some((user, real_name)), false) = (&pending.name, &pending.user, pending.is_negotiating)
        else {
            return Ok(());
        };
        let added = {
            let mut state = self.chat.lock_state();
            let added = state.add_member(self.id, Some(name.clone()), dialect, self.outbox.clone());
            if added.is_ok() {
                state.set_user(self.id, user.clone(), real_name.clone());
            }
            added
        };
        if added.is_err() {
            // Another client has taken the name since NICK.
            let name = pending.name.take();
            return name.map_or(Ok(()), |name| self.refuse(client, ChatError::NameTaken, "", name.as_str()));
        }
        let guard = MemberGuard::new(self.chat, client);
        self.registration = Registration::Done(guard);
        self.welcome(client)
    }
}
