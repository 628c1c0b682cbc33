//! What members of a room learn of each other, and how each dialect puts it.

use std::fmt::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;

use super::name::Name;
use super::text::{CTCP, at_most};

/// What the server calls itself.
pub(super) const SERVER: &str = "acceptd";

/// And what it is.
pub(super) const ABOUT: &str = "a chat for nc, telnet and IRC";

/// What all members have for a host name: nobody's address is anybody else's business.
pub(super) const HOST: &str = "chat";

/// The longest line of IRC, with its end (RFC 2812, 2.3).
pub(super) const LONGEST_OF_IRC: usize = 512;

/// The longest of what people tell about themselves, and of reasons and topics, in bytes: with all else that is in such a
/// line, it stays within the limit for one.
pub(super) const LONGEST_TEXT: usize = 300;

/// How a client wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Lines for people.
    Plain,
    /// IRC.
    Irc,
    /// IRC, each line with its time (the capability `server-time`).
    TimedIrc,
}

impl Dialect {
    pub(super) fn is_irc(self) -> bool {
        self != Dialect::Plain
    }
}

/// Who causes an event: `bob`, or to IRC `bob!~bob@chat`.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: Name,
    pub(super) user: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    /// What somebody does rather than says: `/me waves`.
    Action,
    /// A message that no program answers.
    Notice,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    Said {
        kind: Kind,
        room: &'a Name,
        text: &'a str,
    },
    Told {
        kind: Kind,
        to: &'a Name,
        text: &'a str,
    },
    Joined {
        room: &'a Name,
    },
    Left {
        room: &'a Name,
        reason: &'a str,
    },
    Quit {
        reason: &'a str,
    },
    Renamed {
        to: &'a Name,
    },
    Topic {
        room: &'a Name,
        text: &'a str,
    },
    Kicked {
        room: &'a Name,
        whom: &'a Name,
        reason: &'a str,
    },
    /// Has become the first member of a room.
    Promoted {
        room: &'a Name,
    },
}

/// An event as bytes, made once for each dialect that somebody speaks, and shared by all who do.
pub(super) struct Rendered<'a> {
    event: Event<'a>,
    from: &'a Person,
    at: Timestamp,
    made: [Option<Arc<[u8]>>; 3],
}

impl<'a> Rendered<'a> {
    pub(super) fn new(event: Event<'a>, from: &'a Person) -> Rendered<'a> {
        Rendered { event, from, at: Timestamp::now(), made: [const { None }; 3] }
    }

    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// The lines of the event; none if there is nothing to say in this dialect.
    pub(super) fn lines(&mut self, dialect: Dialect) -> Arc<[u8]> {
        let [plain, irc, timed] = &mut self.made;
        let made = match dialect {
            Dialect::Plain => plain,
            Dialect::Irc => irc,
            Dialect::TimedIrc => timed,
        };
        Arc::clone(made.get_or_insert_with(|| {
            let lines = match dialect {
                Dialect::Plain => self.event.plain(self.from),
                Dialect::Irc => self.event.irc(self.from, ""),
                Dialect::TimedIrc => {
                    self.event.irc(self.from, &self.at.strftime("@time=%Y-%m-%dT%H:%M:%S.%3fZ ").to_string())
                }
            };
            lines.into_bytes().into()
        }))
    }
}

impl Event<'_> {
    /// A line for people; notices begin with a star.
    pub(super) fn plain(&self, from: &Person) -> String {
        fitting(|line| self.write_plain(from, line))
    }

    fn write_plain(&self, Person { name, .. }: &Person, line: &mut dyn Write) -> fmt::Result {
        match *self {
            Event::Said { kind: Kind::Action, text, .. } => writeln!(line, "* {name} {text}"),
            Event::Said { text, .. } => writeln!(line, "{name}: {text}"),
            Event::Told { kind: Kind::Action, text, .. } => writeln!(line, "* {name} {text} (private)"),
            Event::Told { text, .. } => writeln!(line, "{name} (private): {text}"),
            Event::Joined { .. } => writeln!(line, "* {name} joined"),
            Event::Left { reason, .. } | Event::Quit { reason } => {
                writeln!(line, "* {name} left{}", InBrackets(reason))
            }
            Event::Renamed { to } => writeln!(line, "* {name} is now {to}"),
            Event::Topic { text: "", .. } => writeln!(line, "* {name} removed the topic"),
            Event::Topic { text, .. } => writeln!(line, "* {name} set the topic: {text}"),
            Event::Kicked { whom, reason, .. } => writeln!(line, "* {name} kicked {whom}{}", InBrackets(reason)),
            Event::Promoted { .. } => Ok(()),
        }
    }

    /// Lines of IRC, each begun with `tag`.
    fn irc(&self, from: &Person, tag: &str) -> String {
        fitting(|lines| self.write_irc(from, tag, lines))
    }

    fn write_irc(&self, Person { name, user }: &Person, tag: &str, lines: &mut dyn Write) -> fmt::Result {
        let source = format_args!(":{name}!{user}@{HOST}");
        match *self {
            Event::Said { kind, room, text } => {
                write_said(&format!("{source} {} #{room} :", kind.verb()), kind, text, tag, lines)
            }
            Event::Told { kind, to, text } => {
                write_said(&format!("{source} {} {to} :", kind.verb()), kind, text, tag, lines)
            }
            Event::Joined { room } => write!(lines, "{tag}{source} JOIN #{room}\r\n"),
            Event::Left { room, reason: "" } => write!(lines, "{tag}{source} PART #{room}\r\n"),
            Event::Left { room, reason } => write!(lines, "{tag}{source} PART #{room} :{reason}\r\n"),
            Event::Quit { reason } => write!(lines, "{tag}{source} QUIT :{reason}\r\n"),
            Event::Renamed { to } => write!(lines, "{tag}{source} NICK {to}\r\n"),
            Event::Topic { room, text } => write!(lines, "{tag}{source} TOPIC #{room} :{text}\r\n"),
            Event::Kicked { room, whom, reason } => write!(lines, "{tag}{source} KICK #{room} {whom} :{reason}\r\n"),
            Event::Promoted { room } => write!(lines, "{tag}:{SERVER} MODE #{room} +o {name}\r\n"),
        }
    }
}

/// Text in a buffer that is as long as it: one that grows as it is written ends up twice as long, and leaves the allocator
/// a hole that none of the messages fits that wait for somebody.
fn fitting(write: impl Fn(&mut dyn Write) -> fmt::Result) -> String {
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

impl Kind {
    fn verb(self) -> &'static str {
        match self {
            Kind::Message | Kind::Action => "PRIVMSG",
            Kind::Notice => "NOTICE",
        }
    }
}

/// A message in as many lines as IRC needs for it.
fn write_said(start: &str, kind: Kind, mut text: &str, tag: &str, lines: &mut dyn Write) -> fmt::Result {
    let (open, close) = match kind {
        Kind::Action => (format!("{CTCP}ACTION "), CTCP.to_string()),
        Kind::Message | Kind::Notice => (String::new(), String::new()),
    };
    // A tag does not count (IRCv3 message tags).
    let room = LONGEST_OF_IRC - "\r\n".len() - start.len() - open.len() - close.len();
    loop {
        let part = at_most(text, room);
        write!(lines, "{tag}{start}{open}{part}{close}\r\n")?;
        text = text.get(part.len()..).unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
    }
}

/// ` (reason)`, or nothing.
struct InBrackets<'a>(&'a str);

impl fmt::Display for InBrackets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Person {
        Person { name: Name::of_member("bob").unwrap(), user: "~bob".to_owned() }
    }

    #[test]
    fn a_long_message_is_several_lines_of_irc_and_loses_nothing() {
        let room = Name::of_room("lobby").unwrap();
        for kind in [Kind::Message, Kind::Action] {
            let text = "grüße ".repeat(500);
            let lines = Event::Said { kind, room: &room, text: &text }.irc(&bob(), "@time=x ");
            let mut arrived = String::new();
            for line in lines.split_inclusive("\r\n") {
                let line = line.strip_prefix("@time=x ").unwrap();
                assert!(line.len() <= LONGEST_OF_IRC);
                let part = line.strip_prefix(":bob!~bob@chat PRIVMSG #lobby :").unwrap().trim_end_matches("\r\n");
                arrived += part.trim_matches(CTCP).trim_start_matches("ACTION ");
            }
            assert_eq!(arrived, text);
        }
    }

    #[test]
    fn an_event_has_its_time_for_those_who_ask_for_it() {
        let (bob, room) = (bob(), Name::of_room("lobby").unwrap());
        let mut event = Rendered::new(Event::Joined { room: &room }, &bob);
        let line = event.lines(Dialect::TimedIrc);
        let line = std::str::from_utf8(&line).unwrap();
        let (time, rest) = line.strip_prefix("@time=").unwrap().split_once(' ').unwrap();
        assert_eq!(rest, ":bob!~bob@chat JOIN #lobby\r\n");
        assert_eq!(time.len(), "2026-11-21T10:00:00.000Z".len());
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }
}
