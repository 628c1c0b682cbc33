//! A part of the keys: the records in it, when they expire, and the memory that both take.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use hashbrown::HashTable;

use super::Shared;
use super::record::{Record, allocated};

#[derive(Default)]
pub(super) struct Shard {
    pub(super) records: HashTable<Record>,
    /// Keys that expire, and when.
    pub(super) deadlines: BTreeSet<(u64, Box<[u8]>)>,
}

impl Shard {
    pub(super) fn find(&self, hash: u64, key: &[u8], now: u64) -> Option<&Record> {
        self.records.find(hash, |record| record.key() == key).filter(|record| record.is_live(now))
    }

    pub(super) fn put(&mut self, hash: u64, key: &[u8], value: &[u8], expires: Option<u64>, shared: &Shared) {
        let mut old = None;
        if let Some(record) = self.records.find_mut(hash, |record| record.key() == key) {
            let before = record.footprint();
            old = record.expires();
            if !record.replace(value, expires) {
                *record = Record::new(key, value, expires);
                shared.used.fetch_add(record.footprint(), Ordering::Relaxed);
                shared.used.fetch_sub(before, Ordering::Relaxed);
            }
        } else {
            let tables = self.table_size();
            let record = Record::new(key, value, expires);
            shared.used.fetch_add(record.footprint(), Ordering::Relaxed);
            self.records.insert_unique(hash, record, |record| shared.hash(record.key()));
            shared.used.fetch_add(self.table_size() - tables, Ordering::Relaxed);
        }
        self.note_deadline(old, expires, key, shared);
    }

    pub(super) fn set_deadline(&mut self, hash: u64, key: &[u8], expires: Option<u64>, shared: &Shared) {
        if let Some(record) = self.records.find_mut(hash, |record| record.key() == key) {
            let old = record.expires();
            record.set_expires(expires);
            self.note_deadline(old, expires, key, shared);
        }
    }

    fn note_deadline(&mut self, old: Option<u64>, new: Option<u64>, key: &[u8], shared: &Shared) {
        if old == new {
            return;
        }
        self.forget_deadline(old, key, shared);
        if let Some(deadline) = new {
            shared.used.fetch_add(deadline_footprint(key), Ordering::Relaxed);
            self.deadlines.insert((deadline, key.into()));
            shared.alarm.set(deadline);
        }
    }

    /// Whether it was there, expired or not.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8], shared: &Shared) -> Option<Record> {
        let tables = self.table_size();
        let entry = self.records.find_entry(hash, |record| record.key() == key).ok()?;
        let (record, _) = entry.remove();
        shared.used.fetch_sub(record.footprint(), Ordering::Relaxed);
        self.forget_deadline(record.expires(), key, shared);
        // Room that a quarter of it would do is given back, down to a size that is not worth it.
        let (length, capacity) = (self.records.len(), self.records.capacity());
        if capacity > 1024 && length < capacity / 4 {
            self.records.shrink_to(length * 2, |record| shared.hash(record.key()));
        }
        shared.used.fetch_sub(tables - self.table_size(), Ordering::Relaxed);
        Some(record)
    }

    fn forget_deadline(&mut self, deadline: Option<u64>, key: &[u8], shared: &Shared) {
        if let Some(deadline) = deadline
            && self.deadlines.remove(&(deadline, key.into()))
        {
            shared.used.fetch_sub(deadline_footprint(key), Ordering::Relaxed);
        }
    }

    pub(super) fn clear(&mut self, shared: &Shared) -> Shard {
        let records: usize = self.records.iter().map(Record::footprint).sum();
        let deadlines: usize = self.deadlines.iter().map(|(_, key)| deadline_footprint(key)).sum();
        shared.used.fetch_sub(records + deadlines + self.table_size(), Ordering::Relaxed);
        std::mem::take(self)
    }

    fn table_size(&self) -> usize {
        self.records.allocation_size()
    }
}

/// Memory that a deadline takes: a copy of the key, and its place in a tree whose nodes are two thirds full.
fn deadline_footprint(key: &[u8]) -> usize {
    allocated(key.len()) + size_of::<(u64, Box<[u8]>)>() * 3 / 2
}
