//! All shards of the engine in memory, and how to lock those that a command needs.

use std::sync::Mutex;

use super::locked_shards::{Guards, LockedShards};
use super::shard::{SHARDS, Shard, shard_index};
use super::shard_context::ShardContext;
use crate::handler::kv::engine::Call;
use crate::handler::kv::keyspace::unix_millis;
use crate::handler::kv::watched_keys::WatchedKey;
use crate::panics::lock_ignoring_poison;

/// The shards, and what they share.
pub(super) struct Shards {
    shards: Vec<Mutex<Shard>>,
    pub(super) context: ShardContext,
}

impl Shards {
    pub(super) fn new(max_value: usize) -> Shards {
        Shards { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), context: ShardContext::new(max_value) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        self.shards.iter()
    }

    /// The shard that holds the keys with this hash.
    pub(super) fn shard(&self, hash: u64) -> &Mutex<Shard> {
        self.shard_at(shard_index(hash))
    }

    /// `index` must be less than `SHARDS`, as that of every hash and of every bit of a [`ShardSet`] is.
    fn shard_at(&self, index: usize) -> &Mutex<Shard> {
        #[expect(clippy::indexing_slicing)]
        &self.shards[index]
    }

    /// Locks the shards of the calls' keys and of the watched keys. Locks are always taken in the order of the shards, so
    /// that two clients can't wait for each other.
    pub(super) fn lock_for(&self, calls: &[Call<'_>], watched: &[WatchedKey]) -> LockedShards<'_> {
        let guards = match self.shards_needed(calls, watched) {
            ShardSet::One(index) => Guards::One(index, lock_ignoring_poison(self.shard_at(index))),
            ShardSet::Many(bits) => {
                let mut guards = Vec::with_capacity(SHARDS);
                for (index, shard) in self.shards.iter().enumerate() {
                    let is_needed = bits & (1 << index) != 0;
                    guards.push(if is_needed { Some(lock_ignoring_poison(shard)) } else { None });
                }
                Guards::Many(guards)
            }
        };
        LockedShards::new(&self.context, guards, unix_millis())
    }

    fn shards_needed(&self, calls: &[Call<'_>], watched: &[WatchedKey]) -> ShardSet {
        let bit_of = |key: &[u8]| 1_u64 << shard_index(self.context.hash(key));
        let mut bits = 0;
        for call in calls {
            match call.keys() {
                None => return ShardSet::Many(u64::MAX),
                Some(keys) => keys.for_each(|key| bits |= bit_of(key)),
            }
        }
        watched.iter().for_each(|watched| bits |= bit_of(&watched.key));
        if bits.count_ones() == 1 { ShardSet::One(bits.trailing_zeros() as usize) } else { ShardSet::Many(bits) }
    }
}

/// The shards that some commands need.
enum ShardSet {
    /// The index of the only one.
    One(usize),
    /// Bit n stands for shard n.
    Many(u64),
}
