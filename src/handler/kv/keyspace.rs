//! What a command sees of the store: the keys with their values and expiry times, and the errors that it may return.
//! Times are milliseconds since 1970.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest wait before the clock is read again. Somebody may set the clock during a wait.
pub(super) const MAX_CLOCK_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Why a command failed. The message is Redis's; its first word tells clients the kind of error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandError(pub(super) Cow<'static, str>);

impl CommandError {
    pub(super) const SYNTAX: CommandError = CommandError::new("ERR syntax error");
    pub(super) const NOT_AN_INTEGER: CommandError = CommandError::new("ERR value is not an integer or out of range");
    pub(super) const NOT_A_FLOAT: CommandError = CommandError::new("ERR value is not a valid float");
    pub(super) const NO_SUCH_KEY: CommandError = CommandError::new("ERR no such key");

    pub(super) const fn new(message: &'static str) -> CommandError {
        CommandError(Cow::Borrowed(message))
    }

    /// The store's file can't be read or written.
    pub(super) fn disk(error: &dyn std::fmt::Display) -> CommandError {
        CommandError(Cow::Owned(format!("MISCONF the store's file can't be used at the moment: {error}")))
    }

    pub(super) fn is_disk_error(&self) -> bool {
        self.0.starts_with("MISCONF")
    }

    /// Whether the usage line of the command would help.
    pub(super) fn is_usage_error(&self) -> bool {
        *self == CommandError::SYNTAX || self.0.starts_with("ERR wrong number of arguments")
    }
}

/// Whether a command has succeeded. Its reply goes into the [`Replies`](super::reply::Replies).
pub(super) type CommandResult = Result<(), CommandError>;

/// A key's value, and its expiry time in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct KeyEntry<'a> {
    pub(super) value: Cow<'a, [u8]>,
    pub(super) expires_at: Option<u64>,
}

/// The keys, as a command sees them. No other client changes them while it runs. Expired keys are invisible.
pub(super) trait Keyspace {
    /// The current time for all commands of a transaction, in milliseconds since 1970.
    fn now(&self) -> u64;

    /// The longest value allowed, in bytes.
    fn max_value(&self) -> usize;

    fn entry(&self, key: &[u8]) -> Result<Option<KeyEntry<'_>>, CommandError>;

    fn put(&mut self, key: &[u8], value: &[u8], expires_at: Option<u64>) -> CommandResult;

    /// Writes `piece` into a value at `offset` and returns the value's new length. A gap between the end of the old
    /// value and `offset` is filled with zeros. The expiry time stays.
    fn overwrite(&mut self, key: &[u8], offset: usize, piece: &[u8]) -> Result<usize, CommandError> {
        let entry = self.entry(key)?;
        let expires_at = entry.as_ref().and_then(|entry| entry.expires_at);
        let mut value = entry.map(|entry| entry.value.into_owned()).unwrap_or_default();
        write_at(&mut value, offset, piece);
        self.put(key, &value, expires_at)?;
        Ok(value.len())
    }

    /// Changes the expiry time of an existing key.
    fn set_expiry(&mut self, key: &[u8], expires_at: Option<u64>) -> Result<(), CommandError> {
        let value = self.value(key)?.map(Cow::into_owned);
        value.map_or(Ok(()), |value| self.put(key, &value, expires_at))
    }

    /// Returns whether the key existed.
    fn remove(&mut self, key: &[u8]) -> Result<bool, CommandError>;

    /// The number of keys. It may include some that have expired.
    fn len(&self) -> Result<u64, CommandError>;

    fn clear(&mut self) -> CommandResult;

    /// Visits keys in the order of their hashes, starting at the hash `from`. Visits `count` keys, plus any others that
    /// share the hash of the last one. Returns the hash to continue from, or 0 at the end. A full iteration visits each
    /// key that exists throughout exactly once.
    fn scan(&self, from: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> Result<u64, CommandError>;

    /// Visits every key, in no particular order.
    fn for_each_key(&self, visit: &mut dyn FnMut(&[u8])) -> CommandResult {
        self.scan(0, usize::MAX, visit)?;
        Ok(())
    }

    fn value(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, CommandError> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }
}

/// Writes `piece` into `value` at `offset`, which may lie beyond its end.
pub(super) fn write_at(value: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    let end = offset + piece.len();
    if value.len() < end {
        value.reserve_exact(end - value.len());
        value.resize(end, 0);
    }
    if let Some(target) = value.get_mut(offset..end) {
        target.copy_from_slice(piece);
    }
}

/// Whether a key with this expiry time has not expired.
pub(super) fn is_live(expires_at: Option<u64>, now: u64) -> bool {
    expires_at.is_none_or(|expires_at| expires_at > now)
}

/// An optional expiry time as engines store it. `u64::MAX` means none.
pub(super) fn encode_expiry(expires_at: Option<u64>) -> [u8; 8] {
    expires_at.unwrap_or(u64::MAX).to_le_bytes()
}

/// The inverse of [`encode_expiry`].
pub(super) fn decode_expiry(bytes: [u8; 8]) -> Option<u64> {
    let expires_at = u64::from_le_bytes(bytes);
    (expires_at != u64::MAX).then_some(expires_at)
}

/// Counts the keys that a [`Keyspace::scan`] visits.
pub(super) struct ScanCounter {
    keys_left: usize,
    last_hash: Option<u64>,
}

impl ScanCounter {
    pub(super) fn new(count: usize) -> ScanCounter {
        ScanCounter { keys_left: count, last_hash: None }
    }

    /// Whether the scan must stop before the next key, which has this hash. Keys that share a hash are visited together,
    /// because the cursor can't point between them.
    pub(super) fn stops_before(&self, hash: u64) -> bool {
        self.keys_left == 0 && self.last_hash != Some(hash)
    }

    pub(super) fn count(&mut self, hash: u64) {
        self.keys_left = self.keys_left.saturating_sub(1);
        self.last_hash = Some(hash);
    }
}

/// The current time.
pub(super) fn unix_millis() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
