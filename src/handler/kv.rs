//! Kv: a key-value store for Redis's clients and for people at `nc`, on one port.
//!
//! The first byte of a connection selects the dialect: `*` begins a RESP array, and any other byte begins a line that a
//! person types. A client's session (`session.rs`) parses all requests that have arrived (`request.rs`), looks up their
//! commands (`commands.rs`), and lets an engine execute these (`engine.rs`): `memory.rs` or `disk.rs`. The replies
//! (`reply.rs`) are sent together.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::{FarewellReason, Handler};
use crate::protocol_error::protocol_error;
use crate::{Connection, Paused};

mod background_thread;
mod client_list;
mod commands;
mod dialect_detection;
mod disk;
mod engine;
mod keyspace;
mod memory;
mod reply;
mod request;
mod session;
mod watched_keys;
mod wrong_password_log;

use client_list::ClientList;
use disk::DiskEngine;
pub use disk::Fsync;
use engine::Engine;
use memory::MemoryEngine;
use reply::KvDialect;
use session::{KvSession, SessionAction};
use wrong_password_log::WrongPasswordLog;

/// Replies are sent once there are this many bytes, before any further request is executed. So a client that sends
/// requests but reads no replies takes no more memory than this and one reply.
const MAX_PENDING_REPLIES: usize = 8 * 1024;

/// The reply buffer of an idle client keeps at most this capacity, in bytes.
const IDLE_REPLY_CAPACITY: usize = 1024;

/// A key-value store that speaks [RESP](https://redis.io/docs/latest/develop/reference/protocol-spec/) and text.
pub struct Kv {
    engine: Box<dyn Engine>,
    clients: ClientList,
    wrong_password_log: WrongPasswordLog,
    options: KvOptions,
    started_at: Instant,
}

/// The options of a store.
#[derive(Clone, Debug)]
pub struct KvOptions {
    /// Which dialects the store speaks. Default: both.
    pub protocol: KvProtocol,
    /// The password that clients must give first. Default: none. Wrong passwords are logged, at most ten a second. The
    /// reply to a wrong password is delayed by 50 ms. The delay doubles with each further one on the same connection, up to
    /// 5 s.
    pub password: Option<Vec<u8>>,
    /// The longest word of a request, and so the longest value that one command can set, in bytes. Default: 8 MiB.
    pub max_value: usize,
    /// The memory that keys and values may take, in bytes. Above it, commands that add data are refused and others
    /// still work. Default: 0, which means no limit.
    pub max_memory: usize,
}

/// The dialects that a store speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvProtocol {
    /// The first byte of a connection decides.
    #[default]
    Auto,
    /// Only text.
    Text,
    /// Only RESP. The reply to a line is RESP too, as in Redis.
    Resp,
}

impl Default for KvOptions {
    fn default() -> KvOptions {
        KvOptions { protocol: KvProtocol::Auto, password: None, max_value: 8 << 20, max_memory: 0 }
    }
}

impl Kv {
    /// Creates a store in memory. Its data ends with the process.
    ///
    /// # Errors
    ///
    /// The thread that removes expired keys can't be started.
    pub fn in_memory(options: KvOptions) -> io::Result<Kv> {
        Ok(Kv::with_engine(Box::new(MemoryEngine::new(options.max_value)?), options))
    }

    /// Opens a store in a file. A missing file is created with mode 0600. Acknowledged writes survive the end of the
    /// process and a crash: see [`Fsync`].
    ///
    /// # Errors
    ///
    /// The file can't be opened or created, another process has it open (`ResourceBusy`), or it is not a store
    /// (`InvalidData`, and the file is left untouched). The message says what happened and what to do.
    pub fn in_file(path: &Path, fsync: Fsync, options: KvOptions) -> io::Result<Kv> {
        Ok(Kv::with_engine(Box::new(DiskEngine::open(path, fsync, options.max_value)?), options))
    }

    fn with_engine(engine: Box<dyn Engine>, options: KvOptions) -> Kv {
        Kv {
            engine,
            clients: ClientList::default(),
            wrong_password_log: WrongPasswordLog::default(),
            options,
            started_at: Instant::now(),
        }
    }
}

impl Handler for Kv {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        // The session begins before the dialect is known, so that CLIENT LIST shows the client already.
        let mut session = KvSession::new(self, client);
        let Some(dialect) = dialect_detection::detect(client, self.options.protocol)? else { return Ok(()) };
        session.replies.set_dialect(dialect);
        let mut farewell_dialect = None;
        loop {
            // HELLO may have changed the dialect.
            if farewell_dialect != Some(session.replies.dialect()) {
                farewell_dialect = Some(session.replies.dialect());
                client.set_farewell(farewell_for(session.replies.dialect()));
            }
            let limit = session.request_limits().max_request();
            session.stats = client.stats();
            // Executes requests while the connection lends its input buffer, so that their words need no copy.
            let Some(action) = client.read_request(limit, |input| session.process(input, limit))? else {
                return Ok(());
            };
            if let SessionAction::DelayReplies(delay) = action {
                let until = Instant::now() + delay;
                // A client that closes its side doesn't get its reply sooner.
                while client.pause(until)? == Paused::ClientEnded {}
            }
            client.send(session.replies.bytes())?;
            session.replies.clear();
            session.replies.shrink_to(IDLE_REPLY_CAPACITY);
            match action {
                SessionAction::Continue | SessionAction::DelayReplies(_) => {}
                SessionAction::Close => return Ok(()),
                SessionAction::ProtocolError(why) => return Err(protocol_error(why)),
            }
        }
    }

    /// The farewell to a client whose dialect is not known yet, such as one that is refused. It is in RESP, and has
    /// Redis's text where Redis has one.
    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        resp_farewell(reason)
    }
}

fn farewell_for(dialect: KvDialect) -> fn(FarewellReason) -> Cow<'static, [u8]> {
    match dialect {
        KvDialect::Text => |reason| format!("ERROR {reason}\n").into_bytes().into(),
        KvDialect::Resp2 | KvDialect::Resp3 => resp_farewell,
    }
}

fn resp_farewell(reason: FarewellReason) -> Cow<'static, [u8]> {
    let message = match reason {
        FarewellReason::Full { .. } => "ERR max number of clients reached".to_owned(),
        other => format!("ERR {other}"),
    };
    format!("-{message}\r\n").into_bytes().into()
}

impl std::fmt::Debug for Kv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kv").field("options", &self.options).finish_non_exhaustive()
    }
}
