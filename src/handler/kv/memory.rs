//! The engine in memory: the keys are divided among shards with a lock each. A command locks the shards of its keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use super::engine::{Call, Engine, KeyCounts};
use super::keyspace::{Keyspace, unix_millis};
use super::reply::Replies;
use super::watched_keys::WatchedKey;
use crate::panics::lock_ignoring_poison;

mod expiry;
mod expiry_timer;
mod locked_shards;
mod record;
mod shard;
mod shard_context;
mod shards;

use record::Record;
use shards::Shards;

/// Keys and values in memory.
pub(super) struct MemoryEngine {
    shards: Arc<Shards>,
    expiry_thread: Option<JoinHandle<()>>,
}

impl MemoryEngine {
    /// # Errors
    ///
    /// The thread that removes expired keys can't be started.
    pub(super) fn new(max_value: usize) -> io::Result<MemoryEngine> {
        let shards = Arc::new(Shards::new(max_value));
        let expiring = Arc::clone(&shards);
        let thread = thread::Builder::new().name("expiry".into()).spawn(move || expiry::run(&expiring))?;
        Ok(MemoryEngine { shards, expiry_thread: Some(thread) })
    }
}

impl Drop for MemoryEngine {
    fn drop(&mut self) {
        self.shards.context.expiry_timer.stop();
        if let Some(thread) = self.expiry_thread.take() {
            // An error means that the thread has panicked, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

impl Engine for MemoryEngine {
    fn execute(&self, calls: &[Call<'_>], replies: &mut Replies) {
        for call in calls {
            let mut locked = self.shards.lock_for(std::slice::from_ref(call), &[]);
            call.execute(&mut locked, replies);
        }
    }

    fn execute_atomically(
        &self,
        calls: &[Call<'_>],
        watched: &[WatchedKey],
        replies: &mut Replies,
    ) -> Option<Vec<usize>> {
        let mut locked = self.shards.lock_for(calls, watched);
        if !self.shards.context.watched_keys.are_unchanged(watched, locked.now()) {
            return None;
        }
        let mut reply_ends = Vec::with_capacity(calls.len());
        for call in calls {
            call.execute(&mut locked, replies);
            reply_ends.push(replies.len());
        }
        Some(reply_ends)
    }

    fn prefers_batches(&self) -> bool {
        false
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn watch(&self, key: &[u8]) -> WatchedKey {
        let hash = self.shards.context.hash(key);
        // The shard stays locked until the key is watched, so a write comes either before both steps or after them.
        let shard = lock_ignoring_poison(self.shards.shard(hash));
        let expires_at = shard.find(hash, key, unix_millis()).and_then(Record::expires_at);
        let version = self.shards.context.watched_keys.add(key);
        WatchedKey { key: key.to_vec(), version, expires_at }
    }

    fn unwatch(&self, watched: Vec<WatchedKey>) {
        self.shards.context.watched_keys.remove(watched);
    }

    fn used_memory(&self) -> usize {
        self.shards.context.used_bytes.load(Ordering::Relaxed)
    }

    fn key_counts(&self) -> KeyCounts {
        let mut counts = KeyCounts::default();
        for shard in self.shards.iter() {
            let shard = lock_ignoring_poison(shard);
            counts.all += shard.len() as u64;
            counts.with_expiry += shard.len_with_expiry() as u64;
        }
        counts
    }

    fn expired_keys(&self) -> u64 {
        self.shards.context.expired_keys.load(Ordering::Relaxed)
    }
}
