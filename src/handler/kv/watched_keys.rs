//! The keys that clients watch for EXEC (WATCH), and how often each has been modified since.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::keyspace::is_live;
use crate::panics::lock_ignoring_poison;

/// A key that a client watches, and its state when the client began.
#[derive(Clone, Debug)]
pub(super) struct WatchedKey {
    pub(super) key: Vec<u8>,
    pub(super) version: u64,
    /// An expiry counts as a change, but it does not change the version. EXEC compares this time with the clock instead.
    pub(super) expires_at: Option<u64>,
}

/// All watched keys of a store. It has no entry for a key that nobody watches.
#[derive(Debug, Default)]
pub(super) struct WatchedKeys {
    /// The number of watched keys, so that a write takes no lock while there are none.
    count: AtomicUsize,
    versions: Mutex<HashMap<Vec<u8>, VersionEntry>>,
}

#[derive(Debug, Default)]
struct VersionEntry {
    watchers: usize,
    /// How often the key has been modified.
    version: u64,
}

impl WatchedKeys {
    /// Adds a watcher of the key and returns the key's current version.
    pub(super) fn add(&self, key: &[u8]) -> u64 {
        let mut versions = lock_ignoring_poison(&self.versions);
        let entry = versions.entry(key.to_vec()).or_default();
        entry.watchers += 1;
        let version = entry.version;
        // SeqCst: on disk, the watcher stores the count before it reads the key, and the writer commits a change before
        // it loads the count. So one of the two sees the other. In memory, the lock of the key's shard orders them.
        self.count.store(versions.len(), Ordering::SeqCst);
        version
    }

    pub(super) fn remove(&self, watched: Vec<WatchedKey>) {
        let mut versions = lock_ignoring_poison(&self.versions);
        for WatchedKey { key, .. } in watched {
            if let Some(entry) = versions.get_mut(&key) {
                entry.watchers -= 1;
                if entry.watchers == 0 {
                    versions.remove(&key);
                }
            }
        }
        // SeqCst: see `add`.
        self.count.store(versions.len(), Ordering::SeqCst);
    }

    /// Changes the key's version, if anyone watches the key.
    pub(super) fn mark_modified(&self, key: &[u8]) {
        // SeqCst: see `add`.
        if self.count.load(Ordering::SeqCst) > 0
            && let Some(entry) = lock_ignoring_poison(&self.versions).get_mut(key)
        {
            entry.version += 1;
        }
    }

    /// Called when all keys are deleted. Marks only keys for which `exists` is true, because the others don't change.
    pub(super) fn mark_all_modified(&self, exists: impl Fn(&[u8]) -> bool) {
        for (_, entry) in lock_ignoring_poison(&self.versions).iter_mut().filter(|(key, _)| exists(key)) {
            entry.version += 1;
        }
    }

    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        lock_ignoring_poison(&self.versions).keys().cloned().collect()
    }

    /// Whether none of `watched` has been modified or has expired by `now`.
    pub(super) fn are_unchanged(&self, watched: &[WatchedKey], now: u64) -> bool {
        let versions = lock_ignoring_poison(&self.versions);
        watched.iter().all(|watched| {
            let is_unmodified = versions.get(&watched.key).is_some_and(|entry| entry.version == watched.version);
            is_unmodified && is_live(watched.expires_at, now)
        })
    }
}
