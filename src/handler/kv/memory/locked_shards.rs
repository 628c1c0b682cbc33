//! The shards that are locked for some commands, as the keyspace that these commands see.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::MutexGuard;
use std::thread;

use super::shard::{Shard, shard_index};
use super::shard_context::ShardContext;
use crate::handler::kv::keyspace::{CommandError, CommandResult, KeyEntry, Keyspace, ScanCounter};

/// Releases the locks when it is dropped.
pub(super) struct LockedShards<'a> {
    context: &'a ShardContext,
    guards: Guards<'a>,
    now: u64,
}

/// The guards of the locks that are held.
pub(super) enum Guards<'a> {
    /// The index of the only shard, and its guard. This is by far the most frequent case, and it needs no allocation.
    One(usize, MutexGuard<'a, Shard>),
    /// One element for each shard. `None` means that the shard is not locked.
    Many(Vec<Option<MutexGuard<'a, Shard>>>),
}

/// A command has used a key that its [`KeySpec`](crate::handler::kv::commands::KeySpec) does not declare.
const NOT_LOCKED: CommandError = CommandError::new("ERR internal error: a key was not locked");

impl<'a> LockedShards<'a> {
    pub(super) fn new(context: &'a ShardContext, guards: Guards<'a>, now: u64) -> LockedShards<'a> {
        LockedShards { context, guards, now }
    }

    fn shard(&self, hash: u64) -> Result<&Shard, CommandError> {
        let index = shard_index(hash);
        let guard = match &self.guards {
            Guards::One(only, guard) => (*only == index).then_some(guard),
            Guards::Many(guards) => guards.get(index).and_then(Option::as_ref),
        };
        guard.map(|guard| &**guard).ok_or(NOT_LOCKED)
    }

    fn shard_mut(&mut self, hash: u64) -> Result<&mut Shard, CommandError> {
        let index = shard_index(hash);
        let guard = match &mut self.guards {
            Guards::One(only, guard) => (*only == index).then_some(guard),
            Guards::Many(guards) => guards.get_mut(index).and_then(Option::as_mut),
        };
        guard.map(|guard| &mut **guard).ok_or(NOT_LOCKED)
    }

    /// All shards, for commands that concern all keys and so have locked all of them.
    fn all(&self) -> impl Iterator<Item = &Shard> {
        let guards: &[_] = match &self.guards {
            Guards::One(..) => &[],
            Guards::Many(guards) => guards,
        };
        guards.iter().flatten().map(|guard| &**guard)
    }
}

impl Keyspace for LockedShards<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn max_value(&self) -> usize {
        self.context.max_value
    }

    fn entry(&self, key: &[u8]) -> Result<Option<KeyEntry<'_>>, CommandError> {
        let hash = self.context.hash(key);
        let record = self.shard(hash)?.find(hash, key, self.now);
        Ok(record.map(|record| KeyEntry { value: Cow::Borrowed(record.value()), expires_at: record.expires_at() }))
    }

    fn put(&mut self, key: &[u8], value: &[u8], expires_at: Option<u64>) -> CommandResult {
        let (hash, context) = (self.context.hash(key), self.context);
        self.shard_mut(hash)?.put(hash, key, value, expires_at, context);
        context.watched_keys.mark_modified(key);
        Ok(())
    }

    fn overwrite(&mut self, key: &[u8], offset: usize, piece: &[u8]) -> Result<usize, CommandError> {
        let (hash, context, now) = (self.context.hash(key), self.context, self.now);
        let length = self.shard_mut(hash)?.overwrite(hash, key, offset, piece, now, context);
        context.watched_keys.mark_modified(key);
        Ok(length)
    }

    fn set_expiry(&mut self, key: &[u8], expires_at: Option<u64>) -> CommandResult {
        let (hash, context) = (self.context.hash(key), self.context);
        self.shard_mut(hash)?.set_expiry(hash, key, expires_at, context);
        context.watched_keys.mark_modified(key);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        let (hash, context, now) = (self.context.hash(key), self.context, self.now);
        let removed = self.shard_mut(hash)?.remove(hash, key, context);
        let was_live = removed.is_some_and(|record| record.is_live(now));
        if was_live {
            context.watched_keys.mark_modified(key);
        }
        Ok(was_live)
    }

    fn len(&self) -> Result<u64, CommandError> {
        Ok(self.all().map(|shard| shard.len() as u64).sum())
    }

    fn clear(&mut self) -> CommandResult {
        let context = self.context;
        context.watched_keys.mark_all_modified(|key| self.entry(key).is_ok_and(|entry| entry.is_some()));
        let Guards::Many(guards) = &mut self.guards else { return Err(NOT_LOCKED) };
        let removed: Vec<Shard> = guards.iter_mut().flatten().map(|guard| guard.take_all(context)).collect();
        // Freeing millions of keys takes a while, so another thread does it. If that thread can't be started, the
        // closure is dropped here, and the keys with it.
        let _ = thread::Builder::new().name("clear".into()).spawn(move || drop(removed));
        Ok(())
    }

    /// Visits keys in the order of their hashes, because no other order survives writes between two calls: a table that
    /// grows, shrinks or removes a record moves its records. A table can't be read in that order, so each call hashes the
    /// live keys of one shard, which are 1/64 of all. All shards stay locked, because within EXEC the calls before and
    /// after must see the same keys.
    fn scan(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, CommandError> {
        let mut counter = ScanCounter::new(count);
        for shard in self.all().skip(shard_index(from)) {
            let keys = shard.live_records(self.now).map(|record| (self.context.hash(record.key()), record.key()));
            // A heap, because usually only the first few keys are needed in order.
            let mut keys: BinaryHeap<_> = keys.filter(|(hash, _)| *hash >= from).map(Reverse).collect();
            while let Some(Reverse((hash, key))) = keys.pop() {
                if counter.stops_before(hash) {
                    return Ok(hash);
                }
                visit(key);
                counter.count(hash);
            }
        }
        Ok(0)
    }

    fn for_each_key(&self, visit: &mut dyn FnMut(&[u8])) -> CommandResult {
        let keys = self.all().flat_map(|shard| shard.live_records(self.now));
        keys.for_each(|record| visit(record.key()));
        Ok(())
    }
}
