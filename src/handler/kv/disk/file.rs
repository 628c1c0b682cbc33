//! The store's file: opens and creates it, recognizes it by its seed, and finds the process that has it open.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use rustix::fs::{Advice, fadvise};

use super::foreign;
use super::tables::{EXPIRY_TIMES, KEYS};
use crate::handler::kv::keyspace::unix_millis;

/// The table that makes a database a store. Its only record, `seed`, is the random seed of the hashes.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The mode of a new file. Values may be private.
const OWNER_ONLY: u32 = 0o600;

/// The size of redb's cache, in bytes.
const CACHE_SIZE: usize = 256 * 1024 * 1024;

/// Opens the store, or creates it with mode 0600.
///
/// # Errors
///
/// The file can't be opened or created, another process has it open, or it is not a store. The message says what to do.
pub(super) fn open_or_create(path: &Path) -> io::Result<Database> {
    foreign::check_is_store(path)?;
    // Created here, because redb would create it with the default mode.
    let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY).open(path);
    created.map_err(|error| foreign::with_advice(&error, path))?;
    let database = builder().create(path).map_err(|error| open_error(error, path))?;
    if is_of_another_program(&database).map_err(io::Error::other)? {
        return Err(foreign::not_a_store(
            "it is a database of another program; choose another file, a new one is made",
        ));
    }
    Ok(database)
}

/// Whether a database was written by another program that uses redb too. A store whose creation was interrupted has no
/// tables.
fn is_of_another_program(database: &Database) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let tables: Vec<_> = transaction.list_tables()?.collect();
    Ok(!tables.is_empty() && !tables.iter().any(|table| table.name() == META.name()))
}

/// Opens an existing store.
pub(super) fn open(path: &Path) -> io::Result<Database> {
    builder().open(path).map_err(|error| open_error(error, path))
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_SIZE);
    builder
}

/// The error for a database that can't be opened. The message says what to do.
fn open_error(error: DatabaseError, path: &Path) -> io::Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} has it; end that one, or choose another file", describe_owner(path)),
        ),
        DatabaseError::UpgradeRequired(_) => io::Error::other("it was made by another version of acceptd"),
        DatabaseError::Storage(redb::StorageError::Io(error)) if !is_damage(&error) => {
            foreign::with_advice(&error, path)
        }
        other => io::Error::other(format!("it is damaged; restore it from a copy, or choose another file: {other}")),
    }
}

/// Whether the error concerns the content of the file rather than access to it.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

/// Makes the system read a file from the disk again. After a failed write, the page cache may hold data that never reached
/// the disk.
pub(super) fn drop_page_cache(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let synced = file.sync_all();
    fadvise(&file, 0, None, Advice::DontNeed)?;
    synced
}

/// Describes the other process that has a file open.
fn describe_owner(path: &Path) -> String {
    find_owner(path).map_or_else(|| "another process".to_owned(), |pid| format!("the process {pid}"))
}

/// The id of another process that has a file open. `None` if /proc doesn't show it.
fn find_owner(path: &Path) -> Option<u32> {
    let file = fs::metadata(path).ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|&pid| pid != std::process::id() && has_open(pid, &file))
}

/// Whether a process has a file open.
fn has_open(pid: u32, file: &fs::Metadata) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut open_files = descriptors.filter_map(|descriptor| fs::metadata(descriptor.path()).ok());
    open_files.any(|open| open.dev() == file.dev() && open.ino() == file.ino())
}

/// Creates the tables in a new file. Returns the seed of the hashes.
pub(super) fn create_tables(database: &Database) -> Result<[u8; 16], redb::Error> {
    let transaction = database.begin_write()?;
    let seed = {
        let mut meta = transaction.open_table(META)?;
        let seed = read_seed(&meta)?.unwrap_or_else(random_seed);
        meta.insert("seed", &seed[..])?;
        transaction.open_table(KEYS)?;
        transaction.open_table(EXPIRY_TIMES)?;
        seed
    };
    transaction.commit()?;
    Ok(seed)
}

/// The seed of the hashes, or `None` if the database is not a store.
pub(super) fn seed_of(database: &Database) -> Result<Option<[u8; 16]>, redb::Error> {
    Ok(read_seed(&database.begin_read()?.open_table(META)?)?)
}

fn read_seed(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<[u8; 16]>, redb::StorageError> {
    Ok(meta.get("seed")?.and_then(|seed| seed.value().try_into().ok()))
}

fn random_seed() -> [u8; 16] {
    let half = || RandomState::new().hash_one(unix_millis());
    (u128::from(half()) << 64 | u128::from(half())).to_le_bytes()
}
