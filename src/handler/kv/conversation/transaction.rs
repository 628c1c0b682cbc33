//! A client's transaction: the commands between MULTI and EXEC, and the keys that are watched for it.

use super::{Conversation, Next, OOM};
use crate::handler::kv::commands::{Access, Command};
use crate::handler::kv::engine::Call;

/// Keys that a client may watch, and the bytes of all of them, for each WATCH that names them.
const WATCHED: usize = 4096;
const WATCHED_BYTES: usize = 1024 * 1024;

/// Commands between MULTI and EXEC.
#[derive(Default)]
pub(super) struct Transaction {
    queue: Vec<Queued>,
    /// Bytes of all of them.
    size: usize,
    /// One of them was wrong, so none will be executed.
    pub(super) is_broken: bool,
}

struct Queued {
    command: &'static Command,
    words: Vec<Vec<u8>>,
}

impl Conversation<'_> {
    pub(super) fn multi(&mut self) {
        if self.transaction.is_some() {
            self.replies.error("ERR MULTI calls can not be nested");
        } else {
            self.transaction = Some(Transaction::default());
            self.replies.ok();
        }
    }

    /// Keeps a command for EXEC.
    pub(super) fn queue(&mut self, command: &'static Command, words: &[&[u8]]) {
        let limit = self.bounds().request();
        let Some(transaction) = &mut self.transaction else { return };
        if command.name == "watch" {
            self.replies.error("ERR WATCH inside MULTI is not allowed");
            return;
        }
        transaction.size += words.iter().map(|word| word.len() + 64).sum::<usize>();
        if transaction.size > limit {
            transaction.is_broken = true;
            transaction.queue.clear();
            self.replies.error("ERR too many bytes in a transaction");
            return;
        }
        let words = words.iter().map(|word| word.to_vec()).collect();
        transaction.queue.push(Queued { command, words });
        self.replies.simple("QUEUED");
    }

    pub(super) fn exec(&mut self) -> Next {
        let Some(Transaction { queue, is_broken, .. }) = self.transaction.take() else {
            self.replies.error("ERR EXEC without MULTI");
            return Next::Continue;
        };
        let watched = std::mem::take(&mut self.watched);
        self.watched_bytes = 0;
        let writes = || queue.iter().any(|queued| queued.command.access == Access::Writes);
        let refusal = if is_broken {
            Some("EXECABORT Transaction discarded because of previous errors.")
        } else {
            // As when it was queued: many may have queued what together is too much.
            (self.is_full() && writes()).then_some(OOM)
        };
        if let Some(refusal) = refusal {
            self.kv.engine.unwatch(watched);
            self.replies.error(refusal);
            return Next::Continue;
        }
        let words: Vec<Vec<&[u8]>> =
            queue.iter().map(|queued| queued.words.iter().map(Vec::as_slice).collect()).collect();
        let all = queue.iter().zip(&words);
        let calls: Vec<Call<'_>> = all
            .clone()
            .filter(|(queued, _)| !queued.command.talks())
            .map(|(queued, words)| Call { command: queued.command, words })
            .collect();
        let mut from_store = self.replies.empty_copy();
        let ends = self.kv.engine.run_together(&calls, &watched, &mut from_store);
        self.kv.engine.unwatch(watched);
        let Some(ends) = ends else {
            self.replies.nil_array();
            return Next::Continue;
        };
        self.replies.array(queue.len());
        let (mut begin, mut ends, mut next) = (0, ends.into_iter(), Next::Continue);
        for (queued, words) in all {
            if queued.command.talks() {
                let after = self.talk(queued.command, words);
                if next != Next::Close && after != Next::Continue {
                    next = after;
                }
            } else {
                let end = ends.next().unwrap_or(begin);
                self.replies.append(from_store.bytes().get(begin..end).unwrap_or_default());
                begin = end;
            }
        }
        next
    }

    pub(super) fn discard(&mut self) {
        self.transaction = None;
        self.unwatch();
    }

    pub(super) fn watch(&mut self, keys: &[&[u8]]) {
        for key in keys {
            self.watched_bytes += key.len();
            if self.watched.len() >= WATCHED || self.watched_bytes > WATCHED_BYTES {
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
