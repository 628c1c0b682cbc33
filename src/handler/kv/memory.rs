//! The engine in memory: the keys are divided among shards, each with a lock. A command locks the shards of its keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::background_thread::BackgroundThread;
use super::engine::{Call, Engine, KeyCounts, execute_each};
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
    /// Dropping it waits until the thread has ended.
    _expiry: BackgroundThread,
}

impl MemoryEngine {
    /// # Errors
    ///
    /// The thread that removes expired keys can't be started.
    pub(super) fn new(max_value: usize) -> io::Result<MemoryEngine> {
        let shards = Arc::new(Shards::new(max_value));
        let expiry_shards = Arc::clone(&shards);
        let expiry = BackgroundThread::spawn("expiry", move || expiry::run(&expiry_shards))?;
        Ok(MemoryEngine { shards, _expiry: expiry })
    }
}

impl Drop for MemoryEngine {
    /// Makes the expiry thread end.
    fn drop(&mut self) {
        self.shards.context.expiry_timer.stop();
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
        Some(execute_each(calls, &mut locked, replies))
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
