//! The committed state of the file, for commands that only read.

use std::cell::Cell;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, StorageError};

use super::tables::{EXPIRY_TIMES, KEYS, StoreContext, read_entry, scan_table};
use crate::handler::kv::engine::KeyCounts;
use crate::handler::kv::keyspace::{CommandError, CommandResult, KeyEntry, Keyspace, unix_millis};

pub(super) struct ReadKeyspace<'s> {
    keys: ReadOnlyTable<&'static [u8], &'static [u8]>,
    expiry_times: ReadOnlyTable<(u64, &'static [u8]), ()>,
    context: &'s StoreContext,
    now: u64,
    /// Whether the disk has failed. Then no reply may be used, because a command may have ignored the error.
    has_failed: Cell<bool>,
}

pub(super) const READ_FAILED: CommandError =
    CommandError::new("MISCONF the store's file can't be read at the moment, try again");

/// A command that is declared to only read has tried to write.
const READ_ONLY: CommandError = CommandError::new("ERR internal error: this command should not write");

impl<'s> ReadKeyspace<'s> {
    pub(super) fn begin(database: &Database, context: &'s StoreContext) -> Result<ReadKeyspace<'s>, redb::Error> {
        let transaction = database.begin_read()?;
        let (keys, expiry_times) = (transaction.open_table(KEYS)?, transaction.open_table(EXPIRY_TIMES)?);
        Ok(ReadKeyspace { keys, expiry_times, context, now: unix_millis(), has_failed: Cell::new(false) })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    pub(super) fn key_counts(&self) -> Result<KeyCounts, CommandError> {
        Ok(KeyCounts { all: self.check(self.keys.len())?, with_expiry: self.check(self.expiry_times.len())? })
    }

    pub(super) fn expires_at(&self, key: &[u8]) -> Result<Option<u64>, CommandError> {
        Ok(self.entry(key)?.and_then(|entry| entry.expires_at))
    }

    /// Turns an error of the disk into one of the command, and notes that the disk has failed.
    fn check<T>(&self, result: Result<T, StorageError>) -> Result<T, CommandError> {
        result.map_err(|error| {
            self.has_failed.set(true);
            CommandError::disk(&error)
        })
    }
}

impl Keyspace for ReadKeyspace<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn max_value(&self) -> usize {
        self.context.max_value
    }

    fn entry(&self, key: &[u8]) -> Result<Option<KeyEntry<'_>>, CommandError> {
        self.check(read_entry(&self.keys, &self.context.encode_key(key), self.now))
    }

    fn put(&mut self, _: &[u8], _: &[u8], _: Option<u64>) -> CommandResult {
        Err(READ_ONLY)
    }

    fn remove(&mut self, _: &[u8]) -> Result<bool, CommandError> {
        Err(READ_ONLY)
    }

    fn len(&self) -> Result<u64, CommandError> {
        self.check(self.keys.len())
    }

    fn clear(&mut self) -> CommandResult {
        Err(READ_ONLY)
    }

    fn scan(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, CommandError> {
        self.check(scan_table(&self.keys, self.now, from, count, visit))
    }
}
