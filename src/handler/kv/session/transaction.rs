//! MULTI, EXEC, DISCARD, WATCH and UNWATCH: the transaction of a client, and the keys it watches.

use super::{NextAction, OUT_OF_MEMORY, Session};
use crate::handler::kv::commands::{Access, Command};
use crate::handler::kv::engine::Call;
use crate::handler::kv::watched_keys::WatchedKey;

/// The most keys that a client may watch.
const MAX_WATCHED: usize = 4096;
/// The most bytes in the keys of all WATCH commands. A key that is watched twice counts twice.
const MAX_WATCHED_BYTES: usize = 1024 * 1024;

/// The memory that a queued word takes besides its bytes.
const WORD_OVERHEAD: usize = 64;

/// The commands since MULTI.
#[derive(Default)]
pub(super) struct Transaction {
    queue: Vec<Queued>,
    /// The memory that the queue takes, in bytes.
    size: usize,
    /// A command was rejected, so EXEC will execute none.
    pub(super) has_errors: bool,
}

struct Queued {
    command: &'static Command,
    words: Vec<Vec<u8>>,
}

impl Session<'_> {
    pub(super) fn multi(&mut self) {
        if self.transaction.is_some() {
            self.replies.error("ERR MULTI calls can not be nested");
        } else {
            self.transaction = Some(Transaction::default());
            self.replies.ok();
        }
    }

    /// Queues a command for EXEC.
    pub(super) fn queue(&mut self, command: &'static Command, words: &[&[u8]]) {
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
        let words = words.iter().map(|word| word.to_vec()).collect();
        transaction.queue.push(Queued { command, words });
        self.replies.simple("QUEUED");
    }

    pub(super) fn exec(&mut self) -> NextAction {
        let Some(transaction) = self.transaction.take() else {
            self.replies.error("ERR EXEC without MULTI");
            return NextAction::Continue;
        };
        let watched = std::mem::take(&mut self.watched);
        self.watched_bytes = 0;
        let action = match self.exec_error(&transaction) {
            Some(error) => {
                self.replies.error(error);
                NextAction::Continue
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
        let writes = || transaction.queue.iter().any(|queued| queued.command.access == Access::Writes);
        (self.is_memory_full() && writes()).then_some(OUT_OF_MEMORY)
    }

    /// Lets the engine execute the store commands together, then runs the connection commands, and puts all replies in
    /// the order of the queue.
    fn execute_queue(&mut self, queue: &[Queued], watched: &[WatchedKey]) -> NextAction {
        let words: Vec<Vec<&[u8]>> =
            queue.iter().map(|queued| queued.words.iter().map(Vec::as_slice).collect()).collect();
        let commands = queue.iter().map(|queued| queued.command).zip(&words);
        let store_commands = commands.clone().filter(|(command, _)| !command.is_connection_command());
        let calls: Vec<Call<'_>> = store_commands.map(|(command, words)| Call { command, words }).collect();
        let mut store_replies = self.replies.empty_copy();
        let Some(reply_ends) = self.kv.engine.execute_atomically(&calls, watched, &mut store_replies) else {
            self.replies.nil_array();
            return NextAction::Continue;
        };
        self.replies.array(queue.len());
        let (mut start, mut reply_ends, mut action) = (0, reply_ends.into_iter(), NextAction::Continue);
        for (command, words) in commands {
            if command.is_connection_command() {
                let next = self.execute_connection_command(command, words);
                // QUIT wins over anything that follows it.
                if action != NextAction::Close && next != NextAction::Continue {
                    action = next;
                }
            } else {
                let end = reply_ends.next().unwrap_or(start);
                self.replies.append(store_replies.bytes().get(start..end).unwrap_or_default());
                start = end;
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
