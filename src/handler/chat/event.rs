//! The events that members receive, and how each dialect renders them.

use std::fmt::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;

use super::name::Name;
use super::text::{CTCP_DELIMITER, truncate};

/// The server's name in IRC.
pub(super) const SERVER_NAME: &str = "acceptd";

/// The server's description in IRC.
pub(super) const SERVER_DESCRIPTION: &str = "a chat for nc, telnet and IRC";

/// The host name that IRC shows for every member, so that no member learns another's address.
pub(super) const HOST: &str = "chat";

/// The longest line in IRC, with its end, in bytes (RFC 2812, 2.3).
pub(super) const MAX_IRC_LINE: usize = 512;

/// The longest reason, topic, away message or real name, in bytes. The line that carries it stays within [`MAX_IRC_LINE`].
pub(super) const MAX_TEXT: usize = 300;

/// How the events for a member are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChatDialect {
    /// Lines for people.
    Plain,
    /// IRC.
    Irc,
    /// IRC with the time of each line (the capability `server-time`).
    IrcWithTime,
}

impl ChatDialect {
    pub(super) fn is_irc(self) -> bool {
        self != ChatDialect::Plain
    }
}

/// Who a member is: `bob`, which IRC shows as `bob!~bob@chat`.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: Name,
    pub(super) user: String,
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    Message,
    /// Describes what the sender does: `/me waves`.
    Action,
    /// A message that programs must not answer automatically.
    Notice,
}

/// What a member has done or become, for the other members.
#[derive(Clone, Copy, Debug)]
pub(super) enum ChatEvent<'a> {
    RoomMessage {
        kind: MessageKind,
        room: &'a Name,
        text: &'a str,
    },
    PrivateMessage {
        kind: MessageKind,
        to: &'a Name,
        text: &'a str,
    },
    Joined {
        room: &'a Name,
    },
    Parted {
        room: &'a Name,
        reason: &'a str,
    },
    Quit {
        reason: &'a str,
    },
    Renamed {
        to: &'a Name,
    },
    TopicSet {
        room: &'a Name,
        text: &'a str,
    },
    Kicked {
        room: &'a Name,
        target: &'a Name,
        reason: &'a str,
    },
    /// Became the operator of a room.
    Promoted {
        room: &'a Name,
    },
}

/// An event and its rendering in each dialect. Each rendering is made when it is first needed, and shared by all outboxes
/// that hold it.
pub(super) struct RenderedEvent<'a> {
    event: ChatEvent<'a>,
    source: &'a Identity,
    time: Timestamp,
    plain: Option<Arc<[u8]>>,
    irc: Option<Arc<[u8]>>,
    irc_with_time: Option<Arc<[u8]>>,
}

impl<'a> RenderedEvent<'a> {
    pub(super) fn new(event: ChatEvent<'a>, source: &'a Identity) -> RenderedEvent<'a> {
        RenderedEvent { event, source, time: Timestamp::now(), plain: None, irc: None, irc_with_time: None }
    }

    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    /// The lines of the event. Empty if this dialect doesn't show it.
    pub(super) fn lines(&mut self, dialect: ChatDialect) -> Arc<[u8]> {
        let (event, source) = (self.event, self.source);
        let lines = match dialect {
            ChatDialect::Plain => self.plain.get_or_insert_with(|| event.render_plain(source).into_bytes().into()),
            ChatDialect::Irc => self.irc.get_or_insert_with(|| event.render_irc(source, "").into_bytes().into()),
            ChatDialect::IrcWithTime => self.irc_with_time.get_or_insert_with(|| {
                let tag = self.time.strftime("@time=%Y-%m-%dT%H:%M:%S.%3fZ ").to_string();
                event.render_irc(source, &tag).into_bytes().into()
            }),
        };
        Arc::clone(lines)
    }
}

impl ChatEvent<'_> {
    /// A line for people. Lines about anything but a message begin with a star.
    pub(super) fn render_plain(&self, source: &Identity) -> String {
        exact_string(|line| self.write_plain(source, line))
    }

    fn write_plain(&self, Identity { name, .. }: &Identity, line: &mut dyn Write) -> fmt::Result {
        match *self {
            ChatEvent::RoomMessage { kind: MessageKind::Action, text, .. } => writeln!(line, "* {name} {text}"),
            ChatEvent::RoomMessage { text, .. } => writeln!(line, "{name}: {text}"),
            ChatEvent::PrivateMessage { kind: MessageKind::Action, text, .. } => {
                writeln!(line, "* {name} {text} (private)")
            }
            ChatEvent::PrivateMessage { text, .. } => writeln!(line, "{name} (private): {text}"),
            ChatEvent::Joined { .. } => writeln!(line, "* {name} joined"),
            ChatEvent::Parted { reason, .. } | ChatEvent::Quit { reason } => {
                writeln!(line, "* {name} left{}", Parenthesized(reason))
            }
            ChatEvent::Renamed { to } => writeln!(line, "* {name} is now {to}"),
            ChatEvent::TopicSet { text: "", .. } => writeln!(line, "* {name} removed the topic"),
            ChatEvent::TopicSet { text, .. } => writeln!(line, "* {name} set the topic: {text}"),
            ChatEvent::Kicked { target, reason, .. } => {
                writeln!(line, "* {name} kicked {target}{}", Parenthesized(reason))
            }
            ChatEvent::Promoted { .. } => Ok(()),
        }
    }

    /// One or more lines of IRC, each with `tag` in front.
    fn render_irc(&self, source: &Identity, tag: &str) -> String {
        exact_string(|lines| self.write_irc(source, tag, lines))
    }

    fn write_irc(&self, Identity { name, user }: &Identity, tag: &str, lines: &mut dyn Write) -> fmt::Result {
        let source = format_args!(":{name}!{user}@{HOST}");
        match *self {
            ChatEvent::RoomMessage { kind, room, text } => {
                write_message(&format!("{source} {} #{room} :", kind.verb()), kind, text, tag, lines)
            }
            ChatEvent::PrivateMessage { kind, to, text } => {
                write_message(&format!("{source} {} {to} :", kind.verb()), kind, text, tag, lines)
            }
            ChatEvent::Joined { room } => write!(lines, "{tag}{source} JOIN #{room}\r\n"),
            ChatEvent::Parted { room, reason: "" } => write!(lines, "{tag}{source} PART #{room}\r\n"),
            ChatEvent::Parted { room, reason } => write!(lines, "{tag}{source} PART #{room} :{reason}\r\n"),
            ChatEvent::Quit { reason } => write!(lines, "{tag}{source} QUIT :{reason}\r\n"),
            ChatEvent::Renamed { to } => write!(lines, "{tag}{source} NICK {to}\r\n"),
            ChatEvent::TopicSet { room, text } => write!(lines, "{tag}{source} TOPIC #{room} :{text}\r\n"),
            ChatEvent::Kicked { room, target, reason } => {
                write!(lines, "{tag}{source} KICK #{room} {target} :{reason}\r\n")
            }
            ChatEvent::Promoted { room } => write!(lines, "{tag}:{SERVER_NAME} MODE #{room} +o {name}\r\n"),
        }
    }
}

/// Writes text into a buffer of exactly its length, by writing it twice: the first time only to measure it. A buffer that
/// grows can end up twice as long as the text, and shrinking it would fragment the heap.
fn exact_string(write: impl Fn(&mut dyn Write) -> fmt::Result) -> String {
    let mut length = Length(0);
    let _ = write(&mut length);
    let mut text = String::with_capacity(length.0);
    let _ = write(&mut text);
    text
}

/// Counts the bytes that are written to it.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

impl MessageKind {
    fn verb(self) -> &'static str {
        match self {
            MessageKind::Message | MessageKind::Action => "PRIVMSG",
            MessageKind::Notice => "NOTICE",
        }
    }
}

/// Splits a message into as many lines of IRC as it needs.
fn write_message(start: &str, kind: MessageKind, mut text: &str, tag: &str, lines: &mut dyn Write) -> fmt::Result {
    let (open, close) = match kind {
        MessageKind::Action => (format!("{CTCP_DELIMITER}ACTION "), CTCP_DELIMITER.to_string()),
        MessageKind::Message | MessageKind::Notice => (String::new(), String::new()),
    };
    // Tags don't count towards the length of a line (IRCv3 message tags).
    let max_part = MAX_IRC_LINE - "\r\n".len() - start.len() - open.len() - close.len();
    loop {
        let part = truncate(text, max_part);
        write!(lines, "{tag}{start}{open}{part}{close}\r\n")?;
        text = text.get(part.len()..).unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
    }
}

/// ` (reason)`, or nothing.
struct Parenthesized<'a>(&'a str);

impl fmt::Display for Parenthesized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Identity {
        Identity { name: Name::parse_member("bob").unwrap(), user: "~bob".to_owned() }
    }

    #[test]
    fn a_long_message_is_split_into_lines_of_irc_without_loss() {
        let room = Name::parse_room("lobby").unwrap();
        for kind in [MessageKind::Message, MessageKind::Action] {
            let text = "grüße ".repeat(500);
            let lines = ChatEvent::RoomMessage { kind, room: &room, text: &text }.render_irc(&bob(), "@time=x ");
            let mut arrived = String::new();
            for line in lines.split_inclusive("\r\n") {
                let line = line.strip_prefix("@time=x ").unwrap();
                assert!(line.len() <= MAX_IRC_LINE);
                let part = line.strip_prefix(":bob!~bob@chat PRIVMSG #lobby :").unwrap().trim_end_matches("\r\n");
                arrived += part.trim_matches(CTCP_DELIMITER).trim_start_matches("ACTION ");
            }
            assert_eq!(arrived, text);
        }
    }

    #[test]
    fn an_event_carries_its_time_with_server_time() {
        let (bob, room) = (bob(), Name::parse_room("lobby").unwrap());
        let mut event = RenderedEvent::new(ChatEvent::Joined { room: &room }, &bob);
        let line = event.lines(ChatDialect::IrcWithTime);
        let line = std::str::from_utf8(&line).unwrap();
        let (time, rest) = line.strip_prefix("@time=").unwrap().split_once(' ').unwrap();
        assert_eq!(rest, ":bob!~bob@chat JOIN #lobby\r\n");
        assert_eq!(time.len(), "2026-11-21T10:00:00.000Z".len());
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }
}
