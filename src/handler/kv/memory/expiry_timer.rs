//! The timer of the expiry thread: when the next key expires, and how to wait for that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::handler::kv::keyspace::{MAX_CLOCK_WAIT, unix_millis};
use crate::panics::lock_ignoring_poison;

/// No key has an expiry time.
const NEVER: u64 = u64::MAX;

pub(super) struct ExpiryTimer {
    is_stopped: Mutex<bool>,
    changed: Condvar,
    /// When the next key expires, in milliseconds since 1970. `Relaxed` is enough: a shard's lock orders each change
    /// with the key it is for, and the lock of `is_stopped` orders it with the waiting thread.
    next: AtomicU64,
}

impl Default for ExpiryTimer {
    fn default() -> ExpiryTimer {
        ExpiryTimer { is_stopped: Mutex::new(false), changed: Condvar::new(), next: AtomicU64::new(NEVER) }
    }
}

impl ExpiryTimer {
    /// Sets the timer to `expires_at`, unless it is set to an earlier time. Wakes the thread if the time has changed.
    pub(super) fn schedule(&self, expires_at: u64) {
        if self.next.fetch_min(expires_at, Ordering::Relaxed) > expires_at {
            // Taking the lock guarantees that the expiry thread is either waiting or will reread `next`.
            drop(lock_ignoring_poison(&self.is_stopped));
            self.changed.notify_one();
        }
    }

    /// The expiry thread calls this before it looks for expired keys, and schedules the next one while it looks.
    pub(super) fn clear(&self) {
        self.next.store(NEVER, Ordering::Relaxed);
    }

    /// Waits until the timer goes off. Returns false when the timer is stopped.
    pub(super) fn wait_until_due(&self) -> bool {
        let mut is_stopped = lock_ignoring_poison(&self.is_stopped);
        loop {
            if *is_stopped {
                return false;
            }
            match self.next.load(Ordering::Relaxed).saturating_sub(unix_millis()) {
                0 => return true,
                millis => is_stopped = self.wait(is_stopped, Duration::from_millis(millis)),
            }
        }
    }

    /// Waits for `time`, or less if something changes.
    pub(super) fn pause(&self, time: Duration) {
        let is_stopped = lock_ignoring_poison(&self.is_stopped);
        if !*is_stopped {
            drop(self.wait(is_stopped, time));
        }
    }

    /// Ends the current wait and all later ones.
    pub(super) fn stop(&self) {
        *lock_ignoring_poison(&self.is_stopped) = true;
        self.changed.notify_one();
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, bool>, time: Duration) -> MutexGuard<'a, bool> {
        self.changed.wait_timeout(guard, time.min(MAX_CLOCK_WAIT)).unwrap_or_else(PoisonError::into_inner).0
    }
}
