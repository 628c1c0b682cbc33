//! Registration: how a client says who it is, and becomes a member.

use std::io::{self, Write};

use super::message::Message;
use super::{Irc, word};
use crate::connection::Connection;
use crate::handler::chat::event::{LONGEST_TEXT, SERVER};
use crate::handler::chat::mail::Mail;
use crate::handler::chat::name::{Name, RULE};
use crate::handler::chat::session::{Place, Session};
use crate::handler::chat::text::at_most;

/// The longest name of a user, without the `~` that says that nobody has checked it.
const LONGEST_OF_USER: usize = 10;

pub(super) enum Stage<'a> {
    /// Has not said yet who it is.
    Stranger(Stranger),
    Member(Place<'a>),
}

#[derive(Default)]
pub(super) struct Stranger {
    pub(super) name: Option<Name>,
    /// The name of the user, and the real name.
    user: Option<(String, String)>,
    /// Capabilities are being negotiated, which `CAP END` ends.
    is_negotiating: bool,
    pub(super) mail: Mail,
}

impl Irc<'_> {
    /// Capabilities (IRCv3 capability negotiation).
    pub(super) fn cap(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
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

    pub(super) fn nick(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
        let Some(wish) = message.parameter(0) else {
            return self.reply(client, 431, ":No nickname given");
        };
        let Some(name) = Name::of_member(wish) else {
            return self.reply(client, 432, format_args!("{} :{}", word(wish), RULE));
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

    pub(super) fn user(&mut self, client: &mut Connection, message: &Message) -> io::Result<()> {
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
}
