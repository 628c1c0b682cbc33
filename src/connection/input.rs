//! The input buffer: what a client has sent and its handler has not consumed.
//!
//! The buffer starts small. It grows with the bytes that arrive, never with a length that a client announces.

/// The initial capacity. Enough for what people type and for most requests, and four of them fit in a page.
const INITIAL_CAPACITY: usize = 1024;

/// Up to this capacity, a buffer grows as soon as one read fills it.
const FAST_GROWTH_LIMIT: usize = 16 * 1024;

/// Beyond that, its capacity may be this fraction of all bytes received. A client that sends and never reads is stopped when the
/// kernel's buffers are full (4 to 10 MB), so its buffer stays below 64 KiB. A stream gets 1 MiB after 256 MiB.
const STREAM_FRACTION: u64 = 256;

#[derive(Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    /// The start of the unread part of `buffer`.
    start: usize,
    received: u64,
    /// The last read filled the buffer, so more has probably arrived.
    filled: bool,
    /// The limit on a request's length, if it is known.
    request_limit: Option<usize>,
}

impl Input {
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Drops the first `count` unread bytes, or all if there are fewer.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Sets the limit on a request's length. A buffer for one request need not be larger.
    pub(super) fn set_request_limit(&mut self, request_limit: usize) {
        self.request_limit = Some(request_limit);
    }

    /// The buffer to append to, with room for at least one byte. If the last read filled it, it grows: in proportion to the stream, at
    /// most to `stream_limit`, or to twice the length of an incomplete request.
    pub(super) fn reserve(&mut self, stream_limit: usize) -> &mut Vec<u8> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let (length, capacity) = (self.buffer.len(), self.buffer.capacity());
        let mut wanted = capacity.max(INITIAL_CAPACITY);
        if self.filled {
            let fraction = usize::try_from(self.received / STREAM_FRACTION).unwrap_or(usize::MAX);
            let allowed = fraction.max(FAST_GROWTH_LIMIT).min(stream_limit);
            // Growing fourfold keeps reallocations few.
            wanted = wanted.max((wanted * 4).min(allowed));
        }
        if length == capacity && length > 0 {
            // Twice the bytes that have arrived, and no more than a whole request.
            wanted = (length * 2).min(self.request_limit.unwrap_or(usize::MAX)).max(length + 1);
        }
        self.buffer.reserve_exact(wanted - length);
        &mut self.buffer
    }

    /// Notes that `count` bytes were appended.
    pub(super) fn note_received(&mut self, count: usize) {
        self.received += count as u64;
        self.filled = self.buffer.len() == self.buffer.capacity();
    }

    /// Whether the buffer is larger than an idle client's should be.
    pub(super) fn is_large(&self) -> bool {
        self.buffer.capacity() > INITIAL_CAPACITY
    }

    /// Frees the memory if nothing is unread.
    pub(super) fn release_memory(&mut self) {
        if self.unread().is_empty() {
            self.buffer = Vec::new();
            self.filled = false;
        }
    }
}
