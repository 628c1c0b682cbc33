//! The open database: reads it, commits jobs to it, and opens it again after the disk has failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, DatabaseError, Durability};

use super::file;
use super::job::{JobOutcome, JobQueue, WriteJob};
use super::overlay::Overlay;
use super::read_keyspace::{READ_FAILED, ReadKeyspace};
use super::tables::StoreContext;
use super::write_keyspace::{ModifiedKeys, WriteKeyspace};
use crate::handler::kv::keyspace::CommandError;
use crate::handler::kv::watched_keys::WatchedKeys;

pub(super) struct Store {
    path: PathBuf,
    /// `None` only if the file could not be opened again after a failure, not even to read it.
    database: RwLock<Option<Database>>,
    /// The database can't be trusted after an error, or is a read-only view. The writer opens the file again before the
    /// next transaction. `Relaxed` is enough: the lock of `database` orders the flag with the database, and the lock of
    /// the queue orders it with the writer that a failed read wakes.
    needs_reopen: AtomicBool,
    context: StoreContext,
    /// How many keys have expired and been removed.
    pub(super) expired_keys: AtomicU64,
}

/// What a committed transaction has done.
pub(super) struct Committed {
    /// One for each job.
    pub(super) outcomes: Vec<JobOutcome>,
    pub(super) modified_keys: ModifiedKeys,
    /// When the next key expires, in milliseconds since 1970.
    pub(super) next_expiry: Option<u64>,
    /// How many expired keys were removed.
    pub(super) expired_keys: u64,
}

impl Store {
    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path, max_value: usize) -> io::Result<Store> {
        let database = file::open_or_create(path)?;
        let seed = file::create_tables(&database).map_err(io::Error::other)?;
        Ok(Store {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            needs_reopen: AtomicBool::new(false),
            context: StoreContext { seed, max_value, watched_keys: WatchedKeys::default() },
            expired_keys: AtomicU64::new(0),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn watched_keys(&self) -> &WatchedKeys {
        &self.context.watched_keys
    }

    /// Reads the committed state. After a failed read it wakes the writer to open the file again.
    pub(super) fn read<T>(
        &self,
        queue: &JobQueue,
        read: impl FnOnce(&mut ReadKeyspace<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let result = self.try_read(read);
        if result.as_ref().is_err_and(CommandError::is_disk_error) && !self.needs_reopen.swap(true, Ordering::Relaxed) {
            // One failed read makes the database refuse all others. The first one wakes the writer.
            queue.wake();
        }
        result
    }

    fn try_read<T>(
        &self,
        read: impl FnOnce(&mut ReadKeyspace<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else { return Err(READ_FAILED) };
        let mut keyspace = ReadKeyspace::begin(database, &self.context).map_err(|error| CommandError::disk(&error))?;
        let result = read(&mut keyspace);
        if keyspace.has_failed() { Err(READ_FAILED) } else { result }
    }

    /// Removes expired keys and executes jobs in one transaction, and commits it.
    pub(super) fn transact(&self, jobs: &[Arc<WriteJob>], durability: Durability) -> Result<Committed, redb::Error> {
        self.reopen_if_needed()?;
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else { return Err(redb::Error::DatabaseClosed) };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(durability)?;
        let mut keyspace = WriteKeyspace::begin(&transaction, &self.context)?;
        let expired_keys = keyspace.remove_expired()?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(self.execute(job, &mut keyspace));
            if let Some(error) = keyspace.error.take() {
                return Err(error);
            }
        }
        let next_expiry = keyspace.next_expiry()?;
        let modified_keys = std::mem::take(&mut keyspace.modified_keys);
        drop(keyspace);
        // Without jobs, the commit syncs earlier transactions.
        if jobs.is_empty() || expired_keys > 0 || !modified_keys.is_empty() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        self.expired_keys.fetch_add(expired_keys, Ordering::Relaxed);
        Ok(Committed { outcomes, modified_keys, next_expiry, expired_keys })
    }

    fn execute(&self, job: &WriteJob, keyspace: &mut WriteKeyspace<'_>) -> JobOutcome {
        // Earlier jobs of this transaction may have modified a watched key, which `watched_keys` learns only after the
        // commit.
        let modified_keys = &keyspace.modified_keys;
        let is_modified_here = job.watched.iter().any(|watched| modified_keys.contains(&watched.key));
        if is_modified_here || !self.watched_keys().are_unchanged(&job.watched, keyspace.now) {
            return JobOutcome::WatchedKeyChanged;
        }
        job.execute(keyspace)
    }

    fn reopen_if_needed(&self) -> Result<(), redb::Error> {
        if self.needs_reopen.load(Ordering::Relaxed) {
            self.reopen();
        }
        if self.needs_reopen.load(Ordering::Relaxed) {
            return Err(redb::Error::Io(io::Error::other("the disk still fails")));
        }
        Ok(())
    }

    /// Opens the file again as it is on disk. After an error, neither the database in memory nor the system's cache of the
    /// file can be trusted. If the file can't be opened for writing, this opens a read-only view, and a later write tries
    /// again.
    pub(super) fn reopen(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old database locks the file.
        drop(database.take());
        let reopened = self.open_for_writing();
        self.needs_reopen.store(reopened.is_err(), Ordering::Relaxed);
        *database = match reopened {
            Ok(database) => Some(database),
            Err(error) => {
                log::debug!("{} can't be opened again: {error}", self.path.display());
                let overlay = Overlay::open(&self.path).map_err(DatabaseError::from);
                overlay.and_then(|overlay| Database::builder().create_with_backend(overlay)).ok()
            }
        };
    }

    fn open_for_writing(&self) -> io::Result<Database> {
        file::drop_page_cache(&self.path)?;
        let database = file::open(&self.path)?;
        if file::seed_of(&database).map_err(io::Error::other)? != Some(self.context.seed) {
            return Err(io::Error::other("another file is in its place, restart to use it"));
        }
        Ok(database)
    }
}
