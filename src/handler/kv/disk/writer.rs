//! The writer thread: commits jobs in batches, removes expired keys, and retries after the disk has failed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::Durability;

use super::Fsync;
use super::job::{JobQueue, WriteJob};
use super::store::{Committed, Store};
use super::write_keyspace::MAX_REMOVED_PER_TRANSACTION;
use crate::handler::kv::keyspace::{CommandError, MAX_CLOCK_WAIT, unix_millis};
use crate::panics;

/// The shortest time between two removals of expired keys. Commands don't see expired keys that are not removed yet.
const EXPIRY_PAUSE: Duration = Duration::from_millis(100);

/// After a failure, the writer does not use the disk for this long. The time doubles with each further failure, up to
/// the maximum.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// How often [`Fsync::EverySecond`] writes to disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The body of the thread. Returns when the queue is closed and all jobs are done.
pub(super) fn run(store: &Store, queue: &JobQueue, fsync: Fsync) {
    let mut writer = StoreWriter {
        store,
        fsync,
        unsynced_since: None,
        // The first transaction finds out.
        next_expiry: Some(0),
        last_removal: Instant::now(),
        failures: 0,
        retry_at: None,
    };
    while let Some(jobs) = queue.next_jobs(|| writer.wait_timeout()) {
        writer.process(&jobs);
    }
    writer.sync_at_end();
}

struct StoreWriter<'s> {
    store: &'s Store,
    fsync: Fsync,
    /// The time of the first write that is not on disk yet. Only with [`Fsync::EverySecond`].
    unsynced_since: Option<Instant>,
    /// When the next key expires, in milliseconds since 1970.
    next_expiry: Option<u64>,
    /// When expired keys were last removed.
    last_removal: Instant,
    /// Failures of the disk since the last success.
    failures: u32,
    /// After a failure: when to use the disk again.
    retry_at: Option<Instant>,
}

impl StoreWriter<'_> {
    /// How long to wait for jobs: until a sync or a removal of expired keys is due. `None` if neither will be.
    fn wait_timeout(&self) -> Option<Duration> {
        let until_sync = self.unsynced_since.map(|since| SYNC_INTERVAL.saturating_sub(since.elapsed()));
        let until_removal = self.next_expiry.map(|expires_at| {
            let until_expiry = Duration::from_millis(expires_at.saturating_sub(unix_millis()));
            let pause = EXPIRY_PAUSE.saturating_sub(self.last_removal.elapsed());
            until_expiry.max(pause).min(MAX_CLOCK_WAIT)
        });
        [until_sync, until_removal].into_iter().flatten().min()
    }

    /// Executes and commits the jobs. Without jobs it still removes expired keys, syncs if that is due, and reopens the
    /// file if a read has failed.
    fn process(&mut self, jobs: &[Arc<WriteJob>]) {
        // A retry opens the file again, which takes longer the larger the file is. So not every write retries.
        if self.retry_at.is_some_and(|retry_at| Instant::now() < retry_at) {
            fail_all(jobs, &other_error("the disk has failed a moment ago"));
            return;
        }
        let durability = self.durability();
        // A panic must not leave the clients of these jobs waiting.
        let transact = AssertUnwindSafe(|| self.store.transact(jobs, durability));
        let result = catch_unwind(transact).unwrap_or_else(|panic| Err(other_error(&panics::describe(&*panic))));
        match result {
            Ok(committed) => self.finish(jobs, committed, durability),
            Err(error) => {
                self.note_failure(&error);
                fail_all(jobs, &error);
            }
        }
    }

    fn durability(&self) -> Durability {
        let is_due = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL);
        if self.fsync == Fsync::Always || is_due { Durability::Immediate } else { Durability::None }
    }

    fn finish(&mut self, jobs: &[Arc<WriteJob>], committed: Committed, durability: Durability) {
        if self.failures > 0 {
            log::warn!("{} can be written to again", self.store.path().display());
        }
        // The order matters: this comes before clients continue. A client that has read an old value and watched the key
        // must not miss the change.
        committed.modified_keys.mark_in(self.store.watched_keys());
        for (job, outcome) in jobs.iter().zip(committed.outcomes) {
            job.finish(outcome);
        }
        self.failures = 0;
        self.retry_at = None;
        self.next_expiry = committed.next_expiry;
        if committed.expired_keys < MAX_REMOVED_PER_TRANSACTION {
            self.last_removal = Instant::now();
        }
        self.unsynced_since = match durability {
            Durability::None => self.unsynced_since.or_else(|| Some(Instant::now())),
            _ => None,
        };
    }

    fn note_failure(&mut self, error: &redb::Error) {
        // Logged once for each outage, however many writes are refused.
        if self.failures == 0 {
            log::error!("{} can't be written to, writes are refused: {error}", self.store.path().display());
        }
        if self.unsynced_since.take().is_some() {
            log::error!("what was acknowledged in the last second may be lost (--fsync everysec)");
        }
        let delay = FIRST_RETRY_DELAY * 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1).min(16);
        self.retry_at = Some(Instant::now() + delay.min(MAX_RETRY_DELAY));
        self.next_expiry = None;
        // Not only before the next write, so that reads see what is really on disk.
        self.store.reopen();
    }

    fn sync_at_end(&self) {
        if self.unsynced_since.is_some()
            && let Err(error) = self.store.transact(&[], Durability::Immediate)
        {
            log::error!("the last second was not written to {}: {error}", self.store.path().display());
        }
    }
}

fn fail_all(jobs: &[Arc<WriteJob>], error: &redb::Error) {
    let error = CommandError::disk(error);
    jobs.iter().for_each(|job| job.fail(&error));
}

fn other_error(message: &str) -> redb::Error {
    redb::Error::Io(io::Error::other(message.to_owned()))
}
