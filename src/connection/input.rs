//! What a client has sent and its handler has not yet consumed.
//!
//! The buffer starts small and grows with what really arrives, never with what a client says will arrive.

/// The first buffer: enough for what people type and for most requests, and four of them fit in a page.
const FIRST: usize = 1024;

/// Up to here a buffer grows as soon as one read fills it.
const QUICK: usize = 16 * 1024;

/// Beyond `QUICK` it grows to this part of what has been received in all. A client that sends and never reads is
/// stopped when the kernel's buffers are full (4 to 10 MB), so its buffer stays below 64 KiB; a stream gets 1 MiB
/// after 256 MiB.
const PART_OF_RECEIVED: u64 = 256;

#[derive(Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` begins.
    start: usize,
    received: u64,
    /// The last read filled the buffer: more is probably there.
    filled: bool,
    /// How long a request may be, if that is known.
    longest: Option<usize>,
}

impl Input {
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Drops the first `count` unread bytes, at most all.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// A request has at most `longest` bytes, so a buffer for one need not be larger.
    pub(super) fn expect_at_most(&mut self, longest: usize) {
        self.longest = Some(longest);
    }

    /// The buffer, to be appended to, with room for at least one byte. It has grown if the last read filled it: as
    /// far as a stream deserves, at most to `stream_limit`, or to twice a request that is not complete.
    pub(super) fn room(&mut self, stream_limit: usize) -> &mut Vec<u8> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let (length, capacity) = (self.buffer.len(), self.buffer.capacity());
        let mut wanted = capacity.max(FIRST);
        if self.filled {
            let earned = usize::try_from(self.received / PART_OF_RECEIVED).unwrap_or(usize::MAX);
            // Fourfold steps: few reallocations, and few sizes.
            wanted = wanted.max((wanted * 4).min(earned.max(QUICK)).min(stream_limit));
        }
        if length == capacity && length > 0 {
            // Twice as much as has really arrived, and not more than a whole request.
            wanted = (length * 2).min(self.longest.unwrap_or(usize::MAX)).max(length + 1);
        }
        self.buffer.reserve_exact(wanted - length);
        &mut self.buffer
    }

    /// Takes note that `count` bytes were appended.
    pub(super) fn note_received(&mut self, count: usize) {
        self.received += count as u64;
        self.filled = self.buffer.len() == self.buffer.capacity();
    }

    /// Whether waiting now would keep more memory than an idle client deserves.
    pub(super) fn is_large(&self) -> bool {
        self.buffer.capacity() > FIRST
    }

    /// Gives the memory back; only when nothing is unread.
    pub(super) fn release(&mut self) {
        if self.unread().is_empty() {
            self.buffer = Vec::new();
            self.filled = false;
        }
    }
}
