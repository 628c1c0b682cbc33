//! Kv: a key-value store, for people at `nc` and for Redis's own clients, on one port.
//!
//! The first byte of a connection tells the dialect: `*` begins an array of RESP, all else is a line that a person
//! types. (What telnet sends of itself, and a byte order mark, come before that byte.) A batch of requests is what has arrived: it is executed without a copy, and answered in one go.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::{Farewell, Handler};
use crate::Connection;
use crate::protocol_error::protocol_error;

mod clients;
mod commands;
mod conversation;
mod disk;
mod engine;
mod memory;
mod opening;
mod reply;
mod request;
mod wrong_passwords;

use clients::Clients;
use conversation::{Conversation, Next};
use disk::Disk;
pub use disk::Fsync;
use engine::Engine;
use memory::Memory;
use reply::Dialect;
use wrong_passwords::WrongPasswords;

/// Replies to a batch are sent when they are this many bytes, whatever is still to be executed. So a client that sends
/// requests and reads no replies costs no more than this, and one reply.
const BATCH: usize = 8 * 1024;

/// An idle client keeps no more than this for its replies.
const IDLE: usize = 1024;

/// A key-value store that speaks [RESP](https://redis.io/docs/latest/develop/reference/protocol-spec/) and text.
pub struct Kv {
    engine: Box<dyn Engine>,
    clients: Clients,
    wrong_passwords: WrongPasswords,
    options: Options,
    started: Instant,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which dialects are spoken. Default: both.
    pub protocol: Protocol,
    /// What clients have to give before anything else. Default: none. A wrong one is logged, ten a second at the most,
    /// and answered 50 ms later than usual; each further one of the connection twice as much later, up to 5 s.
    pub password: Option<Vec<u8>>,
    /// The longest word of a request, and so the longest value that is set in one go, in bytes. Default: 8 MiB.
    pub max_value: usize,
    /// Keys and values may take this much memory, in bytes; then commands that would add to it are refused, and others
    /// are not. 0: no limit, the default.
    pub max_memory: usize,
}

/// Which dialects a store speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The first byte of a connection decides.
    #[default]
    Auto,
    /// Text alone.
    Text,
    /// RESP alone: a line gets its reply in RESP too, as from Redis.
    Resp,
}

impl Default for Options {
    fn default() -> Options {
        Options { protocol: Protocol::Auto, password: None, max_value: 8 << 20, max_memory: 0 }
    }
}

impl Kv {
    /// A store in memory, which ends with the process.
    ///
    /// # Errors
    ///
    /// The thread that drops expired keys can't be started.
    pub fn in_memory(options: Options) -> io::Result<Kv> {
        Ok(Kv::with(Box::new(Memory::new(options.max_value)?), options))
    }

    /// A store in a file, which is made if it is not there, with mode 0600. What was acknowledged survives the process,
    /// and a crash.
    ///
    /// # Errors
    ///
    /// The file can't be opened or made, another process has it (`ResourceBusy`), or it is no store (`InvalidData`, and
    /// it is not touched): the message says which, and what to do.
    pub fn in_file(path: &Path, fsync: Fsync, options: Options) -> io::Result<Kv> {
        Ok(Kv::with(Box::new(Disk::open(path, fsync, options.max_value)?), options))
    }

    fn with(engine: Box<dyn Engine>, options: Options) -> Kv {
        Kv {
            engine,
            clients: Clients::default(),
            wrong_passwords: WrongPasswords::default(),
            options,
            started: Instant::now(),
        }
    }
}

impl Handler for Kv {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        let mut conversation = Conversation::new(self, client);
        let Some(dialect) = opening::dialect(client, self.options.protocol)? else { return Ok(()) };
        conversation.replies.set_dialect(dialect);
        loop {
            client.set_farewell(farewell_in(conversation.replies.dialect()));
            let limit = conversation.bounds().request();
            conversation.stats = client.stats();
            let Some(next) = client.read_request(limit, |input| conversation.converse(input, limit))? else {
                return Ok(());
            };
            if let Next::ContinueAfter(delay) = next {
                client.pause(Instant::now() + delay)?;
            }
            client.send(conversation.replies.bytes())?;
            conversation.replies.clear();
            conversation.replies.shrink_to(IDLE);
            match next {
                Next::Continue | Next::ContinueAfter(_) => {}
                Next::Close => return Ok(()),
                Next::Misspoke(why) => return Err(protocol_error(why)),
            }
        }
    }

    /// In Redis's words where it has some: nobody knows yet which dialect a client speaks that is turned away.
    fn farewell(&self, reason: Farewell) -> Cow<'static, [u8]> {
        in_redis_words(reason)
    }
}

fn farewell_in(dialect: Dialect) -> fn(Farewell) -> Cow<'static, [u8]> {
    match dialect {
        Dialect::Text => |reason| format!("ERROR {reason}\n").into_bytes().into(),
        Dialect::Resp2 | Dialect::Resp3 => in_redis_words,
    }
}

fn in_redis_words(reason: Farewell) -> Cow<'static, [u8]> {
    let words = match reason {
        Farewell::Full { .. } => "ERR max number of clients reached".to_owned(),
        other => format!("ERR {other}"),
    };
    format!("-{words}\r\n").into_bytes().into()
}

impl std::fmt::Debug for Kv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kv").field("options", &self.options).finish_non_exhaustive()
    }
}
