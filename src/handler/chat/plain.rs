//! The dialect for people at `nc` and telnet: a line is a message to their room, or a command if it begins with a slash.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

use super::Chat;
use super::delivery::Delivery;
use super::event::{ChatDialect, MAX_TEXT, MessageKind};
use super::line_reader::{InputLine, LineReader};
use super::member::Member;
use super::member_guard::MemberGuard;
use super::name::{MEMBER_NAME_RULE, Name, NameKey, ROOM_NAME_RULE};
use super::room::Room;
use super::session::{Flow, Session, run_session_from};
use super::state::{ChatError, ChatState, OutgoingMessage};
use super::text::{sanitize, truncate};
use crate::connection::Connection;
use crate::handler::FarewellReason;

/// The longest line, with its end, in bytes.
pub(super) const MAX_LINE: usize = 4096;

/// How many names `/who` lists in a line.
const NAMES_PER_LINE: usize = 8;

/// The room that everyone joins first.
const LOBBY: &str = "lobby";

/// The commands and what they do, for `/help`.
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
pub(super) struct PlainSession<'a> {
    guard: MemberGuard<'a>,
    /// The room that messages go to. A kicked member is no longer in it: see [`current_room`](PlainSession::current_room).
    room: Option<NameKey>,
}

/// Runs a person's session from the first line on.
///
/// # Errors
///
/// The connection's errors.
pub(super) fn serve(
    mut session: PlainSession<'_>,
    client: &mut Connection,
    first: InputLine,
    lines: &mut LineReader,
) -> io::Result<()> {
    let outcome = run_session_from(first, &mut session, client, lines);
    session.guard.set_quit_reason(&outcome);
    outcome
}

impl Session for PlainSession<'_> {
    fn on_line(&mut self, client: &mut Connection, line: InputLine) -> io::Result<Flow> {
        let InputLine::Complete(bytes) = line else {
            refuse_long_line(client)?;
            return Ok(Flow::Continue);
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            notice(client, "that line is not UTF-8 text; nothing was said")?;
            return Ok(Flow::Continue);
        };
        let text = sanitize(text);
        self.on_text(client, text.trim_end())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn on_deadline(&mut self, _client: &mut Connection) -> io::Result<Flow> {
        Ok(Flow::Continue)
    }

    fn on_flood(&mut self, client: &mut Connection) -> io::Result<()> {
        "flood".clone_into(&mut self.guard.quit_reason);
        refuse_flood(client)
    }

    fn delivery(&mut self) -> &mut Delivery {
        &mut self.guard.delivery
    }

    fn farewell(reason: FarewellReason) -> Cow<'static, [u8]> {
        match reason {
            FarewellReason::Unfinished => b"* your last line was not complete; it was not said\n".into(),
            other => format!("* {other}\n").into_bytes().into(),
        }
    }
}

impl<'a> PlainSession<'a> {
    /// Adds the client to the chat as a guest, welcomes it, and makes it join the lobby.
    ///
    /// # Errors
    ///
    /// The connection's errors.
    pub(super) fn start(chat: &'a Chat, client: &mut Connection) -> io::Result<PlainSession<'a>> {
        client.set_farewell(PlainSession::farewell);
        let outbox = client.outbox()?;
        // This can't fail, because a guest gets a name that is free.
        let added = chat.lock_state().add_member(client.id(), None, ChatDialect::Plain, outbox);
        let name = added.map_err(|_| io::Error::other("no name is left for a guest"))?;
        let mut session = PlainSession { guard: MemberGuard::new(chat, client), room: None };
        session.welcome(client, &name)?;
        session.delivery().flush();
        Ok(session)
    }

    /// Leaves the chat with a reason that the others are told.
    pub(super) fn quit_with_reason(mut self, reason: &str) {
        reason.clone_into(&mut self.guard.quit_reason);
    }

    /// Leaves the chat with the reason that the outcome of the connection gives.
    pub(super) fn quit_after(mut self, outcome: &io::Result<()>) {
        self.guard.set_quit_reason(outcome);
    }

    fn welcome(&mut self, client: &mut Connection, name: &Name) -> io::Result<()> {
        let Some(lobby) = Name::parse_room(LOBBY) else { return Ok(()) };
        let people = PeopleAre(self.with_state(|state, _| state.member_count()));
        let welcome = format!(
            "* welcome, you are {name}; {people} here\n* what you type is said in your room; /help lists the commands\n"
        );
        self.join(client, &lobby, welcome)
    }

    fn on_text(&mut self, client: &mut Connection, text: &str) -> io::Result<Flow> {
        let Some(command) = text.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
            let message = text.strip_prefix('/').unwrap_or(text);
            if !message.is_empty() {
                self.say(client, MessageKind::Message, message)?;
            }
            return Ok(Flow::Continue);
        };
        // Sending the reply may wait for this client. Messages for other members should not.
        self.delivery().flush();
        let (command, argument) = command.split_once(' ').unwrap_or((command, ""));
        self.on_command(client, &command.to_ascii_lowercase(), argument.trim())
    }

    /// Executes a command. `command` is its name in lower case and without the slash.
    fn on_command(&mut self, client: &mut Connection, command: &str, argument: &str) -> io::Result<Flow> {
        match command {
            "name" | "nick" => self.rename(client, argument)?,
            "who" => self.list_members(client)?,
            "rooms" => self.list_rooms(client)?,
            "join" => match Name::parse_room(argument) {
                Some(room) => self.join(client, &room, String::new())?,
                None => notice(client, format_args!("{ROOM_NAME_RULE}: /join ROOM"))?,
            },
            "leave" => self.leave(client)?,
            "msg" => self.send_private(client, argument)?,
            "me" if argument.is_empty() => notice(client, "what do you do? /me waves")?,
            "me" => self.say(client, MessageKind::Action, argument)?,
            "topic" if argument.is_empty() => self.show_topic(client)?,
            "topic" => self.set_topic(client, argument)?,
            "away" => self.set_or_toggle_away(client, argument)?,
            "ignore" => self.toggle_ignore(client, argument)?,
            "history" => self.show_history(client)?,
            "help" => {
                for (command, help) in COMMANDS {
                    notice(client, format_args!("{command:<14}  {help}"))?;
                }
            }
            "quit" => {
                truncate(argument, MAX_TEXT).clone_into(&mut self.guard.quit_reason);
                notice(client, "goodbye")?;
                return Ok(Flow::Close);
            }
            unknown => notice(client, format_args!("there is no command /{unknown}; /help lists them"))?,
        }
        Ok(Flow::Continue)
    }

    fn say(&mut self, client: &mut Connection, kind: MessageKind, text: &str) -> io::Result<()> {
        let Some(room) = self.room.clone() else { return refuse_without_room(client) };
        let id = self.guard.id;
        let message = OutgoingMessage { kind, text, echo: false };
        self.with_state(|state, delivery| state.send_to_room(id, &room, message, delivery))
            .or_else(|_| refuse_without_room(client))
    }

    fn send_private(&mut self, client: &mut Connection, argument: &str) -> io::Result<()> {
        let (target, text) = argument.split_once(' ').unwrap_or((argument, ""));
        let text = text.trim();
        let (Some(target), false) = (Name::parse_member(target), text.is_empty()) else {
            return notice(client, "to whom, and what? /msg NAME TEXT");
        };
        // A member can write to themselves. The replies so far must arrive before the message.
        self.flush_reply(client)?;
        let id = self.guard.id;
        let message = OutgoingMessage { kind: MessageKind::Message, text, echo: false };
        match self.with_state(|state, delivery| state.send_to_member(id, &target.key(), message, delivery)) {
            Ok((name, Some(away))) => notice(client, format_args!("{name} is away: {away}")),
            Ok((_, None)) => Ok(()),
            Err(error) => refuse(client, error, &target),
        }
    }

    fn rename(&mut self, client: &mut Connection, name: &str) -> io::Result<()> {
        let Some(name) = Name::parse_member(name) else {
            return notice(client, format_args!("{MEMBER_NAME_RULE}: /name NEW"));
        };
        let id = self.guard.id;
        match self.with_state(|state, delivery| state.rename(id, name.clone(), delivery)) {
            Ok(()) => notice(client, format_args!("you are now {name}")),
            Err(error) => refuse(client, error, &name),
        }
    }

    /// Leaves the current room, joins another, and replies with `preface` and a description of the new room.
    fn join(&mut self, client: &mut Connection, room: &Name, preface: String) -> io::Result<()> {
        // The replies so far must arrive before the messages of the new room.
        self.flush_reply(client)?;
        let (id, key, current) = (self.guard.id, room.key(), self.current_room());
        if current.as_ref() == Some(&key) {
            return notice(client, format_args!("you are in {room} already"));
        }
        let outcome = self.with_state(|state, delivery| {
            if let Some(current) = current {
                state.part(id, &current, "", delivery)?;
            }
            state.join(id, room, delivery)?;
            let mut text = preface;
            if let Some(room) = state.room(&key) {
                text += &format!("* you are in {}; {} here\n", room.name, PeopleAre(room.member_count()));
                text += &room.topic.as_ref().map_or(String::new(), |topic| format!("* topic: {}\n", topic.text));
            }
            state.queue_reply(id, text, delivery);
            Ok(())
        });
        match outcome {
            Ok(()) => {
                self.room = Some(key);
                Ok(())
            }
            Err(error) => refuse(client, error, room),
        }
    }

    fn leave(&mut self, client: &mut Connection) -> io::Result<()> {
        match Name::parse_room(LOBBY) {
            Some(lobby) if self.current_room().as_ref() != Some(&lobby.key()) => {
                self.join(client, &lobby, String::new())
            }
            _ => notice(client, "you are in the lobby; /quit leaves the chat"),
        }
    }

    fn list_members(&mut self, client: &mut Connection) -> io::Result<()> {
        let Some(key) = self.current_room() else { return refuse_without_room(client) };
        let room = self.with_state(|state, _| state.room(&key).map(|room| (room.name.clone(), room.member_count())));
        let Some((room, count)) = room else { return refuse_without_room(client) };
        notice(client, format_args!("{} in {room}:", PeopleAre(count)))?;
        let name = |member: &Member| match &member.away {
            Some(_) => format!("{} (away)", member.identity.name),
            None => member.identity.name.to_string(),
        };
        self.guard.chat.write_member_list(client, &key, NAMES_PER_LINE, |_, chunk| {
            let names: Vec<String> = chunk.iter().map(|(_, member)| name(member)).collect();
            vec![format!("* {}\n", names.join(", "))]
        })
    }

    fn list_rooms(&mut self, client: &mut Connection) -> io::Result<()> {
        let topic = |room: &Room| room.topic.as_ref().map_or(String::new(), |topic| format!(": {}", topic.text));
        let line = |room: &Room| format!("* {}, {} there{}\n", room.name, PeopleAre(room.member_count()), topic(room));
        self.guard.chat.write_room_list(client, line)
    }

    fn set_topic(&mut self, client: &mut Connection, text: &str) -> io::Result<()> {
        let Some(key) = self.current_room() else { return refuse_without_room(client) };
        // The replies so far must arrive before the event, which this member gets too.
        self.flush_reply(client)?;
        let (id, text) = (self.guard.id, truncate(text, MAX_TEXT));
        self.with_state(|state, delivery| state.set_topic(id, &key, text, delivery))
            .or_else(|_| refuse_without_room(client))
    }

    fn show_topic(&mut self, client: &mut Connection) -> io::Result<()> {
        let Some(key) = self.current_room() else { return refuse_without_room(client) };
        let topic = self.with_state(|state, _| {
            let topic = state.room(&key)?.topic.as_ref()?;
            Some(format!("topic: {} (set by {})", topic.text, topic.set_by))
        });
        notice(client, topic.as_deref().unwrap_or("there is no topic; /topic TEXT sets one"))
    }

    /// Sets the member's away message. Without a text, `/away` says that the member is back, or away with a default message.
    fn set_or_toggle_away(&mut self, client: &mut Connection, text: &str) -> io::Result<()> {
        let id = self.guard.id;
        let was_away = self.with_state(|state, _| state.member(id).is_some_and(|member| member.away.is_some()));
        if text.is_empty() && was_away {
            self.with_state(|state, _| state.set_away(id, None));
            return notice(client, "you are back");
        }
        let text = if text.is_empty() { "away" } else { truncate(text, MAX_TEXT) };
        self.with_state(|state, _| state.set_away(id, Some(text.to_owned())));
        notice(client, "you are away; /away says that you are back")
    }

    fn toggle_ignore(&mut self, client: &mut Connection, target: &str) -> io::Result<()> {
        let Some(target) = Name::parse_member(target) else { return notice(client, "whom? /ignore NAME") };
        let id = self.guard.id;
        match self.with_state(|state, _| state.toggle_ignore(id, &target.key())) {
            Ok((name, true)) => notice(client, format_args!("you hear no more of {name}; the same again to undo it")),
            Ok((name, false)) => notice(client, format_args!("you hear {name} again")),
            Err(error) => refuse(client, error, &target),
        }
    }

    fn show_history(&mut self, client: &mut Connection) -> io::Result<()> {
        let Some(key) = self.current_room() else { return refuse_without_room(client) };
        let line_numbers = self.with_state(|state, _| state.room(&key).map(|room| room.history.numbers()));
        let mut line_numbers = line_numbers.unwrap_or_default();
        if line_numbers.is_empty() {
            return notice(client, "nothing was said here yet");
        }
        notice(
            client,
            format_args!("the last lines ({}), with their times in UTC:", line_numbers.end - line_numbers.start),
        )?;
        self.guard.chat.write_list(client, |state| {
            // The next line that has not been dropped meanwhile.
            let line = line_numbers.find_map(|number| state.room(&key)?.history.line(number));
            line.map(|(at, line)| format!("{} {line}", at.strftime("%H:%M:%S"))).into_iter().collect()
        })
    }

    /// The room that messages go to, unless the member has been kicked out of it.
    fn current_room(&mut self) -> Option<NameKey> {
        let (id, key) = (self.guard.id, self.room.clone()?);
        if !self.with_state(|state, _| state.is_in_room(id, &key)) {
            self.room = None;
        }
        self.room.clone()
    }

    /// Like [`Chat::with_state`], with this session's delivery.
    fn with_state<T>(&mut self, act: impl FnOnce(&mut ChatState, &mut Delivery) -> T) -> T {
        self.guard.chat.with_state(&mut self.guard.delivery, act)
    }
}

pub(super) fn refuse_long_line(client: &mut Connection) -> io::Result<()> {
    notice(client, format_args!("that line is longer than {MAX_LINE} bytes; nothing was said"))
}

pub(super) fn refuse_flood(client: &mut Connection) -> io::Result<()> {
    notice(client, "you send faster than is allowed, closing")
}

fn notice(client: &mut Connection, text: impl Display) -> io::Result<()> {
    writeln!(client, "* {text}")
}

fn refuse_without_room(client: &mut Connection) -> io::Result<()> {
    notice(client, "you are in no room; /join lobby")
}

fn refuse(client: &mut Connection, error: ChatError, name: &Name) -> io::Result<()> {
    match error {
        ChatError::NameTaken => notice(client, format_args!("{name} is taken; choose another name")),
        ChatError::NoSuchMember => notice(client, format_args!("nobody here is called {name}; /who tells who is")),
        ChatError::LimitReached => notice(client, "that is one too many"),
        _ => refuse_without_room(client),
    }
}

/// Displays as `1 person is` or `3 people are`.
struct PeopleAre(usize);

impl Display for PeopleAre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 1 { f.write_str("1 person is") } else { write!(f, "{} people are", self.0) }
    }
}
