//! MULTI, EXEC, DISCARD, WATCH and UNWATCH: the transaction of a client, and the keys it watches.

use super::{KvSession, OUT_OF_MEMORY, SessionAction};
use crate::handler::kv::commands::{Access, Command};
use crate::handler::kv::engine::{Call, OwnedCall};
use crate::handler::kv::watched_keys::WatchedKey;

/// The most keys that a client may watch.
const MAX_WATCHED: usize = 4096;
/// The most bytes in the keys of all WATCH commands. A key that is watched twice counts twice.
const MAX_WATCHED_BYTES: usize = 1024 * 1024;

/// The memory that a queued word takes in addition to its bytes.
const WORD_OVERHEAD: usize = 64;

/// The commands since MULTI.
#[derive(Default)]
pub(super) struct Transaction {
    queue: Vec<OwnedCall>,
    /// The memory that the queue takes, in bytes.
    size: usize,
    /// A command was rejected, so EXEC will execute none.
    pub(super) has_errors: bool,
}

impl KvSession<'_> {
    pub(super) fn multi(&mut self) {
        if self.transaction.is_some() {
            self.replies.error("ERR MULTI calls can not be nested");
        } else {
            self.transaction = Some(Transaction::default());
            self.replies.ok();
        }
    }

    /// Queues a command for EXEC.
    pub(super) fn queue_command(&mut self, command: &'static Command, words: &[&[u8]]) {
        let limit = self.request_limits().max_request();
        let Some(transaction) = &mut self.transaction else { return };
        if command.name == "watch" {
            self.replies.error("ERR WATCH inside MULTI is not allowed");
            return;
        }
        transaction.size += words.iter().map(|word| word.len() + WORD_OVERHEAD).sum::<usize>();
        if transaction.size > limit {
            transaction.has_errors = true;
            transaction.queue.clear();
            self.replies.error("ERR too many bytes in a transaction");
            return;
        }
        transaction.queue.push(OwnedCall::new(command, words));
        self.replies.simple("QUEUED");
    }

    pub(super) fn exec(&mut self) -> SessionAction {
        let Some(transaction) = self.transaction.take() else {
            self.replies.error("ERR EXEC without MULTI");
            return SessionAction::Continue;
        };
        let watched = std::mem::take(&mut self.watched);
        self.watched_bytes = 0;
        let action = match self.exec_error(&transaction) {
            Some(error) => {
                self.replies.error(error);
                SessionAction::Continue
            }
            None => self.execute_queue(&transaction.queue, &watched),
        };
        self.kv.engine.unwatch(watched);
        action
    }

    /// Why EXEC must not execute the transaction.
    fn exec_error(&self, transaction: &Transaction) -> Option<&'static str> {
        if transaction.has_errors {
            return Some("EXECABORT Transaction discarded because of previous errors.");
        }
        // Memory was checked when each command was queued. Since then, other clients may have filled it.
        let writes = transaction.queue.iter().any(|call| call.command.access == Access::Writes);
        (writes && self.is_memory_full()).then_some(OUT_OF_MEMORY)
    }

    /// Lets the engine execute the store commands together, then runs the connection commands, and puts all replies in
    /// the order of the queue.
    fn execute_queue(&mut self, queue: &[OwnedCall], watched: &[WatchedKey]) -> SessionAction {
        let words: Vec<Vec<&[u8]>> = queue.iter().map(OwnedCall::words).collect();
        let calls: Vec<Call<'_>> =
            queue.iter().zip(&words).map(|(owned, words)| Call { command: owned.command, words }).collect();
        let is_store_call = |call: &&Call<'_>| !call.command.is_connection_command();
        let store_calls: Vec<Call<'_>> = calls.iter().filter(is_store_call).copied().collect();
        let mut store_replies = self.replies.empty_copy();
        let Some(reply_ends) = self.kv.engine.execute_atomically(&store_calls, watched, &mut store_replies) else {
            self.replies.nil_array();
            return SessionAction::Continue;
        };
        self.replies.array(queue.len());
        let mut reply_start = 0;
        let mut reply_ends = reply_ends.into_iter();
        let mut action = SessionAction::Continue;
        for call in &calls {
            if call.command.is_connection_command() {
                let next_action = self.execute_connection_command(call.command, call.words);
                // QUIT wins over anything that follows it.
                if action != SessionAction::Close && next_action != SessionAction::Continue {
                    action = next_action;
                }
            } else {
                let reply_end = reply_ends.next().unwrap_or(reply_start);
                self.replies.append(store_replies.bytes().get(reply_start..reply_end).unwrap_or_default());
                reply_start = reply_end;
            }
        }
        action
    }

    pub(super) fn discard(&mut self) {
        self.transaction = None;
        self.unwatch();
    }

    pub(super) fn watch(&mut self, keys: &[&[u8]]) {
        for key in keys {
            self.watched_bytes += key.len();
            if self.watched.len() >= MAX_WATCHED || self.watched_bytes > MAX_WATCHED_BYTES {
                self.replies.error("ERR too many watched keys, 4096 are allowed and a megabyte of them");
                return;
            }
            if !self.watched.iter().any(|watched| watched.key == *key) {
                self.watched.push(self.kv.engine.watch(key));
            }
        }
        self.replies.ok();
    }

    pub(super) fn unwatch(&mut self) {
        self.watched_bytes = 0;
        let watched = std::mem::take(&mut self.watched);
        if !watched.is_empty() {
            self.kv.engine.unwatch(watched);
        }
    }
}
