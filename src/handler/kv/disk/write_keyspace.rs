//! The writer's transaction, for commands that write.

use std::collections::HashSet;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::tables::{EXPIRY_TIMES, KEYS, StoreContext, decode_value, encode_value, read_entry, scan_table};
use crate::handler::kv::keyspace::{CommandError, CommandResult, KeyEntry, Keyspace, is_live, unix_millis};
use crate::handler::kv::watched_keys::WatchedKeys;

/// The most expired keys that one transaction removes.
pub(super) const MAX_REMOVED_PER_TRANSACTION: u64 = 1024;

pub(super) struct WriteKeyspace<'t> {
    transaction: &'t WriteTransaction,
    /// `None` only while `clear` replaces the tables.
    tables: Option<Tables<'t>>,
    context: &'t StoreContext,
    pub(super) now: u64,
    pub(super) modified_keys: ModifiedKeys,
    /// The first error of the disk. Nothing of this transaction can be committed after it.
    pub(super) error: Option<redb::Error>,
}

impl<'t> WriteKeyspace<'t> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        context: &'t StoreContext,
    ) -> Result<WriteKeyspace<'t>, redb::Error> {
        Ok(WriteKeyspace {
            transaction,
            tables: Some(Tables::open(transaction)?),
            context,
            now: unix_millis(),
            modified_keys: ModifiedKeys::default(),
            error: None,
        })
    }

    /// Removes up to [`MAX_REMOVED_PER_TRANSACTION`] expired keys, and returns how many.
    pub(super) fn remove_expired(&mut self) -> Result<u64, redb::Error> {
        let Some(tables) = &mut self.tables else { return Ok(0) };
        let mut expired = Vec::new();
        let range = tables.expiry_times.range(..(self.now + 1, &[][..]))?;
        for record in range.take(MAX_REMOVED_PER_TRANSACTION as usize) {
            expired.push(record?.0.value().1.to_vec());
        }
        // Not marked as modified, because a client that watches such a key compares its expiry time with the clock.
        for key in &expired {
            tables.remove(&self.context.encode_key(key), key, self.now)?;
        }
        Ok(expired.len() as u64)
    }

    /// When the next key expires, in milliseconds since 1970.
    pub(super) fn next_expiry(&self) -> Result<Option<u64>, redb::Error> {
        let Some(tables) = &self.tables else { return Ok(None) };
        let first = tables.expiry_times.first()?;
        Ok(first.map(|(record, _)| record.value().0))
    }

    /// Writes to the tables. Keeps an error of the disk, which ends the transaction even if the command ignores the error.
    fn write<T>(&mut self, write: impl FnOnce(&mut Tables<'t>) -> Result<T, redb::Error>) -> Result<T, CommandError> {
        let result = self.tables.as_mut().map_or(Err(redb::Error::DatabaseClosed), write);
        result.map_err(|error| self.keep_error(error))
    }

    fn keep_error(&mut self, error: redb::Error) -> CommandError {
        let command_error = CommandError::disk(&error);
        self.error.get_or_insert(error);
        command_error
    }

    fn tables(&self) -> Result<&Tables<'t>, CommandError> {
        self.tables.as_ref().ok_or(CommandError::new("ERR internal error: the tables are being replaced"))
    }
}

impl Keyspace for WriteKeyspace<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn max_value(&self) -> usize {
        self.context.max_value
    }

    fn entry(&self, key: &[u8]) -> Result<Option<KeyEntry<'_>>, CommandError> {
        let entry = read_entry(&self.tables()?.keys, &self.context.encode_key(key), self.now);
        entry.map_err(|error| CommandError::disk(&error))
    }

    fn put(&mut self, key: &[u8], value: &[u8], expires_at: Option<u64>) -> CommandResult {
        let encoded_key = self.context.encode_key(key);
        self.modified_keys.keys.insert(key.to_vec());
        self.write(|tables| tables.put(&encoded_key, key, value, expires_at))
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        let encoded_key = self.context.encode_key(key);
        let now = self.now;
        let was_live = self.write(|tables| tables.remove(&encoded_key, key, now))?;
        if was_live {
            self.modified_keys.keys.insert(key.to_vec());
        }
        Ok(was_live)
    }

    fn len(&self) -> Result<u64, CommandError> {
        self.tables()?.keys.len().map_err(|error| CommandError::disk(&error))
    }

    fn clear(&mut self) -> CommandResult {
        // For the keys that are watched: only those that exist now are modified.
        self.modified_keys.all_cleared = true;
        self.modified_keys.missing_when_cleared.clear();
        for key in self.context.watched_keys.keys() {
            if self.entry(&key)?.is_some() {
                self.modified_keys.keys.insert(key);
            } else {
                self.modified_keys.missing_when_cleared.insert(key);
            }
        }
        // The open tables borrow the transaction, so they are closed first.
        self.tables = None;
        match Tables::replace(self.transaction) {
            Ok(tables) => self.tables = Some(tables),
            Err(error) => return Err(self.keep_error(error)),
        }
        Ok(())
    }

    fn scan(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, CommandError> {
        let next = scan_table(&self.tables()?.keys, self.now, from, count, visit);
        next.map_err(|error| CommandError::disk(&error))
    }
}

struct Tables<'t> {
    keys: Table<'t, &'static [u8], &'static [u8]>,
    expiry_times: Table<'t, (u64, &'static [u8]), ()>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables { keys: transaction.open_table(KEYS)?, expiry_times: transaction.open_table(EXPIRY_TIMES)? })
    }

    /// Deletes the tables, which takes less time than deleting each key, and creates empty ones.
    fn replace(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        transaction.delete_table(KEYS)?;
        transaction.delete_table(EXPIRY_TIMES)?;
        Tables::open(transaction)
    }

    fn put(
        &mut self,
        encoded_key: &[u8],
        key: &[u8],
        value: &[u8],
        expires_at: Option<u64>,
    ) -> Result<(), redb::Error> {
        let stored = encode_value(value, expires_at);
        let old = self.keys.insert(encoded_key, stored.as_slice())?;
        let old_expiry = old.and_then(|old| decode_value(old.value()).0);
        if old_expiry == expires_at {
            return Ok(());
        }
        if let Some(old_expiry) = old_expiry {
            self.expiry_times.remove((old_expiry, key))?;
        }
        if let Some(expires_at) = expires_at {
            self.expiry_times.insert((expires_at, key), ())?;
        }
        Ok(())
    }

    /// Returns whether there was such a key that had not expired.
    fn remove(&mut self, encoded_key: &[u8], key: &[u8], now: u64) -> Result<bool, redb::Error> {
        let Some(old) = self.keys.remove(encoded_key)? else { return Ok(false) };
        let (expires_at, _) = decode_value(old.value());
        if let Some(expires_at) = expires_at {
            self.expiry_times.remove((expires_at, key))?;
        }
        Ok(is_live(expires_at, now))
    }
}

/// The keys that a transaction has modified.
#[derive(Default)]
pub(super) struct ModifiedKeys {
    keys: HashSet<Vec<u8>>,
    /// All keys were deleted.
    all_cleared: bool,
    /// Watched keys that did not exist when all keys were deleted.
    missing_when_cleared: HashSet<Vec<u8>>,
}

impl ModifiedKeys {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all_cleared
    }

    /// Marks the keys as modified for the clients that watch them. Called after the commit: a client that has read a
    /// key before the commit, and then watched it, must not miss the change.
    pub(super) fn mark_in(&self, watched_keys: &WatchedKeys) {
        self.keys.iter().for_each(|key| watched_keys.mark_modified(key));
        if self.all_cleared {
            watched_keys.mark_all_modified(|key| !self.missing_when_cleared.contains(key) && !self.keys.contains(key));
        }
    }
}
