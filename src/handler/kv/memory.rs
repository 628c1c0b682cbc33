//! The engine in memory: shards with a lock each. A command locks those of its keys, in the order of their numbers.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::engine::{Call, Engine, Entry, Failure, Keyspace, Watched, Watches, now, overwrite};
use super::reply::Replies;
use crate::panics::lock;

mod record;
mod shard;

use record::Record;
use shard::Shard;

/// A power of two: the upper bits of a key's hash choose the shard.
const SHARDS: usize = 64;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();

/// At most this many expired keys are dropped while a shard is locked: some tens of microseconds.
const DROPPED_AT_ONCE: usize = 64;

/// Expired keys are dropped this often at the most. Nobody sees them meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Keys and values in memory.
pub(super) struct Memory {
    shared: Arc<Shared>,
    reaper: Option<JoinHandle<()>>,
}

struct Shared {
    shards: Vec<Mutex<Shard>>,
    /// Seeded at random, so that nobody can choose keys that collide.
    hasher: RandomState,
    watches: Watches,
    max_value: usize,
    used: AtomicUsize,
    expired: AtomicU64,
    alarm: Alarm,
}

/// Wakes the thread that drops expired keys.
#[derive(Default)]
struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
    /// When the next key expires, in milliseconds since 1970; `u64::MAX`: none does.
    next: AtomicU64,
}

#[derive(Default)]
struct AlarmState {
    is_over: bool,
}

impl Memory {
    /// # Errors
    ///
    /// No thread can be started.
    pub(super) fn new(max_value: usize) -> std::io::Result<Memory> {
        let shared = Arc::new(Shared {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            watches: Watches::default(),
            max_value,
            used: AtomicUsize::new(0),
            expired: AtomicU64::new(0),
            alarm: Alarm { next: AtomicU64::new(u64::MAX), ..Alarm::default() },
        });
        let reaped = Arc::clone(&shared);
        let reaper = thread::Builder::new().name("expiry".into()).spawn(move || reaped.reap())?;
        Ok(Memory { shared, reaper: Some(reaper) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        lock(&self.shared.alarm.state).is_over = true;
        self.shared.alarm.changed.notify_one();
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

impl Engine for Memory {
    fn run(&self, calls: &[Call<'_>], replies: &mut Replies) {
        for call in calls {
            let mut locked = self.shared.lock(std::slice::from_ref(call), &[]);
            let _ = call.execute(&mut locked, replies);
        }
    }

    fn run_together(&self, calls: &[Call<'_>], watched: &[Watched], replies: &mut Replies) -> Option<Vec<usize>> {
        let mut locked = self.shared.lock(calls, watched);
        if !self.shared.watches.are_unchanged(watched, locked.now) {
            return None;
        }
        let execute = |call: &Call<'_>| {
            let _ = call.execute(&mut locked, replies);
            replies.len()
        };
        Some(calls.iter().map(execute).collect())
    }

    fn gathers(&self) -> bool {
        false
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn watch(&self, key: &[u8]) -> Watched {
        let hash = self.shared.hash(key);
        // Under the lock of the shard, so that a write is either before this or seen.
        let shard = lock(self.shared.shard(hash));
        let expires = shard.find(hash, key, now()).and_then(Record::expires);
        Watched { key: key.to_vec(), version: self.shared.watches.add(key), expires }
    }

    fn unwatch(&self, watched: Vec<Watched>) {
        self.shared.watches.remove(watched);
    }

    fn used_memory(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    fn count(&self) -> (u64, u64) {
        let mut count = (0, 0);
        for shard in &self.shared.shards {
            let shard = lock(shard);
            count.0 += shard.records.len() as u64;
            count.1 += shard.deadlines.len() as u64;
        }
        count
    }

    fn expired(&self) -> u64 {
        self.shared.expired.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // There are as many shards as the upper bits can count.
        #[expect(clippy::indexing_slicing)]
        &self.shards[place(hash)]
    }

    /// Locks what the calls and the watched keys need.
    fn lock(&self, calls: &[Call<'_>], watched: &[Watched]) -> Locked<'_> {
        let mut places = Places::Some(0);
        for call in calls {
            match call.keys() {
                None => places = Places::All,
                Some(keys) => keys.for_each(|key| places.add(place(self.hash(key)))),
            }
        }
        watched.iter().for_each(|watched| places.add(place(self.hash(&watched.key))));
        let guards = self.shards.iter().enumerate().map(|(place, shard)| places.has(place).then(|| lock(shard)));
        let guards = match places.single() {
            Some(place) => Guards::One(place, self.shards.get(place).map(lock)),
            None => Guards::Many(guards.collect()),
        };
        Locked { shared: self, now: now(), guards }
    }

    /// Drops keys as they expire, until the engine is dropped.
    fn reap(&self) {
        let mut state = lock(&self.alarm.state);
        loop {
            if state.is_over {
                return;
            }
            let left = self.alarm.next.load(Ordering::SeqCst).saturating_sub(now());
            state = match left {
                0 => {
                    drop(state);
                    self.drop_expired();
                    let state = lock(&self.alarm.state);
                    self.alarm.wait(state, PAUSE)
                }
                millis => self.alarm.wait(state, Duration::from_millis(millis)),
            };
        }
    }

    fn drop_expired(&self) {
        // Whoever adds an earlier deadline from now on says so.
        self.alarm.next.store(u64::MAX, Ordering::SeqCst);
        let now = now();
        for shard in &self.shards {
            loop {
                let mut shard = lock(shard);
                let mut dropped = 0;
                while dropped < DROPPED_AT_ONCE
                    && let Some((deadline, key)) = shard.deadlines.first().cloned()
                    && deadline <= now
                {
                    // Whoever watches it since before it expired knows when it did.
                    self.expired.fetch_add(1, Ordering::Relaxed);
                    shard.remove(self.hash(&key), &key, self);
                    dropped += 1;
                }
                if dropped < DROPPED_AT_ONCE {
                    if let Some((deadline, _)) = shard.deadlines.first() {
                        self.alarm.next.fetch_min(*deadline, Ordering::SeqCst);
                    }
                    break;
                }
            }
        }
    }
}

impl Alarm {
    fn set(&self, deadline: u64) {
        if self.next.fetch_min(deadline, Ordering::SeqCst) > deadline {
            // Not before the other thread waits.
            drop(lock(&self.state));
            self.changed.notify_one();
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, AlarmState>, time: Duration) -> MutexGuard<'a, AlarmState> {
        // A day at the most: the clock may be set meanwhile.
        let time = time.min(Duration::from_secs(24 * 3600));
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }
}

fn place(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

/// Which shards are to be locked, a bit for each.
#[derive(Clone, Copy)]
enum Places {
    Some(u64),
    All,
}

impl Places {
    fn add(&mut self, place: usize) {
        if let Places::Some(bits) = self {
            *bits |= 1 << place;
        }
    }

    fn has(self, place: usize) -> bool {
        match self {
            Places::Some(bits) => bits & (1 << place) != 0,
            Places::All => true,
        }
    }

    fn single(self) -> Option<usize> {
        match self {
            Places::Some(bits) if bits.count_ones() == 1 => Some(bits.trailing_zeros() as usize),
            _ => None,
        }
    }
}

/// Shards that are locked for some commands.
struct Locked<'a> {
    shared: &'a Shared,
    now: u64,
    guards: Guards<'a>,
}

enum Guards<'a> {
    /// By far the most frequent case, and it costs no allocation.
    One(usize, Option<MutexGuard<'a, Shard>>),
    /// One for each shard.
    Many(Vec<Option<MutexGuard<'a, Shard>>>),
}

impl Locked<'_> {
    fn shard(&self, hash: u64) -> Result<&Shard, Failure> {
        let guard = match &self.guards {
            Guards::One(only, guard) => guard.as_ref().filter(|_| *only == place(hash)),
            Guards::Many(guards) => guards.get(place(hash)).and_then(Option::as_ref),
        };
        guard.map(|guard| &**guard).ok_or(NOT_LOCKED)
    }

    fn shard_mut(&mut self, hash: u64) -> Result<&mut Shard, Failure> {
        let guard = match &mut self.guards {
            Guards::One(only, guard) => guard.as_mut().filter(|_| *only == place(hash)),
            Guards::Many(guards) => guards.get_mut(place(hash)).and_then(Option::as_mut),
        };
        guard.map(|guard| &mut **guard).ok_or(NOT_LOCKED)
    }

    fn all(&self) -> impl Iterator<Item = &Shard> {
        let guards: &[_] = match &self.guards {
            Guards::One(..) => &[],
            Guards::Many(guards) => guards,
        };
        guards.iter().flatten().map(|guard| &**guard)
    }
}

/// A command has used a key that it has not declared.
const NOT_LOCKED: Failure = Failure::new("ERR internal error: a key was not locked");

impl Keyspace for Locked<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn max_value(&self) -> usize {
        self.shared.max_value
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry<'_>>, Failure> {
        let hash = self.shared.hash(key);
        let record = self.shard(hash)?.find(hash, key, self.now);
        Ok(record.map(|record| Entry { value: Cow::Borrowed(record.value()), expires: record.expires() }))
    }

    fn put(&mut self, key: &[u8], value: &[u8], expires: Option<u64>) -> Result<(), Failure> {
        let (hash, shared) = (self.shared.hash(key), self.shared);
        self.shard_mut(hash)?.put(hash, key, value, expires, shared);
        shared.watches.touch(key);
        Ok(())
    }

    fn overwrite(&mut self, key: &[u8], offset: usize, piece: &[u8]) -> Result<usize, Failure> {
        let (hash, shared, now) = (self.shared.hash(key), self.shared, self.now);
        let shard = self.shard_mut(hash)?;
        let known = shard.records.find_mut(hash, |record| record.key() == key).filter(|record| record.is_live(now));
        let length = match known {
            Some(record) => {
                let before = record.footprint();
                let length = record.overwrite_from(offset, piece);
                shared.used.fetch_add(record.footprint(), Ordering::Relaxed);
                shared.used.fetch_sub(before, Ordering::Relaxed);
                length
            }
            None => {
                let mut value = Vec::new();
                overwrite(&mut value, offset, piece);
                shard.put(hash, key, &value, None, shared);
                value.len()
            }
        };
        shared.watches.touch(key);
        Ok(length)
    }

    fn set_deadline(&mut self, key: &[u8], expires: Option<u64>) -> Result<(), Failure> {
        let (hash, shared) = (self.shared.hash(key), self.shared);
        self.shard_mut(hash)?.set_deadline(hash, key, expires, shared);
        shared.watches.touch(key);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Failure> {
        let (hash, shared, now) = (self.shared.hash(key), self.shared, self.now);
        let removed = self.shard_mut(hash)?.remove(hash, key, shared);
        let was_live = removed.is_some_and(|record| record.is_live(now));
        if was_live {
            shared.watches.touch(key);
        }
        Ok(was_live)
    }

    fn len(&self) -> Result<u64, Failure> {
        Ok(self.all().map(|shard| shard.records.len() as u64).sum())
    }

    fn clear(&mut self) -> Result<(), Failure> {
        let shared = self.shared;
        shared.watches.touch_all(|key| self.entry(key).is_ok_and(|entry| entry.is_some()));
        let Guards::Many(guards) = &mut self.guards else { return Err(NOT_LOCKED) };
        let dropped: Vec<Shard> = guards.iter_mut().flatten().map(|guard| guard.clear(shared)).collect();
        // Millions of keys take a while to be freed, and nobody should wait for that.
        let _ = thread::Builder::new().name("clear".into()).spawn(move || drop(dropped));
        Ok(())
    }

    fn walk(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, Failure> {
        let mut visited = 0;
        for shard in self.all().skip(place(from)) {
            let live = shard.records.iter().filter(|record| record.is_live(self.now));
            let hashed = live.map(|record| (self.shared.hash(record.key()), record));
            let mut found: Vec<(u64, &Record)> = hashed.filter(|(hash, _)| *hash >= from).collect();
            let missing = count.saturating_sub(visited);
            // Where to go on if there are more than are missing. Those of the same hash stay together.
            let mut next = None;
            if missing < found.len() {
                let (_, at, _) = found.select_nth_unstable_by_key(missing, |(hash, _)| *hash);
                next = Some(at.0);
            }
            let first = found.iter().map(|(hash, _)| *hash).min();
            let next = if next == first && visited == 0 { next.and_then(|hash| hash.checked_add(1)) } else { next };
            for (_, record) in found.iter().filter(|(hash, _)| next.is_none_or(|next| *hash < next)) {
                visit(record.key());
                visited += 1;
            }
            if let Some(next) = next {
                return Ok(next);
            }
        }
        Ok(0)
    }
}
