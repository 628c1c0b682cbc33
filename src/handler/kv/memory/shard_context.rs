//! What all shards share: the hash function, the memory accounting, the watched keys and the expiry timer.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::expiry_timer::ExpiryTimer;
use crate::handler::kv::watched_keys::WatchedKeys;

pub(super) struct ShardContext {
    /// Seeded at random, so that clients can't choose keys that collide.
    hasher: RandomState,
    pub(super) watched_keys: WatchedKeys,
    /// The longest value allowed, in bytes.
    pub(super) max_value: usize,
    pub(super) used_bytes: AtomicUsize,
    /// How many keys have expired and been removed.
    pub(super) expired_keys: AtomicU64,
    pub(super) expiry_timer: ExpiryTimer,
}

impl ShardContext {
    pub(super) fn new(max_value: usize) -> ShardContext {
        ShardContext {
            hasher: RandomState::new(),
            watched_keys: WatchedKeys::default(),
            max_value,
            used_bytes: AtomicUsize::new(0),
            expired_keys: AtomicU64::new(0),
            expiry_timer: ExpiryTimer::default(),
        }
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(super) fn add_used(&self, bytes: usize) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn subtract_used(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
