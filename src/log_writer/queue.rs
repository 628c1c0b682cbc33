//! The lines of the log that wait to be written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait at the most.
const CAPACITY: usize = 1024;

/// How long the end of the program waits for the last lines to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the start waits for its line to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// Which lines give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    Ordinary,
    Warning,
}

/// A line that waits.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) line: Vec<u8>,
    rank: Rank,
    /// Lines between the one before and this one that have given way.
    pub(crate) missing_before: u64,
}

/// The queue: a handle that its writer and those who log share.
#[derive(Clone, Default)]
pub(crate) struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Tells the writer that a line waits.
    ready: Condvar,
    /// Tells who waits for the end that all is written.
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The writer has taken a line and not come back for the next.
    is_writing: bool,
}

impl LogWriter {
    /// Adds a line. Never waits: when the queue is full, the oldest line gives way, warnings last.
    pub(crate) fn put(&self, line: Vec<u8>, rank: Rank) {
        let mut queue = self.lock();
        queue.entries.push_back(Entry { line, rank, missing_before: 0 });
        if queue.entries.len() > CAPACITY {
            queue.drop_one();
        }
        drop(queue);
        self.0.ready.notify_one();
    }

    /// The next line to be written. Waits until there is one.
    pub(crate) fn next(&self) -> Entry {
        let mut queue = self.lock();
        loop {
            if let Some(entry) = queue.entries.pop_front() {
                queue.is_writing = true;
                return entry;
            }
            queue.is_writing = false;
            self.0.written.notify_all();
            queue = self.0.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits a short time for the last lines to be written.
    pub(crate) fn finish(&self) {
        self.flush_within(FINISH_TIMEOUT);
    }

    /// Waits a moment for the lines so far to be written, so that the log and standard output come in their order.
    pub(crate) fn flush(&self) {
        self.flush_within(FLUSH_TIMEOUT);
    }

    fn flush_within(&self, timeout: Duration) {
        let unwritten = |queue: &mut Queue| queue.is_writing || !queue.entries.is_empty();
        // The result does not matter: a log that is not read can't be waited for.
        drop(self.0.written.wait_timeout_while(self.lock(), timeout, unwritten));
    }

    /// A panic while the lock is held leaves whole lines behind, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Drops the oldest ordinary line, or the oldest warning if there are only warnings. The newest line stays in any case,
    /// so there is always one behind, which counts what is missing before it.
    fn drop_one(&mut self) {
        let older = self.entries.len().saturating_sub(1);
        let dropped = self.entries.iter().take(older).position(|entry| entry.rank == Rank::Ordinary).unwrap_or(0);
        let Some(entry) = self.entries.remove(dropped) else { return };
        if let Some(behind) = self.entries.get_mut(dropped) {
            behind.missing_before += entry.missing_before + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_of(rank: Rank) -> LogWriter {
        let log_writer = LogWriter::default();
        (0..CAPACITY).for_each(|_| log_writer.put(b"old\n".to_vec(), rank));
        log_writer
    }

    fn all(log_writer: &LogWriter) -> Vec<Entry> {
        log_writer.lock().entries.drain(..).collect()
    }

    #[test]
    fn the_last_line_of_a_full_queue_is_kept_and_the_lines_that_gave_way_are_counted() {
        let log_writer = full_of(Rank::Ordinary);
        (0..5000).for_each(|_| log_writer.put(b"flood\n".to_vec(), Rank::Ordinary));
        log_writer.put(b"the summary\n".to_vec(), Rank::Ordinary);
        let entries = all(&log_writer);
        assert_eq!(entries.len(), CAPACITY);
        assert_eq!(entries.last().unwrap().line, b"the summary\n");
        assert_eq!(entries.iter().map(|entry| entry.missing_before).sum::<u64>(), 5001);
        assert_eq!(entries[0].missing_before, 5001, "they are counted where they are missing");
    }

    #[test]
    fn a_warning_outlasts_every_ordinary_line() {
        let log_writer = LogWriter::default();
        log_writer.put(b"warning\n".to_vec(), Rank::Warning);
        (0..5000).for_each(|_| log_writer.put(b"flood\n".to_vec(), Rank::Ordinary));
        let entries = all(&log_writer);
        assert_eq!(entries[0].line, b"warning\n");
        assert_eq!((entries[0].missing_before, entries[1].missing_before), (0, 5001 - CAPACITY as u64));
    }

    #[test]
    fn no_line_is_lost_uncounted_in_a_queue_full_of_warnings() {
        let log_writer = full_of(Rank::Warning);
        log_writer.put(b"ordinary\n".to_vec(), Rank::Ordinary);
        log_writer.put(b"warning\n".to_vec(), Rank::Warning);
        let entries = all(&log_writer);
        assert_eq!(entries.len(), CAPACITY);
        assert_eq!(entries.last().unwrap().line, b"warning\n");
        assert_eq!(entries.iter().map(|entry| entry.missing_before).sum::<u64>(), 2);
    }

    #[test]
    fn the_end_waits_for_a_writer_that_is_late() {
        let log_writer = full_of(Rank::Ordinary);
        let writer = log_writer.clone();
        std::thread::spawn(move || {
            loop {
                writer.next();
            }
        });
        log_writer.flush_within(Duration::from_secs(60));
        let queue = log_writer.lock();
        assert!(queue.entries.is_empty() && !queue.is_writing);
    }
}
