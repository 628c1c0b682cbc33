//! A read-only view of a file for a database that must write in order to open it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use redb::{BackendError, StorageBackend};

use crate::panics::lock_ignoring_poison;

const PAGE: u64 = 4096;

/// The content of a file, with the writes to it kept in memory. So committed data can be read while the disk refuses writes:
/// a database that was not closed properly is repaired when it is opened, and the repair writes.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    written: Mutex<Written>,
}

/// What was written over the file: its new length, and its changed pages by their number.
#[derive(Debug)]
struct Written {
    length: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// # Errors
    ///
    /// The file can't be read.
    pub(super) fn open(path: &Path) -> io::Result<Overlay> {
        let file = File::open(path)?;
        let written = Written { length: file.metadata()?.len(), pages: BTreeMap::new() };
        Ok(Overlay { file, written: Mutex::new(written) })
    }

    /// Reads a page of the file. Beyond the end of the file it is zeros.
    fn page(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE as usize];
        let mut filled = 0;
        while let Some(rest) = page.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, number * PAGE + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }
}

/// Splits `length` bytes at `offset` into pages. Returns, for each page, its number, the start of the bytes within it, and
/// their count.
fn split_into_pages(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let from = offset.max(page * PAGE);
        (page, (from - page * PAGE) as usize, (end.min((page + 1) * PAGE) - from) as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(lock_ignoring_poison(&self.written).length)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        for (number, start, count) in split_into_pages(offset, out.len()) {
            let (target, rest) = out.split_at_mut(count);
            let written = lock_ignoring_poison(&self.written).pages.get(&number).cloned();
            let page = written.map_or_else(|| self.page(number), Ok)?;
            target.copy_from_slice(page.get(start..start + count).ok_or(io::ErrorKind::UnexpectedEof)?);
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        lock_ignoring_poison(&self.written).length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        for (number, start, count) in split_into_pages(offset, data.len()) {
            let (piece, rest) = data.split_at(count);
            let written = lock_ignoring_poison(&self.written).pages.remove(&number);
            let mut page = written.map_or_else(|| self.page(number), Ok)?;
            page.get_mut(start..start + count).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(piece);
            lock_ignoring_poison(&self.written).pages.insert(number, page);
            data = rest;
        }
        Ok(())
    }

    // No other process uses this view, so there is nothing to lock.

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_can_be_read_back_and_the_file_stays_unchanged() {
        let path = std::env::temp_dir().join(format!("acceptd-overlay-{}", std::process::id()));
        std::fs::write(&path, [1; 6000]).unwrap();
        let overlay = Overlay::open(&path).unwrap();
        overlay.set_len(10_000).unwrap();
        overlay.write(4000, &[2; 200]).unwrap();
        let mut read = vec![0; 10_000];
        overlay.read(0, &mut read).unwrap();
        let expected = [vec![1; 4000], vec![2; 200], vec![1; 1800], vec![0; 4000]].concat();
        assert!(read == expected);
        assert!(std::fs::read(&path).unwrap() == [1; 6000]);
        std::fs::remove_file(&path).unwrap();
    }
}
