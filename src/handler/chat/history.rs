//! A room's history: its last messages, bounded in lines and bytes.

use std::collections::VecDeque;
use std::ops::Range;

use jiff::Timestamp;

/// A room keeps at most this many lines, and this many bytes of them.
const MAX_LINES: usize = 100;
const MAX_BYTES: usize = 64 * 1024;

/// The memory that a line takes in addition to its text. It counts towards the limits in bytes.
const LINE_OVERHEAD: usize = 80;

/// All rooms together keep about this many bytes. With many rooms each gets an equal share. A room trims its history to its
/// share when its next message is added, not before.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

/// The last messages of a room, as lines of the plain dialect.
#[derive(Default)]
pub(super) struct History {
    lines: VecDeque<(Timestamp, String)>,
    bytes: usize,
    /// The number of the next line. Numbers count all lines since the room was created.
    next_number: u64,
}

impl History {
    /// How many bytes one room may keep when there are `room_count` rooms.
    pub(super) fn bytes_per_room(room_count: usize) -> usize {
        MAX_BYTES.min(MAX_TOTAL_BYTES / room_count.max(1))
    }

    /// Adds a line, and drops the oldest ones until the rest fits into `max_bytes`.
    pub(super) fn add(&mut self, at: Timestamp, line: String, max_bytes: usize) {
        self.next_number += 1;
        self.bytes += line.len() + LINE_OVERHEAD;
        self.lines.push_back((at, line));
        while self.lines.len() > MAX_LINES || self.bytes > max_bytes {
            let Some((_, oldest)) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len() + LINE_OVERHEAD;
        }
    }

    /// The numbers of the lines that are kept.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.next_number - self.lines.len() as u64..self.next_number
    }

    /// The line with that number and its time, or `None` if it has been dropped.
    pub(super) fn line(&self, number: u64) -> Option<&(Timestamp, String)> {
        let index = number.checked_sub(self.numbers().start)?;
        self.lines.get(usize::try_from(index).ok()?)
    }
}
