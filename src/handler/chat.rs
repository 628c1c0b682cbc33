//! Chat: rooms for people at `nc` or telnet and for IRC clients, on one port and in the same rooms.
//!
//! A client's first line decides (`undecided.rs`, `first_line.rs`): one that registers as IRC clients do is spoken to in IRC
//! (`irc.rs`), a person in lines (`plain.rs`). Both change the same hall (`hall.rs`), which tells everybody what concerns them (`event.rs`) through their outboxes.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::{Farewell, Handler};
use crate::connection::Connection;
use crate::panics;

mod event;
mod first_line;
mod foreign;
mod hall;
mod irc;
mod lines;
mod mail;
mod name;
mod plain;
mod rate;
mod session;
mod text;
mod undecided;

use hall::{Hall, Room, Seated};
use mail::{Courier, Mail};
use name::Key;
pub use rate::Rate;

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
    /// Which dialects are spoken. Default: both.
    pub protocol: Protocol,
    /// How many lines each client may send; what is more waits, up to 200 lines. Default: 10 a second after a burst of
    /// 20.
    pub rate: Rate,
    /// An IRC client that is silent this long is asked whether it is still there (PING), and closed if it is silent as
    /// long again. Not zero, which closes it at once; `Duration::MAX`: never. Default: 1 minute.
    pub ping: Duration,
}

/// Which dialects a chat speaks.
///
/// Programs of other protocols (HTTP, TLS, SSH, SMTP, SIP, RTSP, PROXY, WEBIRC, RESP), and those whose first line is not
/// text, are told so in each of them, and closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// A client's first whole line decides, whenever it comes: a command with which IRC clients register, such as `NICK bob`,
    /// is never said aloud. A client that sends nothing for a second is greeted as a person, and may still begin IRC.
    #[default]
    Auto,
    /// Lines for people alone. Whoever says `NICK bob` says it in the room.
    Text,
    /// IRC alone. A client that does not register within
    /// [`Limits::request_timeout`](crate::Limits::request_timeout) is closed.
    Irc,
}

impl Default for Options {
    fn default() -> Options {
        Options { protocol: Protocol::Auto, rate: Rate::default(), ping: Duration::from_secs(60) }
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
        undecided::serve(self, client)
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
