//! The engine on disk: one file, in which acknowledged writes survive a crash.
//!
//! A single thread writes. Clients queue jobs for it. The writer executes all queued jobs in one transaction, commits it,
//! and only then lets these clients continue. A commit waits for the disk, so the more clients there are, the more of them
//! share one wait. Readers see the last committed state and never wait.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::background_thread::BackgroundThread;
use super::commands::Access;
use super::engine::{Call, Engine, KeyCounts, execute_each};
use super::reply::Replies;
use super::watched_keys::WatchedKey;

mod file;
mod foreign;
mod job;
mod overlay;
mod read_keyspace;
mod store;
mod tables;
mod write_keyspace;
mod writer;

use job::{JobOutcome, JobQueue, WriteJob, reply_to_each};
use store::Store;

/// When writes are forced to disk, so that they survive a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before each write is acknowledged.
    #[default]
    Always,
    /// Within a second. A crash may lose writes of that time, although they were acknowledged and other clients have
    /// seen them.
    EverySecond,
}

/// Keys and values in a file.
pub(super) struct DiskEngine {
    store: Arc<Store>,
    queue: Arc<JobQueue>,
    /// Dropping it waits until the writer has ended.
    _writer: BackgroundThread,
}

impl DiskEngine {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    ///
    /// The file can't be opened, another process has it open, or it is not a store. The message says which.
    pub(super) fn open(path: &Path, fsync: Fsync, max_value: usize) -> io::Result<DiskEngine> {
        let store = Arc::new(Store::open(path, max_value)?);
        if let Some(directory) = path.canonicalize()?.parent() {
            // The directory entry of a new file must survive a crash too.
            File::open(directory)?.sync_all()?;
        }
        let queue = Arc::new(JobQueue::default());
        let (writer_store, writer_queue) = (Arc::clone(&store), Arc::clone(&queue));
        let writer = BackgroundThread::spawn("store", move || writer::run(&writer_store, &writer_queue, fsync))?;
        Ok(DiskEngine { store, queue, _writer: writer })
    }

    /// Executes calls on the committed state. Returns where the reply to each call ends.
    fn read(&self, calls: &[Call<'_>], replies: &mut Replies) -> Vec<usize> {
        let start = replies.len();
        let result = self.store.read(&self.queue, |keyspace| Ok(execute_each(calls, keyspace, replies)));
        result.unwrap_or_else(|error| {
            replies.truncate(start);
            reply_to_each(calls.len(), &error, replies)
        })
    }

    /// Lets the writer execute calls, and waits until they are committed.
    fn write(&self, calls: &[Call<'_>], watched: &[WatchedKey], replies: &Replies) -> JobOutcome {
        let job = Arc::new(WriteJob::new(calls, watched, replies));
        self.queue.push(Arc::clone(&job));
        job.wait()
    }
}

impl Drop for DiskEngine {
    /// Makes the writer finish the queued jobs and end.
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Engine for DiskEngine {
    fn execute(&self, calls: &[Call<'_>], replies: &mut Replies) {
        if are_read_only(calls) {
            self.read(calls, replies);
            return;
        }
        if let JobOutcome::Executed { replies: new_replies, .. } = self.write(calls, &[], replies) {
            replies.append(new_replies.bytes());
        }
    }

    fn execute_atomically(
        &self,
        calls: &[Call<'_>],
        watched: &[WatchedKey],
        replies: &mut Replies,
    ) -> Option<Vec<usize>> {
        if watched.is_empty() && are_read_only(calls) {
            // A read transaction sees one unchanging state.
            return Some(self.read(calls, replies));
        }
        let start = replies.len();
        match self.write(calls, watched, replies) {
            JobOutcome::Executed { replies: new_replies, reply_ends } => {
                replies.append(new_replies.bytes());
                Some(reply_ends.into_iter().map(|end| start + end).collect())
            }
            JobOutcome::WatchedKeyChanged => None,
        }
    }

    fn prefers_batches(&self) -> bool {
        true
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn watch(&self, key: &[u8]) -> WatchedKey {
        // The order matters: a write that is committed after the first step changes the version, so EXEC fails.
        let version = self.store.watched_keys().add(key);
        let expires_at = self.store.read(&self.queue, |keyspace| keyspace.expires_at(key));
        WatchedKey { key: key.to_vec(), version, expires_at: expires_at.unwrap_or_default() }
    }

    fn unwatch(&self, watched: Vec<WatchedKey>) {
        self.store.watched_keys().remove(watched);
    }

    /// The memory of the process. Most of it is the cache of the file.
    fn used_memory(&self) -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        resident.and_then(|size| size.trim().strip_suffix(" kB")?.parse::<usize>().ok()).unwrap_or_default() * 1024
    }

    fn key_counts(&self) -> KeyCounts {
        self.store.read(&self.queue, |keyspace| keyspace.key_counts()).unwrap_or_default()
    }

    fn expired_keys(&self) -> u64 {
        self.store.expired_keys.load(Ordering::Relaxed)
    }
}

/// Whether none of the calls writes.
fn are_read_only(calls: &[Call<'_>]) -> bool {
    calls.iter().all(|call| call.command.access == Access::Reads)
}
