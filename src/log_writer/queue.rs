//! The queue of log lines that are not written yet.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most lines in the queue.
const CAPACITY: usize = 1024;

/// How long the program waits at its end for the last lines to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the program waits at its start for the first lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// Which lines are dropped first when the queue is full: ordinary ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Ordinary,
    Warning,
}

/// A line in the queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) line: Vec<u8>,
    priority: Priority,
    /// How many lines were dropped between the previous entry and this one.
    pub(crate) missing_before: u64,
}

/// A handle to the queue, shared by the threads that log and the thread that writes.
#[derive(Clone, Default)]
pub(crate) struct LogWriter(Arc<SharedQueue>);

#[derive(Default)]
struct SharedQueue {
    queue: Mutex<Queue>,
    /// Notified when a line is added. The writing thread waits for it.
    line_added: Condvar,
    /// Notified when all lines are written. `flush` and `finish` wait for it.
    all_written: Condvar,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The writing thread has taken a line and not asked for the next one.
    is_writing: bool,
}

impl LogWriter {
    /// Adds a line. Never waits for the writing thread: when the queue is full, it drops an old line.
    pub(crate) fn push(&self, line: Vec<u8>, priority: Priority) {
        let mut queue = self.lock();
        queue.entries.push_back(Entry { line, priority, missing_before: 0 });
        if queue.entries.len() > CAPACITY {
            queue.drop_old_line();
        }
        drop(queue);
        self.0.line_added.notify_one();
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
            self.0.all_written.notify_all();
            queue = self.0.line_added.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits a short time for the last lines to be written.
    pub(crate) fn finish(&self) {
        self.flush_within(FINISH_TIMEOUT);
    }

    /// Waits a moment for the lines so far to be written, so that they appear before a line on standard output.
    pub(crate) fn flush(&self) {
        self.flush_within(FLUSH_TIMEOUT);
    }

    fn flush_within(&self, timeout: Duration) {
        let unwritten = |queue: &mut Queue| queue.is_writing || !queue.entries.is_empty();
        // The program goes on after a timeout too: nothing may be reading standard error.
        drop(self.0.all_written.wait_timeout_while(self.lock(), timeout, unwritten));
    }

    /// Ignores poison: a panic while the lock is held leaves the queue valid.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Drops the oldest ordinary line, or the oldest warning if there are only warnings. Never drops the newest line, so
    /// there is always a next entry, which counts the dropped line.
    fn drop_old_line(&mut self) {
        let all_but_newest = self.entries.len().saturating_sub(1);
        let index = self
            .entries
            .iter()
            .take(all_but_newest)
            .position(|entry| entry.priority == Priority::Ordinary)
            .unwrap_or(0);
        let Some(dropped) = self.entries.remove(index) else { return };
        if let Some(next) = self.entries.get_mut(index) {
            next.missing_before += dropped.missing_before + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_of(priority: Priority) -> LogWriter {
        let log_writer = LogWriter::default();
        (0..CAPACITY).for_each(|_| log_writer.push(b"old\n".to_vec(), priority));
        log_writer
    }

    fn all(log_writer: &LogWriter) -> Vec<Entry> {
        log_writer.lock().entries.drain(..).collect()
    }

    #[test]
    fn a_full_queue_keeps_its_last_line_and_counts_the_dropped_ones() {
        let log_writer = full_of(Priority::Ordinary);
        (0..5000).for_each(|_| log_writer.push(b"flood\n".to_vec(), Priority::Ordinary));
        log_writer.push(b"the summary\n".to_vec(), Priority::Ordinary);
        let entries = all(&log_writer);
        assert_eq!(entries.len(), CAPACITY);
        assert_eq!(entries.last().unwrap().line, b"the summary\n");
        assert_eq!(entries.iter().map(|entry| entry.missing_before).sum::<u64>(), 5001);
        assert_eq!(entries[0].missing_before, 5001, "they are counted where they are missing");
    }

    #[test]
    fn ordinary_lines_are_dropped_before_warnings() {
        let log_writer = LogWriter::default();
        log_writer.push(b"warning\n".to_vec(), Priority::Warning);
        (0..5000).for_each(|_| log_writer.push(b"flood\n".to_vec(), Priority::Ordinary));
        let entries = all(&log_writer);
        assert_eq!(entries[0].line, b"warning\n");
        assert_eq!((entries[0].missing_before, entries[1].missing_before), (0, 5001 - CAPACITY as u64));
    }

    #[test]
    fn a_queue_full_of_warnings_counts_every_dropped_line() {
        let log_writer = full_of(Priority::Warning);
        log_writer.push(b"ordinary\n".to_vec(), Priority::Ordinary);
        log_writer.push(b"warning\n".to_vec(), Priority::Warning);
        let entries = all(&log_writer);
        assert_eq!(entries.len(), CAPACITY);
        assert_eq!(entries.last().unwrap().line, b"warning\n");
        assert_eq!(entries.iter().map(|entry| entry.missing_before).sum::<u64>(), 2);
    }

    #[test]
    fn a_flush_waits_for_the_writing_thread() {
        let log_writer = full_of(Priority::Ordinary);
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
