//! The file itself: opened, made, known again by its seed, and whose it is if it is somebody else's.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use rustix::fs::{Advice, fadvise};

use super::foreign;
use super::transaction::{DEADLINES, KEYS};
use crate::handler::kv::engine::now;

/// `seed`: of the hashes. Random, so that nobody can choose keys that collide.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Only its user may read and write a new file: values are nobody else's business.
const OWNER_ONLY: u32 = 0o600;

/// Memory for what was read or is to be written, in bytes.
const CACHE: usize = 256 * 1024 * 1024;

/// Opens the store, or makes it. Others than its user can neither read nor write a new one.
///
/// # Errors
///
/// It can't be opened or made, another process has it, or it is something else: the message says what to do.
pub(super) fn open_or_make(path: &Path) -> io::Result<Database> {
    foreign::check(path)?;
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY).open(path);
    made.map_err(|error| foreign::explain(&error, path))?;
    let database = builder().create(path).map_err(|error| explain(error, path))?;
    if is_of_another_program(&database).map_err(io::Error::other)? {
        return Err(foreign::refuse("it is a database of another program; choose another file, a new one is made"));
    }
    Ok(database)
}

/// The format is not acceptd's own. A store that was not finished when it was made has no tables.
fn is_of_another_program(database: &Database) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let tables: Vec<_> = transaction.list_tables()?.collect();
    Ok(!tables.is_empty() && !tables.iter().any(|table| table.name() == META.name()))
}

/// Opens a store that is there.
///
/// # Errors
///
/// It can't be opened.
pub(super) fn open(path: &Path) -> io::Result<Database> {
    builder().open(path).map_err(|error| explain(error, path))
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

fn explain(error: DatabaseError, path: &Path) -> io::Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} has it; end that one, or choose another file", owner(path)),
        ),
        DatabaseError::UpgradeRequired(_) => io::Error::other("it was made by another version of acceptd"),
        DatabaseError::Storage(redb::StorageError::Io(error)) if !says_damaged(&error) => {
            foreign::explain(&error, path)
        }
        other => io::Error::other(format!("it is damaged; restore it from a copy, or choose another file: {other}")),
    }
}

/// Whether it is about what is in the file.
fn says_damaged(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

/// Makes the system read a file from the disk again. After a failed write-back its cache may have what the disk has
/// not, and call it written.
pub(super) fn forget_cached(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let synced = file.sync_all();
    fadvise(&file, 0, None, Advice::DontNeed)?;
    synced
}

/// Who has a file open, as far as the system tells us.
fn owner(path: &Path) -> String {
    let same = |one: &fs::Metadata, other: &fs::Metadata| one.dev() == other.dev() && one.ino() == other.ino();
    let find = || {
        let file = fs::metadata(path).ok()?;
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            *pid != std::process::id()
                && descriptors.filter_map(|entry| fs::metadata(entry.path()).ok()).any(|open| same(&open, &file))
        })
    };
    find().map_or_else(|| "another process".to_owned(), |pid| format!("the process {pid}"))
}

/// Makes the tables of a new file. The seed of its hashes.
pub(super) fn prepare(database: &Database) -> Result<[u8; 16], redb::Error> {
    let transaction = database.begin_write()?;
    let seed = {
        let mut meta = transaction.open_table(META)?;
        let seed = kept_seed(&meta)?.unwrap_or_else(random);
        meta.insert("seed", &seed[..])?;
        transaction.open_table(KEYS)?;
        transaction.open_table(DEADLINES)?;
        seed
    };
    transaction.commit()?;
    Ok(seed)
}

/// The seed of the hashes, if this is a store.
pub(super) fn seed_of(database: &Database) -> Result<Option<[u8; 16]>, redb::Error> {
    Ok(kept_seed(&database.begin_read()?.open_table(META)?)?)
}

fn kept_seed(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<[u8; 16]>, redb::StorageError> {
    Ok(meta.get("seed")?.and_then(|seed| seed.value().try_into().ok()))
}

fn random() -> [u8; 16] {
    let half = || RandomState::new().hash_one(now());
    (u128::from(half()) << 64 | u128::from(half())).to_le_bytes()
}
