//! The contract between a client's session and the engine that stores the keys, in memory or on disk.

use super::commands::{Command, KeySpec};
use super::keyspace::{CommandError, Keyspace};
use super::reply::{KvDialect, Replies};
use super::watched_keys::WatchedKey;

/// Stores the keys. Any thread may call any of its methods.
pub(super) trait Engine: Send + Sync {
    /// Executes calls one after the other. Calls of other clients may come in between. All writes are as durable as the
    /// engine makes them when this returns.
    fn execute(&self, calls: &[Call<'_>], replies: &mut Replies);

    /// Executes calls without any other call in between, and returns where the reply to each of them ends. Returns
    /// `None`, and executes nothing, if a watched key has changed.
    fn execute_atomically(
        &self,
        calls: &[Call<'_>],
        watched: &[WatchedKey],
        replies: &mut Replies,
    ) -> Option<Vec<usize>>;

    /// Whether several writes in one [`execute`](Engine::execute) are faster than one each.
    fn prefers_batches(&self) -> bool;

    /// Whether the keys outlive the process.
    fn is_durable(&self) -> bool;

    /// Begins to watch a key.
    fn watch(&self, key: &[u8]) -> WatchedKey;

    fn unwatch(&self, watched: Vec<WatchedKey>);

    /// The memory that keys and values take, in bytes, as far as this engine knows.
    fn used_memory(&self) -> usize;

    fn key_counts(&self) -> KeyCounts;

    /// How many keys have expired and been removed since the start.
    fn expired_keys(&self) -> u64;
}

/// How many keys there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyCounts {
    pub(super) all: u64,
    pub(super) with_expiry: u64,
}

/// Executes calls one after the other, and returns where the reply to each of them ends.
pub(super) fn execute_each(calls: &[Call<'_>], keyspace: &mut dyn Keyspace, replies: &mut Replies) -> Vec<usize> {
    let mut reply_ends = Vec::with_capacity(calls.len());
    for call in calls {
        call.execute(keyspace, replies);
        reply_ends.push(replies.len());
    }
    reply_ends
}

/// A command and its words. The first word is the command's name.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) command: &'static Command,
    pub(super) words: &'a [&'a [u8]],
}

impl<'a> Call<'a> {
    /// The keys among its words, or `None` if the command concerns all keys.
    pub(super) fn keys(&self) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let arguments = self.words.get(1..).unwrap_or_default();
        let (count, step) = match self.command.keys {
            KeySpec::All => return None,
            KeySpec::None => (0, 1),
            KeySpec::First => (1, 1),
            KeySpec::FirstTwo => (2, 1),
            KeySpec::Every(step) => (arguments.len(), step),
        };
        Some(arguments.iter().take(count).step_by(step).copied())
    }

    /// Executes the command. Adds its reply to `replies`, or the error.
    pub(super) fn execute(&self, keyspace: &mut dyn Keyspace, replies: &mut Replies) {
        let start = replies.len();
        let mut result = (self.command.run)(keyspace, self.words, replies);
        if replies.take_overflow() {
            result = Err(CommandError::new("ERR the reply would be longer than 64 MiB, ask for less at a time"));
        }
        let Err(error) = result else { return };
        replies.truncate(start);
        if replies.dialect() == KvDialect::Text && error.is_usage_error() {
            replies.error(&format!("{}; write {}", error.0, self.command.usage()));
        } else {
            replies.error(&error.0);
        }
    }
}

/// A call that owns its words, for one that is executed later.
pub(super) struct OwnedCall {
    pub(super) command: &'static Command,
    words: Vec<Vec<u8>>,
}

impl OwnedCall {
    pub(super) fn new(command: &'static Command, words: &[&[u8]]) -> OwnedCall {
        OwnedCall { command, words: words.iter().map(|word| word.to_vec()).collect() }
    }

    /// The words as a [`Call`] borrows them.
    pub(super) fn words(&self) -> Vec<&[u8]> {
        self.words.iter().map(Vec::as_slice).collect()
    }
}
