//! The maildrops of all users, in memory. A user's maildrop is locked while a session has it open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// At most this many bytes of mail wait for a user.
pub const MAX_DROP: usize = 16 * 1024 * 1024;

/// What a mail costs besides its bytes, about.
const MAIL_OVERHEAD: usize = 128;

/// A mail in a maildrop.
#[derive(Debug)]
pub struct Mail {
    /// For UIDL. No mail of this server gets it again.
    pub uid: u64,
    pub bytes: Vec<u8>,
}

/// All users with their maildrops.
pub struct Store {
    accounts: HashMap<String, Account>,
}

struct Account {
    password: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mails: Vec<Arc<Mail>>,
    last_uid: u64,
    is_open: bool,
}

/// Why a maildrop was not opened.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The user or the password is wrong. A client is not told which.
    Denied,
    /// Another session has it open.
    InUse,
}

/// Why a mail was not stored.
#[derive(Debug, PartialEq, Eq)]
pub enum DeliverError {
    NoSuchUser,
    Full,
}

impl Store {
    /// A store for these users with their passwords.
    pub fn new<'a>(accounts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Arc<Store> {
        let account = |(name, password): (&str, &str)| {
            (name.to_owned(), Account { password: password.to_owned(), state: Mutex::default() })
        };
        Arc::new(Store { accounts: accounts.into_iter().map(account).collect() })
    }

    pub fn has_user(&self, name: &str) -> bool {
        self.accounts.contains_key(name)
    }

    /// Adds a complete mail to a user's maildrop. A session that has it open does not see it.
    ///
    /// # Errors
    ///
    /// Nothing is stored then.
    pub fn deliver(&self, name: &str, bytes: Vec<u8>) -> Result<(), DeliverError> {
        let mut state = lock(self.accounts.get(name).ok_or(DeliverError::NoSuchUser)?);
        let size: usize = state.mails.iter().map(|mail| mail.bytes.len() + MAIL_OVERHEAD).sum();
        if size + bytes.len() + MAIL_OVERHEAD > MAX_DROP {
            return Err(DeliverError::Full);
        }
        state.last_uid += 1;
        let uid = state.last_uid;
        state.mails.push(Arc::new(Mail { uid, bytes }));
        Ok(())
    }

    /// Opens a user's maildrop, if `knows_password` says so of the user's password.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(
        self: &Arc<Store>,
        name: &str,
        knows_password: impl FnOnce(&str) -> bool,
    ) -> Result<Maildrop, OpenError> {
        let account = self.accounts.get(name).ok_or(OpenError::Denied)?;
        if !knows_password(&account.password) {
            return Err(OpenError::Denied);
        }
        let mut state = lock(account);
        if state.is_open {
            return Err(OpenError::InUse);
        }
        state.is_open = true;
        let entries = state.mails.iter().map(|mail| Entry { mail: Arc::clone(mail), is_deleted: false }).collect();
        Ok(Maildrop { store: Arc::clone(self), name: name.to_owned(), entries })
    }
}

/// A maildrop that a session has open, with the mails that were there when it was opened. Dropped, it is unlocked, and nothing
/// is deleted.
pub struct Maildrop {
    store: Arc<Store>,
    name: String,
    entries: Vec<Entry>,
}

struct Entry {
    mail: Arc<Mail>,
    is_deleted: bool,
}

impl Maildrop {
    /// The mails that are not marked as deleted, with their numbers.
    pub fn mails(&self) -> impl Iterator<Item = (usize, &Mail)> {
        let numbered = (1..).zip(&self.entries);
        numbered.filter(|(_, entry)| !entry.is_deleted).map(|(number, entry)| (number, &*entry.mail))
    }

    /// The mail of this number. `None` if there is none, or if it is marked as deleted.
    pub fn mail(&self, number: usize) -> Option<&Mail> {
        let entry = self.entries.get(number.checked_sub(1)?)?;
        (!entry.is_deleted).then_some(&*entry.mail)
    }

    /// Marks a mail as deleted. Returns false if there is none of this number.
    pub fn delete(&mut self, number: usize) -> bool {
        let entry = number.checked_sub(1).and_then(|index| self.entries.get_mut(index));
        let Some(entry) = entry.filter(|entry| !entry.is_deleted) else { return false };
        entry.is_deleted = true;
        true
    }

    /// Takes all marks back.
    pub fn reset(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.is_deleted = false);
    }

    /// Deletes what is marked, and unlocks the maildrop.
    pub fn commit(self) {
        let Some(account) = self.store.accounts.get(&self.name) else { return };
        let is_deleted = |uid| self.entries.iter().any(|entry| entry.is_deleted && entry.mail.uid == uid);
        lock(account).mails.retain(|mail| !is_deleted(mail.uid));
    }
}

impl Drop for Maildrop {
    fn drop(&mut self) {
        if let Some(account) = self.store.accounts.get(&self.name) {
            lock(account).is_open = false;
        }
    }
}

/// A panic under the lock can't leave a maildrop half changed: each change is one step.
fn lock(account: &Account) -> MutexGuard<'_, State> {
    account.state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Arc<Store> {
        let store = Store::new([("ann", "secret")]);
        store.deliver("ann", b"one\r\n".to_vec()).unwrap();
        store.deliver("ann", b"two\r\n".to_vec()).unwrap();
        store
    }

    fn open(store: &Arc<Store>) -> Maildrop {
        store.open("ann", |password| password == "secret").ok().unwrap()
    }

    fn numbers(maildrop: &Maildrop) -> Vec<usize> {
        maildrop.mails().map(|(number, _)| number).collect()
    }

    #[test]
    fn a_maildrop_is_open_once_at_a_time_until_it_is_dropped() {
        let store = ann();
        let first = open(&store);
        assert_eq!(store.open("ann", |_| true).err(), Some(OpenError::InUse));
        drop(first);
        assert_eq!(numbers(&open(&store)), [1, 2]);
    }

    #[test]
    fn a_wrong_user_and_a_wrong_password_look_the_same() {
        let store = ann();
        assert_eq!(store.open("ann", |_| false).err(), Some(OpenError::Denied));
        assert_eq!(store.open("bob", |_| true).err(), Some(OpenError::Denied));
    }

    #[test]
    fn marks_become_deletions_by_a_commit_only_and_numbers_stay_until_then() {
        let store = ann();
        let mut maildrop = open(&store);
        assert!(maildrop.delete(1));
        assert!(!maildrop.delete(1) && !maildrop.delete(0) && !maildrop.delete(3));
        assert_eq!(numbers(&maildrop), [2]);
        drop(maildrop);
        let mut maildrop = open(&store);
        assert!(maildrop.delete(1) && maildrop.delete(2));
        maildrop.reset();
        assert!(maildrop.delete(2));
        // Arrives meanwhile: not seen, and not deleted.
        store.deliver("ann", b"three\r\n".to_vec()).unwrap();
        assert_eq!(numbers(&maildrop), [1]);
        maildrop.commit();
        let maildrop = open(&store);
        let uids: Vec<u64> = maildrop.mails().map(|(_, mail)| mail.uid).collect();
        assert_eq!((numbers(&maildrop), uids), (vec![1, 2], vec![1, 3]));
    }

    #[test]
    fn a_maildrop_has_a_limit() {
        let store = ann();
        assert_eq!(store.deliver("bob", Vec::new()), Err(DeliverError::NoSuchUser));
        let mebibyte = || vec![b'x'; 1024 * 1024];
        while store.deliver("ann", mebibyte()).is_ok() {}
        assert_eq!(store.deliver("ann", mebibyte()), Err(DeliverError::Full));
        assert_eq!(open(&store).mails().count(), 17);
    }
}
