//! Folders that go with the value: where a server keeps its files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What `statfs` says of file systems that live in memory, where fsync costs nothing (statfs(2)).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// A folder of its own, removed with all that is in it when it goes out of scope.
pub struct Folder(PathBuf);

impl Folder {
    /// # Errors
    ///
    /// The system's.
    pub fn new(parent: &Path) -> io::Result<Folder> {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("acceptd-bench-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Folder(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder for temporary files that is on a disk.
pub fn on_disk() -> Option<PathBuf> {
    [std::env::temp_dir(), PathBuf::from("/var/tmp")].into_iter().find(|folder| {
        // The type's width and sign depend on the machine; the numbers fit in 32 bits.
        let kind = rustix::fs::statfs(folder).map(|file_system| file_system.f_type as u64 & 0xffff_ffff);
        kind.is_ok_and(|kind| kind != TMPFS && kind != RAMFS)
    })
}
