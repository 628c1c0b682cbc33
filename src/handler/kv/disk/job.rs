//! The writer's queue: one job for each client that waits for a write.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::handler::kv::engine::{Call, OwnedCall};
use crate::handler::kv::keyspace::{CommandError, Keyspace};
use crate::handler::kv::reply::Replies;
use crate::handler::kv::watched_keys::WatchedKey;
use crate::panics::lock_ignoring_poison;

/// The most jobs that share a transaction.
const MAX_JOBS_AT_ONCE: usize = 1024;

/// Calls of one client, which waits until the writer has finished them.
pub(super) struct WriteJob {
    calls: Vec<OwnedCall>,
    /// The job is executed only if none of these has changed.
    pub(super) watched: Vec<WatchedKey>,
    /// An empty buffer in the client's dialect. Replies are written to copies of it.
    empty_replies: Replies,
    outcome: Mutex<Option<JobOutcome>>,
    finished: Condvar,
}

pub(super) enum JobOutcome {
    Executed {
        replies: Replies,
        /// Where the reply to each call ends.
        reply_ends: Vec<usize>,
    },
    WatchedKeyChanged,
}

impl WriteJob {
    pub(super) fn new(calls: &[Call<'_>], watched: &[WatchedKey], replies: &Replies) -> WriteJob {
        WriteJob {
            calls: calls.iter().map(|call| OwnedCall::new(call.command, call.words)).collect(),
            watched: watched.to_vec(),
            empty_replies: replies.empty_copy(),
            outcome: Mutex::new(None),
            finished: Condvar::new(),
        }
    }

    pub(super) fn execute(&self, keyspace: &mut dyn Keyspace) -> JobOutcome {
        let mut replies = self.empty_replies.empty_copy();
        let mut reply_ends = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            Call { command: call.command, words: &call.words() }.execute(keyspace, &mut replies);
            reply_ends.push(replies.len());
        }
        JobOutcome::Executed { replies, reply_ends }
    }

    /// Lets the client continue with this outcome.
    pub(super) fn finish(&self, outcome: JobOutcome) {
        *lock_ignoring_poison(&self.outcome) = Some(outcome);
        self.finished.notify_one();
    }

    /// Lets the client continue with the error as the reply to each call.
    pub(super) fn fail(&self, error: &CommandError) {
        let mut replies = self.empty_replies.empty_copy();
        let reply_ends = reply_to_each(self.calls.len(), error, &mut replies);
        self.finish(JobOutcome::Executed { replies, reply_ends });
    }

    /// Waits until the job is finished or has failed.
    pub(super) fn wait(&self) -> JobOutcome {
        let outcome = self.finished.wait_while(lock_ignoring_poison(&self.outcome), |outcome| outcome.is_none());
        let mut outcome = outcome.unwrap_or_else(PoisonError::into_inner);
        // `wait_while` returns only when there is an outcome.
        outcome.take().unwrap_or(JobOutcome::WatchedKeyChanged)
    }
}

/// Writes the same error as the reply to each of `call_count` calls. Returns where each reply ends.
pub(super) fn reply_to_each(call_count: usize, error: &CommandError, replies: &mut Replies) -> Vec<usize> {
    let mut reply_ends = Vec::with_capacity(call_count);
    for _ in 0..call_count {
        replies.error(&error.0);
        reply_ends.push(replies.len());
    }
    reply_ends
}

/// The jobs that the writer has not taken yet.
#[derive(Default)]
pub(super) struct JobQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Arc<WriteJob>>,
    is_closed: bool,
    wake_requested: bool,
}

impl JobQueue {
    pub(super) fn push(&self, job: Arc<WriteJob>) {
        lock_ignoring_poison(&self.state).jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Makes [`next_jobs`](JobQueue::next_jobs) return once without a job.
    pub(super) fn wake(&self) {
        lock_ignoring_poison(&self.state).wake_requested = true;
        self.changed.notify_one();
    }

    /// Makes [`next_jobs`](JobQueue::next_jobs) return `None` once the queue is empty.
    pub(super) fn close(&self) {
        lock_ignoring_poison(&self.state).is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for jobs and takes them. Waits no longer than `timeout` says, where `None` means no limit. Returns an empty
    /// list after that time or when [`wake`] was called, and `None` when the queue is closed and empty.
    ///
    /// [`wake`]: JobQueue::wake
    pub(super) fn next_jobs(&self, timeout: impl Fn() -> Option<Duration>) -> Option<Vec<Arc<WriteJob>>> {
        let mut state = lock_ignoring_poison(&self.state);
        loop {
            if !state.jobs.is_empty() {
                let count = state.jobs.len().min(MAX_JOBS_AT_ONCE);
                return Some(state.jobs.drain(..count).collect());
            }
            if state.is_closed {
                return None;
            }
            if std::mem::take(&mut state.wake_requested) {
                return Some(Vec::new());
            }
            state = match timeout() {
                Some(Duration::ZERO) => return Some(Vec::new()),
                Some(timeout) => self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
