//! A shard: a part of the keys, their expiry times, and the accounting of the memory that both take.

use std::collections::BTreeSet;

use hashbrown::HashTable;

use super::record::{Record, allocation_size};
use super::shard_context::ShardContext;
use crate::handler::kv::keyspace::write_at;

/// A power of two, because the upper bits of a key's hash choose the shard. At most 64, so that a set of shards fits
/// into a `u64`.
pub(super) const SHARDS: usize = 64;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();

pub(super) fn shard_index(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

/// Its methods take the hash of the key, which the caller has computed to find the shard.
#[derive(Default)]
pub(super) struct Shard {
    records: HashTable<Record>,
    /// The expiry times of the keys that have one.
    expiry_times: BTreeSet<(u64, Box<[u8]>)>,
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn len_with_expiry(&self) -> usize {
        self.expiry_times.len()
    }

    pub(super) fn find(&self, hash: u64, key: &[u8], now: u64) -> Option<&Record> {
        self.records.find(hash, |record| record.key() == key).filter(|record| record.is_live(now))
    }

    pub(super) fn live_records(&self, now: u64) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.is_live(now))
    }

    /// The key that expires next, and when.
    pub(super) fn next_expiry(&self) -> Option<(u64, &[u8])> {
        self.expiry_times.first().map(|(expires_at, key)| (*expires_at, &**key))
    }

    /// Stores a value and its expiry time, in place of any old ones.
    pub(super) fn put(&mut self, hash: u64, key: &[u8], value: &[u8], expires_at: Option<u64>, context: &ShardContext) {
        let mut old_expiry = None;
        if let Some(record) = self.records.find_mut(hash, |record| record.key() == key) {
            old_expiry = record.expires_at();
            if !record.replace_in_place(value, expires_at) {
                context.subtract_used(record.allocation_size());
                *record = Record::new(key, value, expires_at);
                context.add_used(record.allocation_size());
            }
        } else {
            let table_size = self.table_size();
            let record = Record::new(key, value, expires_at);
            context.add_used(record.allocation_size());
            self.records.insert_unique(hash, record, |record| context.hash(record.key()));
            context.add_used(self.table_size() - table_size);
        }
        self.update_expiry(old_expiry, expires_at, key, context);
    }

    /// Writes a piece into a value and returns the value's new length: see
    /// [`Keyspace::overwrite`](crate::handler::kv::keyspace::Keyspace::overwrite).
    pub(super) fn overwrite(
        &mut self,
        hash: u64,
        key: &[u8],
        offset: usize,
        piece: &[u8],
        now: u64,
        context: &ShardContext,
    ) -> usize {
        let record = self.records.find_mut(hash, |record| record.key() == key);
        if let Some(record) = record.filter(|record| record.is_live(now)) {
            let old_size = record.allocation_size();
            let length = record.overwrite(offset, piece);
            context.add_used(record.allocation_size());
            context.subtract_used(old_size);
            return length;
        }
        let mut value = Vec::new();
        write_at(&mut value, offset, piece);
        self.put(hash, key, &value, None, context);
        value.len()
    }

    pub(super) fn set_expiry(&mut self, hash: u64, key: &[u8], expires_at: Option<u64>, context: &ShardContext) {
        if let Some(record) = self.records.find_mut(hash, |record| record.key() == key) {
            let old_expiry = record.expires_at();
            record.set_expiry(expires_at);
            self.update_expiry(old_expiry, expires_at, key, context);
        }
    }

    /// Returns the record that was removed, even if it had expired.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8], context: &ShardContext) -> Option<Record> {
        let table_size = self.table_size();
        let entry = self.records.find_entry(hash, |record| record.key() == key).ok()?;
        let (record, _) = entry.remove();
        context.subtract_used(record.allocation_size());
        self.remove_expiry(record.expires_at(), key, context);
        // Shrinks a table that is less than a quarter full, unless it is small anyway.
        let (length, capacity) = (self.records.len(), self.records.capacity());
        if capacity > 1024 && length < capacity / 4 {
            self.records.shrink_to(length * 2, |record| context.hash(record.key()));
        }
        context.subtract_used(table_size - self.table_size());
        Some(record)
    }

    /// Removes all records and returns them, so that the caller can free them without the lock.
    pub(super) fn take_all(&mut self, context: &ShardContext) -> Shard {
        let records: usize = self.records.iter().map(Record::allocation_size).sum();
        let expiry_times: usize = self.expiry_times.iter().map(|(_, key)| expiry_size(key)).sum();
        context.subtract_used(records + expiry_times + self.table_size());
        std::mem::take(self)
    }

    fn update_expiry(&mut self, old: Option<u64>, new: Option<u64>, key: &[u8], context: &ShardContext) {
        if old == new {
            return;
        }
        self.remove_expiry(old, key, context);
        if let Some(expires_at) = new {
            context.add_used(expiry_size(key));
            self.expiry_times.insert((expires_at, key.into()));
            context.expiry_timer.schedule(expires_at);
        }
    }

    fn remove_expiry(&mut self, expires_at: Option<u64>, key: &[u8], context: &ShardContext) {
        if let Some(expires_at) = expires_at
            && self.expiry_times.remove(&(expires_at, key.into()))
        {
            context.subtract_used(expiry_size(key));
        }
    }

    fn table_size(&self) -> usize {
        self.records.allocation_size()
    }
}

/// The memory that an expiry time takes: a copy of the key, and an entry in a tree whose nodes are two thirds full.
fn expiry_size(key: &[u8]) -> usize {
    allocation_size(key.len()) + size_of::<(u64, Box<[u8]>)>() * 3 / 2
}
