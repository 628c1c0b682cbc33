//! What commands see of the file: what is committed, to those that only read, and the writer's transaction, to all
//! others.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::hash::Hasher;

use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    WriteTransaction,
};
use siphasher::sip::SipHasher13;

use super::Shared;
use crate::handler::kv::engine::{Entry, Failure, Keyspace, Watches, now};

/// Keys and values: the key's hash (8 bytes, the highest first) and the key; when it expires (8 bytes, all ones for
/// never) and the value. In the order of hashes, so that SCAN's cursor is a hash.
pub(super) const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");

/// Keys that expire, by when they do.
pub(super) const DEADLINES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("deadlines");

/// At most this many expired keys are dropped in one transaction.
pub(super) const DROPPED_AT_ONCE: u64 = 1024;

fn hash(seed: &[u8; 16], key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(seed);
    hasher.write(key);
    hasher.finish()
}

/// The key as the file has it.
fn stored_key(seed: &[u8; 16], key: &[u8]) -> Vec<u8> {
    [&hash(seed, key).to_be_bytes(), key].concat()
}

/// The value as the file has it.
fn stored_value(value: &[u8], expires: Option<u64>) -> Vec<u8> {
    [&expires.unwrap_or(u64::MAX).to_le_bytes(), value].concat()
}

/// When it expires, and the value.
fn parse_value(stored: &[u8]) -> (Option<u64>, &[u8]) {
    let (expires, value) = stored.split_first_chunk().unwrap_or((&[0xFF; 8], &[]));
    (Some(u64::from_le_bytes(*expires)).filter(|expires| *expires != u64::MAX), value)
}

/// What all keyspaces in the file read.
fn entry_of(
    keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    seed: &[u8; 16],
    key: &[u8],
    now: u64,
) -> Result<Option<Entry<'static>>, redb::StorageError> {
    let stored = keys.get(stored_key(seed, key).as_slice())?;
    Ok(stored.and_then(|stored| {
        let (expires, value) = parse_value(stored.value());
        let is_live = expires.is_none_or(|expires| expires > now);
        is_live.then(|| Entry { value: Cow::Owned(value.to_vec()), expires })
    }))
}

fn walk_over(
    keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    now: u64,
    from: u64,
    count: usize,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<u64, redb::StorageError> {
    let (mut visited, mut last) = (0, None);
    for record in keys.range(&from.to_be_bytes()[..]..)? {
        let (key, value) = record?;
        let Some((hash, key)) = key.value().split_first_chunk() else { continue };
        let hash = u64::from_be_bytes(*hash);
        if visited >= count && last != Some(hash) {
            return Ok(hash);
        }
        if parse_value(value.value()).0.is_none_or(|expires| expires > now) {
            visit(key);
            visited += 1;
            last = Some(hash);
        }
    }
    Ok(0)
}

/// What is committed, for commands that only read.
pub(super) struct Reading {
    keys: ReadOnlyTable<&'static [u8], &'static [u8]>,
    deadlines: ReadOnlyTable<(u64, &'static [u8]), ()>,
    seed: [u8; 16],
    max_value: usize,
    now: u64,
    /// The disk has failed, whatever the command has made of it.
    has_failed: Cell<bool>,
}

pub(super) const FAILED_READ: Failure = Failure::new("MISCONF the store's file can't be read at the moment, try again");

impl Reading {
    pub(super) fn begin(database: &Database, shared: &Shared) -> Result<Reading, redb::Error> {
        let transaction = database.begin_read()?;
        let (keys, deadlines) = (transaction.open_table(KEYS)?, transaction.open_table(DEADLINES)?);
        let (seed, max_value) = (shared.seed, shared.max_value);
        Ok(Reading { keys, deadlines, seed, max_value, now: now(), has_failed: Cell::new(false) })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    fn check<T>(&self, outcome: Result<T, redb::StorageError>) -> Result<T, Failure> {
        outcome.map_err(|error| {
            self.has_failed.set(true);
            Failure::of_disk(&error)
        })
    }

    pub(super) fn deadlines(&self) -> Result<u64, Failure> {
        self.check(self.deadlines.len())
    }
}

/// A command that is declared to only read tries to write.
const READ_ONLY: Failure = Failure::new("ERR internal error: this command should not write");

impl Keyspace for Reading {
    fn now(&self) -> u64 {
        self.now
    }

    fn max_value(&self) -> usize {
        self.max_value
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry<'_>>, Failure> {
        self.check(entry_of(&self.keys, &self.seed, key, self.now))
    }

    fn put(&mut self, _: &[u8], _: &[u8], _: Option<u64>) -> Result<(), Failure> {
        Err(READ_ONLY)
    }

    fn remove(&mut self, _: &[u8]) -> Result<bool, Failure> {
        Err(READ_ONLY)
    }

    fn len(&self) -> Result<u64, Failure> {
        self.check(self.keys.len())
    }

    fn clear(&mut self) -> Result<(), Failure> {
        Err(READ_ONLY)
    }

    fn walk(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, Failure> {
        self.check(walk_over(&self.keys, self.now, from, count, visit))
    }
}

/// Keys that were written in a transaction.
#[derive(Default)]
pub(super) struct Touched {
    keys: HashSet<Vec<u8>>,
    /// All keys were deleted.
    cleared: bool,
    /// Watched keys that were not there then.
    absent: HashSet<Vec<u8>>,
}

impl Touched {
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.cleared
    }

    /// After the commit, so that whoever has read a key before, and watched it, hears of it.
    pub(super) fn tell(&self, watches: &Watches) {
        self.keys.iter().for_each(|key| watches.touch(key));
        if self.cleared {
            watches.touch_all(|key| !self.absent.contains(key) && !self.keys.contains(key));
        }
    }
}

/// A transaction of the writer.
pub(super) struct Writing<'t> {
    transaction: &'t WriteTransaction,
    /// `None` only while they are made anew.
    tables: Option<Tables<'t>>,
    shared: &'t Shared,
    pub(super) now: u64,
    pub(super) touched: Touched,
    /// The disk has failed: nothing of this transaction can be committed.
    pub(super) error: Option<redb::Error>,
}

struct Tables<'t> {
    keys: Table<'t, &'static [u8], &'static [u8]>,
    deadlines: Table<'t, (u64, &'static [u8]), ()>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables { keys: transaction.open_table(KEYS)?, deadlines: transaction.open_table(DEADLINES)? })
    }

    fn put(&mut self, stored_key: &[u8], key: &[u8], value: &[u8], expires: Option<u64>) -> Result<(), redb::Error> {
        let stored_value = stored_value(value, expires);
        let old = self.keys.insert(stored_key, stored_value.as_slice())?;
        let old = old.and_then(|old| parse_value(old.value()).0);
        if old != expires {
            if let Some(old) = old {
                self.deadlines.remove((old, key))?;
            }
            if let Some(expires) = expires {
                self.deadlines.insert((expires, key), ())?;
            }
        }
        Ok(())
    }

    /// When it would have expired; `None`: it was not there.
    fn remove(&mut self, stored_key: &[u8], key: &[u8]) -> Result<Option<u64>, redb::Error> {
        let old = self.keys.remove(stored_key)?;
        let Some(expires) = old.map(|old| parse_value(old.value()).0) else { return Ok(None) };
        if let Some(expires) = expires {
            self.deadlines.remove((expires, key))?;
        }
        Ok(Some(expires.unwrap_or(u64::MAX)))
    }
}

impl<'t> Writing<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction, shared: &'t Shared) -> Result<Writing<'t>, redb::Error> {
        let tables = Some(Tables::open(transaction)?);
        Ok(Writing { transaction, tables, shared, now: now(), touched: Touched::default(), error: None })
    }

    /// How many were dropped.
    pub(super) fn drop_expired(&mut self) -> Result<u64, redb::Error> {
        let Some(tables) = &mut self.tables else { return Ok(0) };
        let mut expired = Vec::new();
        for record in tables.deadlines.range(..(self.now + 1, &[][..]))?.take(DROPPED_AT_ONCE as usize) {
            expired.push(record?.0.value().1.to_vec());
        }
        for key in &expired {
            tables.remove(&stored_key(&self.shared.seed, key), key)?;
        }
        // Whoever watches one of them knows when it expires.
        Ok(expired.len() as u64)
    }

    pub(super) fn next_deadline(&self) -> Result<Option<u64>, redb::Error> {
        let Some(tables) = &self.tables else { return Ok(None) };
        let first = tables.deadlines.first()?;
        Ok(first.map(|(deadline, _)| deadline.value().0))
    }

    /// Does something with the tables. An error of the disk ends the transaction, whatever becomes of the reply.
    fn with<T>(&mut self, act: impl FnOnce(&mut Tables<'t>) -> Result<T, redb::Error>) -> Result<T, Failure> {
        let outcome = self.tables.as_mut().map_or(Err(redb::Error::DatabaseClosed), act);
        outcome.map_err(|error| {
            let failure = Failure::of_disk(&error);
            self.error.get_or_insert(error);
            failure
        })
    }

    fn tables(&self) -> Result<&Tables<'t>, Failure> {
        self.tables.as_ref().ok_or(Failure::new("ERR internal error: the tables are being made"))
    }
}

impl Keyspace for Writing<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn max_value(&self) -> usize {
        self.shared.max_value
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry<'_>>, Failure> {
        entry_of(&self.tables()?.keys, &self.shared.seed, key, self.now).map_err(|error| Failure::of_disk(&error))
    }

    fn put(&mut self, key: &[u8], value: &[u8], expires: Option<u64>) -> Result<(), Failure> {
        let stored = stored_key(&self.shared.seed, key);
        self.touched.keys.insert(key.to_vec());
        self.with(|tables| tables.put(&stored, key, value, expires))
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Failure> {
        let stored = stored_key(&self.shared.seed, key);
        let removed = self.with(|tables| tables.remove(&stored, key))?;
        let was_live = removed.is_some_and(|expires| expires > self.now);
        if was_live {
            self.touched.keys.insert(key.to_vec());
        }
        Ok(was_live)
    }

    fn len(&self) -> Result<u64, Failure> {
        self.tables()?.keys.len().map_err(|error| Failure::of_disk(&error))
    }

    fn clear(&mut self) -> Result<(), Failure> {
        self.touched.cleared = true;
        self.touched.absent.clear();
        for key in self.shared.watches.keys() {
            if self.entry(&key)?.is_some() {
                self.touched.keys.insert(key);
            } else {
                self.touched.absent.insert(key);
            }
        }
        self.tables = None;
        let transaction = self.transaction;
        let cleared = (|| {
            transaction.delete_table(KEYS)?;
            transaction.delete_table(DEADLINES)?;
            Tables::open(transaction)
        })();
        match cleared {
            Ok(tables) => {
                self.tables = Some(tables);
                Ok(())
            }
            Err(error) => self.with(|_| Err(error)),
        }
    }

    fn walk(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, Failure> {
        walk_over(&self.tables()?.keys, self.now, from, count, visit).map_err(|error| Failure::of_disk(&error))
    }
}
