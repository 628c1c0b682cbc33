//! Chat: rooms for people at `nc` or telnet and for IRC clients, on one port and in the same rooms.
//!
//! A client that begins as IRC clients do is spoken to in IRC (`irc.rs`), all others in lines for people (`plain.rs`).
//! Both change the same hall (`hall.rs`), which tells everybody what concerns them (`event.rs`) through their outboxes.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Farewell, Handler};
use crate::connection::{Connection, Next};
use crate::panics;
use crate::protocol_error::protocol_error;

mod event;
mod hall;
mod irc;
mod lines;
mod mail;
mod name;
mod plain;
mod rate;
mod text;

use hall::{Hall, Room, Seated};
use lines::{Arrival, Line, Lines};
use mail::{Courier, Mail};
use name::Key;
pub use rate::Rate;

/// So long an IRC client has to begin, before it is greeted as a person.
const FIRST_WORDS: Duration = Duration::from_millis(300);

/// What IRC clients begin with.
const IRC_BEGINS: [&str; 4] = ["CAP ", "NICK ", "PASS ", "USER "];

/// A long list is made this many lines at a time.
const PIECE: usize = 8;

/// A chat server: plain lines, and IRC ([RFC 1459](https://www.rfc-editor.org/rfc/rfc1459),
/// [RFC 2812](https://www.rfc-editor.org/rfc/rfc2812), [modern.ircdocs.horse](https://modern.ircdocs.horse)).
///
/// A member who does not read is cut, and no other notices: see [`Outbox`](crate::Outbox). Each client takes two
/// descriptors: set [`Limits::descriptors_per_client`](crate::Limits::descriptors_per_client) to 2.
pub struct Chat {
    hall: Mutex<Hall>,
    courier: Courier,
    options: Options,
    since: Timestamp,
}

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many lines each client may send; what is more waits, up to 200 lines. Default: 10 a second after a burst of
    /// 20.
    pub rate: Rate,
    /// An IRC client that is silent this long is asked whether it is still there (PING), and closed if it is silent as
    /// long again. Not zero, which closes it at once; `Duration::MAX`: never. Default: 1 minute.
    pub ping: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { rate: Rate::default(), ping: Duration::from_secs(60) }
    }
}

impl Chat {
    /// A chat with nobody in it. It has a thread of its own, which helps whoever speaks in a large room.
    pub fn new(options: Options) -> Chat {
        Chat { hall: Mutex::default(), courier: Courier::start(), options, since: Timestamp::now() }
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        panics::lock(&self.hall)
    }

    /// Does something with the hall, under its lock: no I/O in there. What it queues for members is sent later, or at once
    /// if it is much.
    fn in_hall<T>(&self, mail: &mut Mail, act: impl FnOnce(&mut Hall, &mut Mail) -> T) -> T {
        let outcome = act(&mut self.hall(), mail);
        if mail.is_heavy() {
            mail.send();
        }
        outcome
    }

    /// Writes a list that may be long piece by piece, so that none of it is held while the client does not read. `piece`
    /// makes the next lines, under the hall's lock; after the last one there are none.
    fn recite(&self, client: &mut Connection, mut piece: impl FnMut(&Hall) -> Vec<String>) -> io::Result<()> {
        loop {
            let lines = piece(&self.hall());
            if lines.is_empty() {
                return Ok(());
            }
            lines.iter().try_for_each(|line| client.write_all(line.as_bytes()))?;
        }
    }

    /// As [`recite`](Chat::recite): a line for each room, by name.
    fn recite_rooms(&self, client: &mut Connection, line: impl Fn(&Room) -> String) -> io::Result<()> {
        let mut last = None;
        self.recite(client, |hall| {
            let rooms = hall.rooms_after(last.as_ref(), PIECE);
            last = rooms.last().map(|room| room.name.key());
            rooms.into_iter().map(&line).collect()
        })
    }

    /// As [`recite`](Chat::recite): lines for those who are in a room, for that many at a time.
    fn recite_members(
        &self,
        client: &mut Connection,
        room: &Key,
        count: usize,
        lines: impl Fn(&Room, &[Seated<'_>]) -> Vec<String>,
    ) -> io::Result<()> {
        let mut last = 0;
        self.recite(client, |hall| {
            let Some(room) = hall.room(room) else { return Vec::new() };
            let some: Vec<Seated<'_>> = hall.members_after(room, last).take(count).collect();
            let Some((seat, _)) = some.last() else { return Vec::new() };
            last = seat.number;
            lines(room, &some)
        })
    }
}

impl Default for Chat {
    fn default() -> Chat {
        Chat::new(Options::default())
    }
}

impl Handler for Chat {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        match opening(client)? {
            Opening::Irc => irc::converse(self, client),
            Opening::Plain => plain::converse(self, client),
            Opening::Nothing => Ok(()),
        }
    }

    /// In IRC's words, which people can read as well: nobody knows yet who it is that is turned away.
    fn farewell(&self, reason: Farewell) -> Cow<'static, [u8]> {
        irc::farewell(reason)
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How a client begins.
enum Opening {
    Irc,
    Plain,
    /// It has left without a word: who only tries whether there is a server here is announced to nobody.
    Nothing,
}

/// Looks at the first bytes of a client, which stay unread.
fn opening(client: &mut Connection) -> io::Result<Opening> {
    let deadline = Instant::now() + FIRST_WORDS;
    let decision =
        client.read_request_until(Some(deadline), usize::MAX, |unread| begins_as_irc(unread).map(|is| (is, 0)));
    Ok(match decision? {
        Next::Request(true) => Opening::Irc,
        Next::Request(false) | Next::Deadline => Opening::Plain,
        Next::End => Opening::Nothing,
    })
}

/// `None`: it may become so.
fn begins_as_irc(bytes: &[u8]) -> Option<bool> {
    let matches =
        |begin: &&&str| bytes.iter().zip(begin.bytes()).all(|(byte, other)| byte.eq_ignore_ascii_case(&other));
    let begin = IRC_BEGINS.iter().find(matches);
    match begin {
        None => Some(false),
        Some(begin) if bytes.len() >= begin.len() => Some(true),
        Some(_) => None,
    }
}

/// What each dialect makes of a client's lines.
trait Session {
    /// # Errors
    ///
    /// The connection's.
    fn hear(&mut self, client: &mut Connection, line: Line) -> io::Result<Then>;

    /// When to act although nothing is heard.
    fn deadline(&self) -> Option<Instant>;

    /// Nothing was heard until then.
    ///
    /// # Errors
    ///
    /// The connection's.
    fn wonder(&mut self, client: &mut Connection) -> io::Result<Then>;

    /// Says that the client sends too much.
    ///
    /// # Errors
    ///
    /// The connection's.
    fn object(&mut self, client: &mut Connection) -> io::Result<()>;

    fn mail(&mut self) -> &mut Mail;

    /// Sends what was answered so far, so that it is read before what comes by way of the outbox. Who reads slowly is waited
    /// for, and what was said to others goes first.
    ///
    /// # Errors
    ///
    /// The connection's.
    fn settle(&mut self, client: &mut Connection) -> io::Result<()> {
        if client.has_output() {
            self.mail().send();
            client.flush()?;
        }
        Ok(())
    }

    /// Last words.
    fn farewell(reason: Farewell) -> Cow<'static, [u8]>;
}

/// What comes after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Continue,
    Close,
}

/// A session from its first line to its last.
fn attend<S: Session>(session: &mut S, client: &mut Connection, mut lines: Lines) -> io::Result<()> {
    loop {
        // What was said goes out when there is nothing more to be heard at the moment, so that many lines that come at
        // once are sent at once.
        let arrival = match lines.next(client, Some(Instant::now()))? {
            Arrival::Deadline => {
                session.mail().send();
                lines.next(client, session.deadline())?
            }
            arrival => arrival,
        };
        let then = match arrival {
            Arrival::Line(line) => session.hear(client, line)?,
            Arrival::Deadline => session.wonder(client)?,
            Arrival::End => Then::Close,
            Arrival::Unfinished => {
                // A drain has its own last words.
                if !client.is_draining() {
                    client.write_all(&S::farewell(Farewell::Unfinished))?;
                }
                Then::Close
            }
            Arrival::Flood => {
                session.object(client)?;
                return Err(protocol_error("flood: sends faster than allowed"));
            }
        };
        if then == Then::Close {
            return Ok(());
        }
        // An answer may have to wait for who asked, and what was said to others should not.
        if client.has_output() {
            session.mail().send();
        }
    }
}

/// A member's place in the hall, given back when it is dropped, whatever happened.
struct Place<'a> {
    chat: &'a Chat,
    id: u64,
    /// What the others are told when the member leaves.
    reason: String,
    mail: Mail,
}

impl<'a> Place<'a> {
    fn new(chat: &'a Chat, client: &Connection) -> Place<'a> {
        let mail = Mail::new(chat.courier.clone(), client.limits().max_outbox);
        Place { chat, id: client.id(), reason: String::new(), mail }
    }

    /// Notes how the conversation ended, unless the member has said why.
    fn note(&mut self, client: &mut Connection, outcome: &io::Result<()>) {
        let Err(error) = outcome else { return };
        if !self.reason.is_empty() {
            return;
        }
        self.reason = match error.kind() {
            ErrorKind::TimedOut if client.outbox().is_ok_and(|outbox| !outbox.is_open()) => "read too slowly",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::UnexpectedEof => "",
            _ => "connection lost",
        }
        .to_owned();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.chat.hall().quit(self.id, &self.reason, &mut self.mail);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_poisoned_lock_is_used_on() {
        let chat = Arc::new(Chat::default());
        let poisoner = Arc::clone(&chat);
        let panicked = thread::spawn(move || {
            let _held = poisoner.hall();
            panic!("while it holds the lock");
        });
        assert!(panicked.join().is_err());
        assert!(chat.hall.is_poisoned());
        assert_eq!(chat.hall().len(), 0);
    }
}
