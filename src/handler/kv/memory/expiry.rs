//! The expiry thread: removes keys from memory after they have expired.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::shard::Shard;
use super::shard_context::ShardContext;
use super::shards::Shards;
use crate::handler::kv::keyspace::unix_millis;
use crate::panics::lock_ignoring_poison;

/// The most keys that are removed while a shard is locked. That takes tens of microseconds.
const MAX_REMOVED_PER_LOCK: usize = 64;

/// The usual time between two rounds. Commands don't see expired keys that are not removed yet.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// The body of the thread. Returns when the timer is stopped.
pub(super) fn run(shards: &Shards) {
    let timer = &shards.context.expiry_timer;
    while timer.wait_until_due() {
        // A key that is added from now on schedules its own expiry time.
        timer.clear();
        let now = unix_millis();
        for shard in shards.iter() {
            remove_expired(shard, &shards.context, now);
        }
        timer.pause(ROUND_PAUSE);
    }
}

fn remove_expired(shard: &Mutex<Shard>, context: &ShardContext, now: u64) {
    loop {
        let mut shard = lock_ignoring_poison(shard);
        for _ in 0..MAX_REMOVED_PER_LOCK {
            let Some((expires_at, key)) = shard.next_expiry() else { return };
            if expires_at > now {
                context.expiry_timer.schedule(expires_at);
                return;
            }
            // Not marked as modified, because a client that watches such a key compares its expiry time with the clock.
            let key = key.to_vec();
            shard.remove(context.hash(&key), &key, context);
            context.expired_keys.fetch_add(1, Ordering::Relaxed);
        }
    }
}
