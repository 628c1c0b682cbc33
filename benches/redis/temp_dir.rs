//! Temporary directories, where the servers keep their files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The magic numbers of file systems that live in memory, where fsync costs nothing (statfs(2)).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// A new directory. Dropping it removes the directory and everything in it.
pub struct TempDir(PathBuf);

impl TempDir {
    /// # Errors
    ///
    /// The directory can't be created.
    pub fn new(parent: &Path) -> io::Result<TempDir> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("acceptd-bench-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(TempDir(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A leftover directory does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A parent for temporary directories that is on a disk, if there is one.
pub fn parent_on_disk() -> Option<PathBuf> {
    [std::env::temp_dir(), PathBuf::from("/var/tmp")].into_iter().find(|directory| {
        // The width and sign of `f_type` depend on the machine; the magic numbers fit in 32 bits.
        let magic = rustix::fs::statfs(directory).map(|file_system| file_system.f_type as u64 & 0xffff_ffff);
        magic.is_ok_and(|magic| magic != TMPFS && magic != RAMFS)
    })
}
