//! The engine on disk: one file, in which what was acknowledged survives whatever happens to the process.
//!
//! One thread writes. It takes all that clients have asked for while it was busy with the last transaction, executes it in
//! one, commits, which waits for the disk once, and only then lets these clients go on. So the more clients there are, the
//! more of them share one wait. Readers see what is committed, each by itself, and never wait.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redb::{
    Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};
use siphasher::sip::SipHasher13;

use super::commands::{Access, Command};
use super::engine::{Call, Engine, Entry, Failure, Keyspace, Watched, Watches, now};
use super::reply::Replies;
use crate::panics::lock;

mod overlay;

use overlay::Overlay;

/// Keys and values: the key's hash (8 bytes, the highest first) and the key; when it expires (8 bytes, all ones for never)
/// and the value. In the order of hashes, so that SCAN's cursor is a hash.
const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");

/// Keys that expire, by when they do.
const DEADLINES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("deadlines");

/// `seed`: of the hashes. Random, so that nobody can choose keys that collide.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Memory for what was read or is to be written, in bytes.
const CACHE: usize = 256 * 1024 * 1024;

/// At most this many expired keys are dropped in one transaction.
const DROPPED_AT_ONCE: u64 = 1024;

/// Expired keys are dropped this often at the most. Nobody sees them meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// With [`Fsync::EverySecond`].
const SECOND: Duration = Duration::from_secs(1);

/// When what was written is made to survive a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// Within a second: a crash may take back what was acknowledged in that time, and seen by others.
    EverySecond,
}

/// Keys and values in a file.
pub(super) struct Disk {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    /// `None` only while it is opened again after a failure of the disk.
    database: RwLock<Option<Database>>,
    /// What is open is not the file itself, but a view of it.
    is_read_only: AtomicBool,
    seed: [u8; 16],
    fsync: Fsync,
    max_value: usize,
    watches: Watches,
    queue: Mutex<Queue>,
    arrived: Condvar,
    expired: AtomicU64,
}

/// What clients wait for, one job each at the most.
#[derive(Default)]
struct Queue {
    jobs: Vec<Arc<Job>>,
    is_over: bool,
}

/// Calls of one client, and the place where it waits.
struct Job {
    calls: Vec<(&'static Command, Vec<Vec<u8>>)>,
    /// EXEC's condition.
    watched: Vec<Watched>,
    /// In the client's dialect, empty.
    replies: Replies,
    outcome: Mutex<Option<Outcome>>,
    done: Condvar,
}

/// What became of a job.
enum Outcome {
    /// The replies, and where each of them ends.
    Executed(Replies, Vec<usize>),
    /// A watched key has changed.
    Refused,
}

impl Disk {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// It can't be opened, or another process has it: the message says who.
    pub(super) fn open(path: &Path, fsync: Fsync, max_value: usize) -> io::Result<Disk> {
        let database = open(path)?;
        let seed = prepare(&database).map_err(io::Error::other)?;
        if let Some(folder) = path.canonicalize()?.parent() {
            // The name of a new file must survive too.
            File::open(folder)?.sync_all()?;
        }
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            is_read_only: AtomicBool::new(false),
            seed,
            fsync,
            max_value,
            watches: Watches::default(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            expired: AtomicU64::new(0),
        });
        let writing = Arc::clone(&shared);
        let writer = thread::Builder::new().name("store".into()).spawn(move || writing.write())?;
        Ok(Disk { shared, writer: Some(writer) })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_over = true;
        self.shared.arrived.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn open(path: &Path) -> io::Result<Database> {
    let opened = Database::builder().set_cache_size(CACHE).create(path);
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} has it; end that one, or choose another file", owner(path)),
        ),
        DatabaseError::Storage(redb::StorageError::Io(error)) => error,
        other => io::Error::other(format!("it is no store of acceptd, or damaged: {other}")),
    })
}

/// Who has a file open, as far as the system tells us.
fn owner(path: &Path) -> String {
    let same = |one: &fs::Metadata, other: &fs::Metadata| one.dev() == other.dev() && one.ino() == other.ino();
    let find = || {
        let file = fs::metadata(path).ok()?;
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            *pid != std::process::id()
                && descriptors.filter_map(|entry| fs::metadata(entry.path()).ok()).any(|open| same(&open, &file))
        })
    };
    find().map_or_else(|| "another process".to_owned(), |pid| format!("the process {pid}"))
}

/// Makes the tables of a new file. The seed of its hashes.
fn prepare(database: &Database) -> Result<[u8; 16], redb::Error> {
    let transaction = database.begin_write()?;
    let seed = {
        let mut meta = transaction.open_table(META)?;
        let kept = meta.get("seed")?.and_then(|seed| seed.value().try_into().ok());
        let seed = kept.unwrap_or_else(random);
        meta.insert("seed", &seed[..])?;
        transaction.open_table(KEYS)?;
        transaction.open_table(DEADLINES)?;
        seed
    };
    transaction.commit()?;
    Ok(seed)
}

fn random() -> [u8; 16] {
    let half = || RandomState::new().hash_one(now());
    (u128::from(half()) << 64 | u128::from(half())).to_le_bytes()
}

impl Engine for Disk {
    fn run(&self, calls: &[Call<'_>], replies: &mut Replies) {
        if calls.iter().all(|call| call.command.access == Access::Reads) {
            return self.read(calls, replies);
        }
        if let Outcome::Executed(done, _) = self.ask(calls, Vec::new(), replies) {
            replies.append(done.bytes());
        }
    }

    fn run_together(&self, calls: &[Call<'_>], watched: &[Watched], replies: &mut Replies) -> Option<Vec<usize>> {
        let watched = watched.to_vec();
        let before = replies.len();
        match self.ask(calls, watched, replies) {
            Outcome::Executed(done, ends) => {
                replies.append(done.bytes());
                Some(ends.into_iter().map(|end| before + end).collect())
            }
            Outcome::Refused => None,
        }
    }

    fn gathers(&self) -> bool {
        true
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn watch(&self, key: &[u8]) -> Watched {
        // First the version: what is committed between the two makes EXEC fail, which is right.
        let version = self.shared.watches.add(key);
        let expires = self.shared.reading(|reading| Ok(reading.entry(key)?.and_then(|entry| entry.expires)));
        Watched { key: key.to_vec(), version, expires: expires.unwrap_or_default() }
    }

    fn unwatch(&self, watched: Vec<Watched>) {
        self.shared.watches.remove(watched);
    }

    fn used_memory(&self) -> usize {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().map_or(0, |database| database.cache_stats().used_bytes())
    }

    fn count(&self) -> (u64, u64) {
        self.shared.reading(|reading| Ok((reading.len()?, reading.deadlines()?))).unwrap_or_default()
    }

    fn expired(&self) -> u64 {
        self.shared.expired.load(Ordering::Relaxed)
    }
}

impl Disk {
    fn read(&self, calls: &[Call<'_>], replies: &mut Replies) {
        let before = replies.len();
        let outcome = self.shared.reading(|reading| {
            calls.iter().for_each(|call| drop(call.execute(reading, replies)));
            Ok(())
        });
        if let Err(failure) = outcome {
            replies.truncate(before);
            calls.iter().for_each(|_| replies.error(&failure.0));
        }
    }

    /// Has the writer execute calls, and waits until they are committed.
    fn ask(&self, calls: &[Call<'_>], watched: Vec<Watched>, replies: &Replies) -> Outcome {
        let own = |call: &Call<'_>| (call.command, call.words.iter().map(|word| word.to_vec()).collect());
        let job = Arc::new(Job {
            calls: calls.iter().map(own).collect(),
            watched,
            replies: replies.empty_copy(),
            outcome: Mutex::new(None),
            done: Condvar::new(),
        });
        lock(&self.shared.queue).jobs.push(Arc::clone(&job));
        self.shared.arrived.notify_one();
        job.wait()
    }
}

impl Job {
    fn wait(&self) -> Outcome {
        let outcome = lock(&self.outcome);
        let mut outcome =
            self.done.wait_while(outcome, |outcome| outcome.is_none()).unwrap_or_else(PoisonError::into_inner);
        outcome.take().unwrap_or(Outcome::Refused)
    }

    fn finish(&self, outcome: Outcome) {
        *lock(&self.outcome) = Some(outcome);
        self.done.notify_one();
    }

    /// The same reply to each of the calls.
    fn fail(&self, failure: &Failure) {
        let mut replies = self.replies.empty_copy();
        let fail = |_: &_| {
            replies.error(&failure.0);
            replies.len()
        };
        let ends = self.calls.iter().map(fail).collect();
        self.finish(Outcome::Executed(replies, ends));
    }
}

/// What was executed and is not committed yet.
struct Executed {
    outcomes: Vec<Outcome>,
    touched: Vec<Vec<u8>>,
    /// When the next key expires.
    next_deadline: Option<u64>,
    /// How many have expired, and were dropped.
    dropped: u64,
}

impl Shared {
    /// The writer's thread.
    fn write(&self) {
        // With `EverySecond`: since when something is not on disk for sure.
        let mut unsafe_since: Option<Instant> = None;
        let mut next_deadline = Some(0);
        let mut last_drop = Instant::now();
        let mut is_failing = false;
        while let Some(jobs) = self.next_jobs(unsafe_since, next_deadline, last_drop) {
            let is_due = unsafe_since.is_some_and(|since| since.elapsed() >= SECOND);
            let durability =
                if self.fsync == Fsync::Always || is_due { Durability::Immediate } else { Durability::None };
            match self.transact(&jobs, durability) {
                Ok(executed) => {
                    if std::mem::take(&mut is_failing) {
                        log::warn!("{} can be written to again", self.path.display());
                    }
                    executed.touched.iter().for_each(|key| self.watches.touch(key));
                    jobs.iter().zip(executed.outcomes).for_each(|(job, outcome)| job.finish(outcome));
                    next_deadline = executed.next_deadline;
                    if executed.dropped < DROPPED_AT_ONCE {
                        last_drop = Instant::now();
                    }
                    unsafe_since = match durability {
                        Durability::None => unsafe_since.or_else(|| Some(Instant::now())),
                        _ => None,
                    };
                }
                Err(error) => {
                    // Once for each time that this happens, however many writes are refused.
                    if !std::mem::replace(&mut is_failing, true) {
                        log::error!("{} can't be written to, writes are refused: {error}", self.path.display());
                    }
                    let failure = Failure::of_disk(&error);
                    // The file as it was is opened before anybody may read or write again.
                    if !self.is_read_only.load(Ordering::Acquire) {
                        self.reopen();
                    }
                    jobs.iter().for_each(|job| job.fail(&failure));
                    next_deadline = None;
                }
            }
        }
        if unsafe_since.is_some()
            && let Err(error) = self.transact(&[], Durability::Immediate)
        {
            log::error!("the last second was not written to {}: {error}", self.path.display());
        }
    }

    /// Waits for jobs; empty: something else is due. `None`: it is over.
    fn next_jobs(
        &self,
        unsafe_since: Option<Instant>,
        next_deadline: Option<u64>,
        last_drop: Instant,
    ) -> Option<Vec<Arc<Job>>> {
        let mut queue = lock(&self.queue);
        loop {
            if !queue.jobs.is_empty() {
                return Some(std::mem::take(&mut queue.jobs));
            }
            if queue.is_over {
                return None;
            }
            let until_sync = unsafe_since.map(|since| SECOND.saturating_sub(since.elapsed()));
            let until_drop = next_deadline.map(|deadline| {
                let pause = PAUSE.saturating_sub(last_drop.elapsed());
                Duration::from_millis(deadline.saturating_sub(now())).max(pause).min(Duration::from_secs(24 * 3600))
            });
            let wait = [until_sync, until_drop].into_iter().flatten().min();
            queue = match wait {
                Some(Duration::ZERO) => return Some(Vec::new()),
                Some(time) => self.arrived.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Executes jobs in one transaction, and commits it.
    fn transact(&self, jobs: &[Arc<Job>], durability: Durability) -> Result<Executed, redb::Error> {
        if self.is_read_only.load(Ordering::Acquire) {
            self.reopen();
        }
        if self.is_read_only.load(Ordering::Acquire) {
            return Err(redb::Error::Io(io::Error::other("the disk still fails")));
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else { return Err(redb::Error::DatabaseClosed) };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(durability)?;
        let mut writing = Writing::begin(&transaction, self)?;
        let dropped = writing.drop_expired()?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(self.execute(job, &mut writing));
            if let Some(error) = writing.error.take() {
                return Err(error);
            }
        }
        let next_deadline = writing.next_deadline()?;
        let touched = std::mem::take(&mut writing.touched);
        drop(writing);
        transaction.commit()?;
        self.expired.fetch_add(dropped, Ordering::Relaxed);
        Ok(Executed { outcomes, touched, next_deadline, dropped })
    }

    fn execute(&self, job: &Job, writing: &mut Writing<'_>) -> Outcome {
        // Keys that others have written in this transaction count as changed.
        let is_touched = |watched: &Watched| writing.touched.contains(&watched.key);
        if job.watched.iter().any(is_touched) || !self.watches.are_unchanged(&job.watched, writing.now) {
            return Outcome::Refused;
        }
        let mut replies = job.replies.empty_copy();
        let execute = |(command, words): &(&'static Command, Vec<Vec<u8>>)| {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            drop(Call { command, words: &words }.execute(writing, &mut replies));
            replies.len()
        };
        let ends = job.calls.iter().map(execute).collect();
        Outcome::Executed(replies, ends)
    }

    /// After an error of the disk nothing that is in memory can be trusted: the file is opened again, as it was committed.
    /// If that fails too, it is opened to be read only, and the next write tries again.
    fn reopen(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        let mut is_read_only = false;
        *database = match open(&self.path) {
            Ok(opened) => Some(opened),
            Err(error) => {
                is_read_only = true;
                log::debug!("{} can't be opened again: {error}", self.path.display());
                let overlay = Overlay::open(&self.path).map_err(redb::DatabaseError::from);
                overlay.and_then(|overlay| Database::builder().create_with_backend(overlay)).ok()
            }
        };
        self.is_read_only.store(is_read_only, Ordering::Release);
    }

    /// Reads what is committed.
    fn reading<T>(&self, read: impl FnOnce(&mut Reading) -> Result<T, Failure>) -> Result<T, Failure> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let begin = || -> Result<Reading, redb::Error> {
            let Some(database) = &*database else { return Err(redb::Error::DatabaseClosed) };
            let transaction = database.begin_read()?;
            let (keys, deadlines) = (transaction.open_table(KEYS)?, transaction.open_table(DEADLINES)?);
            Ok(Reading { keys, deadlines, seed: self.seed, max_value: self.max_value, now: now() })
        };
        read(&mut begin().map_err(|error| Failure::of_disk(&error))?)
    }
}

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
struct Reading {
    keys: ReadOnlyTable<&'static [u8], &'static [u8]>,
    deadlines: ReadOnlyTable<(u64, &'static [u8]), ()>,
    seed: [u8; 16],
    max_value: usize,
    now: u64,
}

impl Reading {
    fn deadlines(&self) -> Result<u64, Failure> {
        self.deadlines.len().map_err(|error| Failure::of_disk(&error))
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
        entry_of(&self.keys, &self.seed, key, self.now).map_err(|error| Failure::of_disk(&error))
    }

    fn put(&mut self, _: &[u8], _: &[u8], _: Option<u64>) -> Result<(), Failure> {
        Err(READ_ONLY)
    }

    fn remove(&mut self, _: &[u8]) -> Result<bool, Failure> {
        Err(READ_ONLY)
    }

    fn len(&self) -> Result<u64, Failure> {
        self.keys.len().map_err(|error| Failure::of_disk(&error))
    }

    fn clear(&mut self) -> Result<(), Failure> {
        Err(READ_ONLY)
    }

    fn walk(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, Failure> {
        walk_over(&self.keys, self.now, from, count, visit).map_err(|error| Failure::of_disk(&error))
    }
}

/// A transaction of the writer.
struct Writing<'t> {
    transaction: &'t WriteTransaction,
    /// `None` only while they are made anew.
    tables: Option<Tables<'t>>,
    shared: &'t Shared,
    now: u64,
    /// Keys that were written.
    touched: Vec<Vec<u8>>,
    /// The disk has failed: nothing of this transaction can be committed.
    error: Option<redb::Error>,
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
    fn begin(transaction: &'t WriteTransaction, shared: &'t Shared) -> Result<Writing<'t>, redb::Error> {
        let tables = Some(Tables::open(transaction)?);
        Ok(Writing { transaction, tables, shared, now: now(), touched: Vec::new(), error: None })
    }

    /// How many were dropped.
    fn drop_expired(&mut self) -> Result<u64, redb::Error> {
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

    fn next_deadline(&self) -> Result<Option<u64>, redb::Error> {
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
        self.touched.push(key.to_vec());
        self.with(|tables| tables.put(&stored, key, value, expires))
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Failure> {
        let stored = stored_key(&self.shared.seed, key);
        let removed = self.with(|tables| tables.remove(&stored, key))?;
        let was_live = removed.is_some_and(|expires| expires > self.now);
        if was_live {
            self.touched.push(key.to_vec());
        }
        Ok(was_live)
    }

    fn len(&self) -> Result<u64, Failure> {
        self.tables()?.keys.len().map_err(|error| Failure::of_disk(&error))
    }

    fn clear(&mut self) -> Result<(), Failure> {
        for key in self.shared.watches.keys() {
            if self.entry(&key)?.is_some() {
                self.touched.push(key);
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
