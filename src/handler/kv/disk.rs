//! The engine on disk: one file, in which what was acknowledged survives whatever happens to the process.
//!
//! One thread writes. It takes all that clients have asked for while it was busy with the last transaction, executes it
//! in one, commits, which waits for the disk once, and only then lets these clients go on. So the more clients there
//! are, the more of them share one wait. Readers see what is committed, each by itself, and never wait.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, Durability};

use super::commands::{Access, Command};
use super::engine::{Call, Engine, Failure, Keyspace, Watched, Watches, now};
use super::reply::Replies;
use crate::panics::{self, lock};

mod file;
mod foreign;
mod overlay;
mod transaction;

use overlay::Overlay;
use transaction::{DROPPED_AT_ONCE, Reading, Touched, Writing};

/// Expired keys are dropped this often at the most. Nobody sees them meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// After a failure the disk is tried again this much later, and twice as much after each one more, up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Clients whose writes share a transaction, at the most.
const JOBS_AT_ONCE: usize = 1024;

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
    /// What is open is not the file itself but a view of it, or is not to be trusted.
    is_broken: AtomicBool,
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
    jobs: VecDeque<Arc<Job>>,
    is_over: bool,
    /// A read has failed.
    is_unreadable: bool,
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
        let database = file::open_or_make(path)?;
        let seed = file::prepare(&database).map_err(io::Error::other)?;
        if let Some(folder) = path.canonicalize()?.parent() {
            // The name of a new file must survive too.
            File::open(folder)?.sync_all()?;
        }
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            is_broken: AtomicBool::new(false),
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

impl Engine for Disk {
    fn run(&self, calls: &[Call<'_>], replies: &mut Replies) {
        if calls.iter().all(|call| call.command.access == Access::Reads) {
            self.read(calls, replies);
            return;
        }
        if let Outcome::Executed(done, _) = self.ask(calls, Vec::new(), replies) {
            replies.append(done.bytes());
        }
    }

    fn run_together(&self, calls: &[Call<'_>], watched: &[Watched], replies: &mut Replies) -> Option<Vec<usize>> {
        if watched.is_empty() && calls.iter().all(|call| call.command.access == Access::Reads) {
            // What one transaction sees does not change.
            return Some(self.read(calls, replies));
        }
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

    /// What the process takes: most of it is the file's cache.
    fn used_memory(&self) -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        resident.and_then(|size| size.trim().strip_suffix(" kB")?.parse::<usize>().ok()).unwrap_or_default() * 1024
    }

    fn count(&self) -> (u64, u64) {
        self.shared.reading(|reading| Ok((reading.len()?, reading.deadlines()?))).unwrap_or_default()
    }

    fn expired(&self) -> u64 {
        self.shared.expired.load(Ordering::Relaxed)
    }
}

impl Disk {
    /// Where the reply to each of them ends.
    fn read(&self, calls: &[Call<'_>], replies: &mut Replies) -> Vec<usize> {
        let before = replies.len();
        let outcome = self.shared.reading(|reading| {
            let execute = |call: &Call<'_>| {
                drop(call.execute(reading, replies));
                replies.len()
            };
            Ok(calls.iter().map(execute).collect())
        });
        outcome.unwrap_or_else(|failure| {
            replies.truncate(before);
            fail_each(calls.len(), &failure, replies)
        })
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
        lock(&self.shared.queue).jobs.push_back(Arc::clone(&job));
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

    fn fail(&self, failure: &Failure) {
        let mut replies = self.replies.empty_copy();
        let ends = fail_each(self.calls.len(), failure, &mut replies);
        self.finish(Outcome::Executed(replies, ends));
    }
}

/// The same error for each of `calls` calls: where each of these replies ends.
fn fail_each(calls: usize, failure: &Failure, replies: &mut Replies) -> Vec<usize> {
    let fail = |_| {
        replies.error(&failure.0);
        replies.len()
    };
    (0..calls).map(fail).collect()
}

/// What was executed and is not committed yet.
struct Executed {
    outcomes: Vec<Outcome>,
    touched: Touched,
    /// When the next key expires.
    next_deadline: Option<u64>,
    /// How many have expired, and were dropped.
    dropped: u64,
}

/// What the writer knows between two transactions.
struct Progress {
    /// With `EverySecond`: since when something is not on disk for sure.
    unsafe_since: Option<Instant>,
    /// When the next key expires.
    next_deadline: Option<u64>,
    last_drop: Instant,
    /// The disk has failed, how often in a row, and when it is to be tried again.
    failures: u32,
    retry_at: Option<Instant>,
}

impl Shared {
    /// The writer's thread.
    fn write(&self) {
        let mut progress = Progress {
            unsafe_since: None,
            next_deadline: Some(0),
            last_drop: Instant::now(),
            failures: 0,
            retry_at: None,
        };
        while let Some(jobs) = self.next_jobs(&progress) {
            let is_due = progress.unsafe_since.is_some_and(|since| since.elapsed() >= SECOND);
            let durability =
                if self.fsync == Fsync::Always || is_due { Durability::Immediate } else { Durability::None };
            // The file is opened again after a failure, which takes the longer the larger it is; not for each write.
            let is_early = progress.retry_at.is_some_and(|retry_at| Instant::now() < retry_at);
            let outcome = if is_early {
                Err(redb::Error::Io(io::Error::other("the disk has failed a moment ago")))
            } else {
                // A panic must not leave those waiting who have asked.
                let transact = AssertUnwindSafe(|| self.transact(&jobs, durability));
                catch_unwind(transact)
                    .unwrap_or_else(|panic| Err(redb::Error::Io(io::Error::other(panics::describe(&*panic)))))
            };
            match outcome {
                Ok(executed) => self.finish(&jobs, executed, durability, &mut progress),
                Err(error) => {
                    if !is_early {
                        self.note_failure(&error, &mut progress);
                    }
                    jobs.iter().for_each(|job| job.fail(&Failure::of_disk(&error)));
                }
            }
        }
        if progress.unsafe_since.is_some()
            && let Err(error) = self.transact(&[], Durability::Immediate)
        {
            log::error!("the last second was not written to {}: {error}", self.path.display());
        }
    }

    fn finish(&self, jobs: &[Arc<Job>], executed: Executed, durability: Durability, progress: &mut Progress) {
        if progress.failures > 0 {
            log::warn!("{} can be written to again", self.path.display());
        }
        executed.touched.tell(&self.watches);
        jobs.iter().zip(executed.outcomes).for_each(|(job, outcome)| job.finish(outcome));
        progress.failures = 0;
        progress.retry_at = None;
        progress.next_deadline = executed.next_deadline;
        if executed.dropped < DROPPED_AT_ONCE {
            progress.last_drop = Instant::now();
        }
        progress.unsafe_since = match durability {
            Durability::None => progress.unsafe_since.or_else(|| Some(Instant::now())),
            _ => None,
        };
    }

    fn note_failure(&self, error: &redb::Error, progress: &mut Progress) {
        // Once for each time that this happens, however many writes are refused.
        if progress.failures == 0 {
            log::error!("{} can't be written to, writes are refused: {error}", self.path.display());
        }
        if progress.unsafe_since.take().is_some() {
            log::error!("what was acknowledged in the last second may be lost (--fsync everysec)");
        }
        let pause = FIRST_RETRY * 2_u32.saturating_pow(progress.failures);
        progress.failures = progress.failures.saturating_add(1).min(16);
        progress.retry_at = Some(Instant::now() + pause.min(LAST_RETRY));
        progress.next_deadline = None;
        // The file as it was is opened before anybody may read or write again.
        self.reopen();
    }

    /// Waits for jobs; empty: something else is due. `None`: it is over.
    fn next_jobs(&self, progress: &Progress) -> Option<Vec<Arc<Job>>> {
        let mut queue = lock(&self.queue);
        loop {
            if !queue.jobs.is_empty() {
                let count = queue.jobs.len().min(JOBS_AT_ONCE);
                return Some(queue.jobs.drain(..count).collect());
            }
            if queue.is_over {
                return None;
            }
            if std::mem::take(&mut queue.is_unreadable) {
                return Some(Vec::new());
            }
            let until_sync = progress.unsafe_since.map(|since| SECOND.saturating_sub(since.elapsed()));
            let until_drop = progress.next_deadline.map(|deadline| {
                let pause = PAUSE.saturating_sub(progress.last_drop.elapsed());
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
        if self.is_broken.load(Ordering::Acquire) {
            self.reopen();
        }
        if self.is_broken.load(Ordering::Acquire) {
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
        if jobs.is_empty() || dropped > 0 || !touched.is_empty() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        self.expired.fetch_add(dropped, Ordering::Relaxed);
        Ok(Executed { outcomes, touched, next_deadline, dropped })
    }

    fn execute(&self, job: &Job, writing: &mut Writing<'_>) -> Outcome {
        // Keys that others have written in this transaction count as changed.
        let is_touched = |watched: &Watched| writing.touched.has(&watched.key);
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

    /// After an error of the disk nothing that is in memory can be trusted, nor the system's cache of the file: it is
    /// opened again as it is on the disk. If that fails too, it is opened to be read only, and a later write tries
    /// again.
    fn reopen(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        let reopened = file::forget_cached(&self.path).and_then(|()| file::open(&self.path));
        let reopened = reopened.and_then(|database| {
            let is_ours = file::seed_of(&database).map_err(io::Error::other)? == Some(self.seed);
            if is_ours {
                Ok(database)
            } else {
                Err(io::Error::other("another file is in its place, restart to use it"))
            }
        });
        self.is_broken.store(reopened.is_err(), Ordering::Release);
        *database = match reopened {
            Ok(database) => Some(database),
            Err(error) => {
                log::debug!("{} can't be opened again: {error}", self.path.display());
                let overlay = Overlay::open(&self.path).map_err(DatabaseError::from);
                overlay.and_then(|overlay| Database::builder().create_with_backend(overlay)).ok()
            }
        };
    }

    /// Reads what is committed.
    fn reading<T>(&self, read: impl FnOnce(&mut Reading) -> Result<T, Failure>) -> Result<T, Failure> {
        let outcome = self.reading_once(read);
        if outcome.as_ref().is_err_and(Failure::is_of_disk) && !self.is_broken.swap(true, Ordering::AcqRel) {
            // One failed read makes the database refuse all others: the writer opens it again.
            lock(&self.queue).is_unreadable = true;
            self.arrived.notify_one();
        }
        outcome
    }

    fn reading_once<T>(&self, read: impl FnOnce(&mut Reading) -> Result<T, Failure>) -> Result<T, Failure> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else { return Err(transaction::FAILED_READ) };
        let mut reading = Reading::begin(database, self).map_err(|error| Failure::of_disk(&error))?;
        let outcome = read(&mut reading);
        if reading.has_failed() { Err(transaction::FAILED_READ) } else { outcome }
    }
}
