//! The tables in the file: their format, and how both keyspaces read them.

use std::borrow::Cow;
use std::hash::Hasher;

use redb::{ReadableTable, StorageError, TableDefinition};
use siphasher::sip::SipHasher13;

use crate::handler::kv::keyspace::{KeyEntry, ScanCounter, decode_expiry, encode_expiry, is_live};
use crate::handler::kv::watched_keys::WatchedKeys;

/// Maps a key's hash (8 bytes, big-endian) and the key to its expiry time ([`encode_expiry`]) and its value.
/// The records are in the order of their hashes, so SCAN's cursor is a hash.
pub(super) const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");

/// The keys that have an expiry time, in the order of these times. The table is called `deadlines` in existing files.
pub(super) const EXPIRY_TIMES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("deadlines");

/// What keyspaces need in addition to the tables.
pub(super) struct StoreContext {
    /// The seed of the hashes. It is random, so that clients can't choose keys that collide, and kept in the file.
    pub(super) seed: [u8; 16],
    /// The longest value allowed, in bytes.
    pub(super) max_value: usize,
    pub(super) watched_keys: WatchedKeys,
}

impl StoreContext {
    /// The key as it is in the file.
    pub(super) fn encode_key(&self, key: &[u8]) -> Vec<u8> {
        let mut hasher = SipHasher13::new_with_key(&self.seed);
        hasher.write(key);
        [&hasher.finish().to_be_bytes(), key].concat()
    }
}

/// The value as it is in the file.
pub(super) fn encode_value(value: &[u8], expires_at: Option<u64>) -> Vec<u8> {
    [&encode_expiry(expires_at), value].concat()
}

/// Splits a stored value into the expiry time and the value.
pub(super) fn decode_value(stored: &[u8]) -> (Option<u64>, &[u8]) {
    let (expires_at, value) = stored.split_first_chunk().unwrap_or((&[0xFF; 8], &[]));
    (decode_expiry(*expires_at), value)
}

/// The key, unless it does not exist or has expired.
pub(super) fn read_entry(
    keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    encoded_key: &[u8],
    now: u64,
) -> Result<Option<KeyEntry<'static>>, StorageError> {
    let stored = keys.get(encoded_key)?;
    Ok(stored.and_then(|stored| {
        let (expires_at, value) = decode_value(stored.value());
        is_live(expires_at, now).then(|| KeyEntry { value: Cow::Owned(value.to_vec()), expires_at })
    }))
}

/// Visits keys as [`Keyspace::scan`](crate::handler::kv::keyspace::Keyspace::scan) does.
pub(super) fn scan_table(
    keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    now: u64,
    from: u64,
    count: usize,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<u64, StorageError> {
    let mut counter = ScanCounter::new(count);
    for record in keys.range(&from.to_be_bytes()[..]..)? {
        let (encoded_key, stored) = record?;
        let Some((hash, key)) = encoded_key.value().split_first_chunk() else { continue };
        let hash = u64::from_be_bytes(*hash);
        if counter.stops_before(hash) {
            return Ok(hash);
        }
        if is_live(decode_value(stored.value()).0, now) {
            visit(key);
            counter.count(hash);
        }
    }
    Ok(0)
}
