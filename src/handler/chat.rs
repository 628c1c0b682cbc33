//! Chat: rooms for people at `nc` or telnet and for IRC clients, on one port and in the same rooms.
//!
//! A client's first line decides which dialect it speaks (`detection.rs`, `first_line.rs`): IRC (`irc.rs`) or lines for people
//! (`plain.rs`). The sessions of both change the same state (`state.rs`), which queues events (`event.rs`) in the members'
//! outboxes.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::{FarewellReason, Handler};
use crate::connection::Connection;
use crate::panics;

mod delivery;
mod detection;
mod event;
mod first_line;
mod history;
mod irc;
mod line_reader;
mod member;
mod member_guard;
mod membership;
mod message_rate;
mod name;
mod other_protocol;
mod plain;
mod room;
mod session;
mod state;
mod text;

use delivery::{Delivery, DeliveryHelper};
pub use message_rate::MessageRate;
use name::NameKey;
use room::{Room, RoomMember};
use state::ChatState;

/// How many lines of a long list are written at a time.
const LIST_CHUNK: usize = 8;

/// A chat server: plain lines, and IRC ([RFC 1459](https://www.rfc-editor.org/rfc/rfc1459),
/// [RFC 2812](https://www.rfc-editor.org/rfc/rfc2812), [modern.ircdocs.horse](https://modern.ircdocs.horse)).
///
/// A member who does not read is cut, which does not affect the others: see [`Outbox`](crate::Outbox). Each client takes two
/// descriptors, so set [`Limits::descriptors_per_client`](crate::Limits::descriptors_per_client) to 2.
pub struct Chat {
    state: Mutex<ChatState>,
    helper: DeliveryHelper,
    options: ChatOptions,
    started_at: Timestamp,
}

/// A chat's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatOptions {
    /// Which dialects the chat speaks. Default: both.
    pub protocol: ChatProtocol,
    /// How fast each client may send lines. Up to 200 more lines are queued; a client that sends more is closed. Default: 10
    /// a second after a burst of 20.
    pub rate: MessageRate,
    /// An IRC client that sends nothing for this long gets a PING, and is closed if it sends nothing for as long again. Don't
    /// use zero, which closes every client at once. `Duration::MAX` means never. Default: 1 minute.
    pub ping: Duration,
}

/// Which dialects a chat speaks.
///
/// A program that speaks another protocol (HTTP, TLS, SSH, SMTP, SIP, RTSP, PROXY, WEBIRC, RESP) gets an error in that
/// protocol, and is closed. So is a client whose first line is not text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatProtocol {
    /// Both. A client's first complete line decides, however late it arrives: a command with which IRC clients register, such
    /// as `NICK bob`, never reaches a room. A client that sends nothing for a second becomes a guest, and may still register
    /// as an IRC client.
    #[default]
    Auto,
    /// Only lines for people. `NICK bob` is a message to the room.
    Text,
    /// Only IRC. A client that does not register within
    /// [`Limits::request_timeout`](crate::Limits::request_timeout) is closed.
    Irc,
}

impl Default for ChatOptions {
    fn default() -> ChatOptions {
        ChatOptions { protocol: ChatProtocol::Auto, rate: MessageRate::default(), ping: Duration::from_secs(60) }
    }
}

impl Chat {
    /// A chat without members. It starts a thread that helps to deliver messages in large rooms.
    pub fn new(options: ChatOptions) -> Chat {
        Chat { state: Mutex::default(), helper: DeliveryHelper::start(), options, started_at: Timestamp::now() }
    }

    fn lock_state(&self) -> MutexGuard<'_, ChatState> {
        panics::lock_ignoring_poison(&self.state)
    }

    /// Calls `act` with the state locked; it must not do I/O. The events that it queues are sent at once if they are large,
    /// and otherwise when the caller flushes `delivery`.
    fn with_state<T>(&self, delivery: &mut Delivery, act: impl FnOnce(&mut ChatState, &mut Delivery) -> T) -> T {
        let outcome = act(&mut self.lock_state(), delivery);
        if delivery.is_large() {
            delivery.flush();
        }
        outcome
    }

    /// Writes a list in chunks, so that a slow reader of a long list costs only one chunk of memory. `next_chunk` makes the
    /// next lines while the state is locked, and returns no lines at the end.
    fn write_list(
        &self,
        client: &mut Connection,
        mut next_chunk: impl FnMut(&ChatState) -> Vec<String>,
    ) -> io::Result<()> {
        loop {
            let lines = next_chunk(&self.lock_state());
            if lines.is_empty() {
                return Ok(());
            }
            lines.iter().try_for_each(|line| client.write_all(line.as_bytes()))?;
        }
    }

    /// Writes a line for each room, ordered by name. See [`write_list`](Chat::write_list).
    fn write_room_list(&self, client: &mut Connection, line: impl Fn(&Room) -> String) -> io::Result<()> {
        let mut last = None;
        self.write_list(client, |state| {
            let rooms = state.rooms_after(last.as_ref(), LIST_CHUNK);
            last = rooms.last().map(|room| room.name.key());
            rooms.into_iter().map(&line).collect()
        })
    }

    /// Writes lines about the members of a room, `chunk_size` members at a time. See [`write_list`](Chat::write_list).
    fn write_member_list(
        &self,
        client: &mut Connection,
        room: &NameKey,
        chunk_size: usize,
        lines: impl Fn(&Room, &[RoomMember<'_>]) -> Vec<String>,
    ) -> io::Result<()> {
        let mut last_join = 0;
        self.write_list(client, |state| {
            let Some(room) = state.room(room) else { return Vec::new() };
            let chunk: Vec<RoomMember<'_>> = state.members_after(room, last_join).take(chunk_size).collect();
            let Some((membership, _)) = chunk.last() else { return Vec::new() };
            last_join = membership.join_number;
            lines(room, &chunk)
        })
    }
}

impl Default for Chat {
    fn default() -> Chat {
        Chat::new(ChatOptions::default())
    }
}

impl Handler for Chat {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        detection::serve(self, client)
    }

    /// The farewell in IRC, which people can read too. The server uses it before a client's dialect is known.
    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
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
    fn a_poisoned_lock_stays_usable() {
        let chat = Arc::new(Chat::default());
        let poisoner = Arc::clone(&chat);
        let panicked = thread::spawn(move || {
            let _locked = poisoner.lock_state();
            panic!("while the state is locked");
        });
        assert!(panicked.join().is_err());
        assert!(chat.state.is_poisoned());
        assert_eq!(chat.lock_state().member_count(), 0);
    }
}
