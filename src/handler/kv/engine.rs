//! What keeps the keys: the contract of the engines, and what a command sees of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::commands::{Command, Keys};
use super::reply::{Dialect, Replies};
use crate::panics::lock;

/// Why a command was not executed, in Redis's words, the first of which tells clients the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure(pub(super) Cow<'static, str>);

impl Failure {
    pub(super) const SYNTAX: Failure = Failure::new("ERR syntax error");
    pub(super) const NOT_AN_INTEGER: Failure = Failure::new("ERR value is not an integer or out of range");
    pub(super) const NOT_A_FLOAT: Failure = Failure::new("ERR value is not a valid float");
    pub(super) const NO_SUCH_KEY: Failure = Failure::new("ERR no such key");

    pub(super) const fn new(message: &'static str) -> Failure {
        Failure(Cow::Borrowed(message))
    }

    /// Whether the command was not written as it should be.
    fn is_about_form(&self) -> bool {
        *self == Failure::SYNTAX || self.0.starts_with("ERR wrong number of arguments")
    }

    pub(super) fn is_of_disk(&self) -> bool {
        self.0.starts_with("MISCONF")
    }

    /// Nothing can be written to the disk, or read from it.
    pub(super) fn of_disk(error: &dyn std::fmt::Display) -> Failure {
        Failure(Cow::Owned(format!("MISCONF the store's file can't be used at the moment: {error}")))
    }
}

/// A key's value, and when it expires: milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) value: Cow<'a, [u8]>,
    pub(super) expires: Option<u64>,
}

/// The keys, as a command sees them while nobody else changes them. Keys that have expired are not there any more.
pub(super) trait Keyspace {
    /// The time that all commands of a transaction go by: milliseconds since 1970.
    fn now(&self) -> u64;

    /// No value may be longer, in bytes.
    fn max_value(&self) -> usize;

    fn entry(&self, key: &[u8]) -> Result<Option<Entry<'_>>, Failure>;

    fn put(&mut self, key: &[u8], value: &[u8], expires: Option<u64>) -> Result<(), Failure>;

    /// Puts `piece` into a value from `offset` on; what is between the value's end and `offset` becomes zeros. The
    /// value's new length. It still expires when it did.
    fn overwrite(&mut self, key: &[u8], offset: usize, piece: &[u8]) -> Result<usize, Failure> {
        let entry = self.entry(key)?;
        let expires = entry.as_ref().and_then(|entry| entry.expires);
        let mut value = entry.map(|entry| entry.value.into_owned()).unwrap_or_default();
        overwrite(&mut value, offset, piece);
        self.put(key, &value, expires)?;
        Ok(value.len())
    }

    /// Changes when a key that is there expires.
    fn set_deadline(&mut self, key: &[u8], expires: Option<u64>) -> Result<(), Failure> {
        let value = self.value(key)?.map(Cow::into_owned);
        value.map_or(Ok(()), |value| self.put(key, &value, expires))
    }

    /// Whether it was there.
    fn remove(&mut self, key: &[u8]) -> Result<bool, Failure>;

    /// The number of keys; some of them may have expired.
    fn len(&self) -> Result<u64, Failure>;

    fn clear(&mut self) -> Result<(), Failure>;

    /// Visits keys in the order of their hashes, from the hash `from` on: `count` of them, and those besides that have
    /// the hash of the last one. Where to go on, 0 if that was all. Keys that are there all the time are visited once.
    fn walk(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, Failure>;

    /// The value alone.
    fn value(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Failure> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }
}

/// A command and its words, of which the first is its name.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) command: &'static Command,
    pub(super) words: &'a [&'a [u8]],
}

impl<'a> Call<'a> {
    /// The keys that it names; `None`: it is about all of them.
    pub(super) fn keys(&self) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let (first, last, step) = match self.command.keys {
            Keys::All => return None,
            Keys::None => (1, 0, 1),
            Keys::First => (1, 1, 1),
            Keys::FirstTwo => (1, 2, 1),
            Keys::Every(step) => (1, self.words.len() - 1, step),
        };
        let words = self.words;
        Some((first..=last).step_by(step).filter_map(|place| words.get(place).copied()))
    }

    /// Executes it, and writes its reply, or why there is none.
    pub(super) fn execute(&self, keyspace: &mut dyn Keyspace, replies: &mut Replies) -> Result<(), Failure> {
        let before = replies.len();
        let mut outcome = (self.command.run)(keyspace, self.words, replies);
        if replies.take_overflow() {
            outcome = Err(Failure::new("ERR the reply would be longer than 64 MiB, ask for less at a time"));
        }
        if let Err(failure) = &outcome {
            replies.truncate(before);
            if replies.dialect() == Dialect::Text && failure.is_about_form() {
                replies.error(&format!("{}; write {}", failure.0, self.command.usage()));
            } else {
                replies.error(&failure.0);
            }
        }
        outcome
    }
}

/// Keeps the keys. All of its methods may be called from any thread.
pub(super) trait Engine: Send + Sync {
    /// Executes calls one after the other; others may come in between. When this returns, what was written is kept.
    fn run(&self, calls: &[Call<'_>], replies: &mut Replies);

    /// Executes calls with nobody coming in between: where the reply to each of them ends. `None`: a watched key has
    /// changed, and nothing was executed.
    fn run_together(&self, calls: &[Call<'_>], watched: &[Watched], replies: &mut Replies) -> Option<Vec<usize>>;

    /// Whether it is quicker to have several writes in one [`run`](Engine::run).
    fn gathers(&self) -> bool;

    /// Whether it outlives the process.
    fn is_durable(&self) -> bool;

    /// Begins to watch a key.
    fn watch(&self, key: &[u8]) -> Watched;

    fn unwatch(&self, watched: Vec<Watched>);

    /// Bytes of memory that the keys and values take, as far as this engine knows.
    fn used_memory(&self) -> usize;

    /// Keys, and those of them that expire.
    fn count(&self) -> (u64, u64);

    /// Keys that have expired so far, and were dropped.
    fn expired(&self) -> u64;
}

/// Puts `piece` into `value` from `offset` on, which may be after its end.
pub(super) fn overwrite(value: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    let end = offset + piece.len();
    if value.len() < end {
        value.reserve_exact(end - value.len());
        value.resize(end, 0);
    }
    if let Some(place) = value.get_mut(offset..end) {
        place.copy_from_slice(piece);
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A key that somebody watches, as it was then.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) key: Vec<u8>,
    pub(super) version: u64,
    /// When it would expire by itself.
    pub(super) expires: Option<u64>,
}

/// Which keys are watched, and how often each was written since. Keys that nobody watches cost nothing.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Watched keys, so that a write need not look when there are none.
    count: AtomicUsize,
    keys: Mutex<HashMap<Vec<u8>, Watch>>,
}

#[derive(Debug, Default)]
struct Watch {
    watchers: usize,
    version: u64,
}

impl Watches {
    /// The version that the key has now.
    pub(super) fn add(&self, key: &[u8]) -> u64 {
        let mut keys = lock(&self.keys);
        let watch = keys.entry(key.to_vec()).or_default();
        watch.watchers += 1;
        let version = watch.version;
        self.count.store(keys.len(), Ordering::SeqCst);
        version
    }

    pub(super) fn remove(&self, watched: Vec<Watched>) {
        let mut keys = lock(&self.keys);
        for Watched { key, .. } in watched {
            if let Some(watch) = keys.get_mut(&key) {
                watch.watchers -= 1;
                if watch.watchers == 0 {
                    keys.remove(&key);
                }
            }
        }
        self.count.store(keys.len(), Ordering::SeqCst);
    }

    /// A key was written.
    pub(super) fn touch(&self, key: &[u8]) {
        if self.count.load(Ordering::SeqCst) > 0
            && let Some(watch) = lock(&self.keys).get_mut(key)
        {
            watch.version += 1;
        }
    }

    /// All keys are deleted: those that are there are written.
    pub(super) fn touch_all(&self, is_there: impl Fn(&[u8]) -> bool) {
        for (_, watch) in lock(&self.keys).iter_mut().filter(|(key, _)| is_there(key)) {
            watch.version += 1;
        }
    }

    /// The keys that somebody watches.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        lock(&self.keys).keys().cloned().collect()
    }

    /// Whether all of them are as they were, at the time `now`.
    pub(super) fn are_unchanged(&self, watched: &[Watched], now: u64) -> bool {
        let keys = lock(&self.keys);
        watched.iter().all(|watched| {
            let same = keys.get(&watched.key).is_some_and(|watch| watch.version == watched.version);
            same && watched.expires.is_none_or(|expires| expires > now)
        })
    }
}
