//! A key and its value in memory, in one allocation.

use crate::handler::kv::keyspace::{decode_expiry, encode_expiry, is_live, write_at};

/// One after the other: the expiry time ([`encode_expiry`], 8 bytes), the length of the key (4 bytes), the key, and the
/// value.
pub(super) struct Record(Box<[u8]>);

const HEADER: usize = 12;

impl Record {
    pub(super) fn new(key: &[u8], value: &[u8], expires_at: Option<u64>) -> Record {
        let mut bytes = Vec::with_capacity(HEADER + key.len() + value.len());
        bytes.extend_from_slice(&encode_expiry(expires_at));
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Record(bytes.into_boxed_slice())
    }

    pub(super) fn expires_at(&self) -> Option<u64> {
        decode_expiry(self.0.first_chunk().copied().unwrap_or_default())
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        is_live(self.expires_at(), now)
    }

    pub(super) fn key(&self) -> &[u8] {
        self.0.get(HEADER..self.value_offset()).unwrap_or_default()
    }

    pub(super) fn value(&self) -> &[u8] {
        self.0.get(self.value_offset()..).unwrap_or_default()
    }

    fn value_offset(&self) -> usize {
        let bytes = self.0.get(8..HEADER).and_then(|bytes| bytes.try_into().ok());
        HEADER + bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// Stores another value and expiry time without an allocation. Returns false, and does nothing, if the new value
    /// has another length.
    pub(super) fn replace_in_place(&mut self, value: &[u8], expires_at: Option<u64>) -> bool {
        let offset = self.value_offset();
        let Some(target) = self.0.get_mut(offset..).filter(|target| target.len() == value.len()) else { return false };
        target.copy_from_slice(value);
        self.set_expiry(expires_at);
        true
    }

    pub(super) fn set_expiry(&mut self, expires_at: Option<u64>) {
        if let Some(target) = self.0.first_chunk_mut() {
            *target = encode_expiry(expires_at);
        }
    }

    /// Writes a piece into the value and returns the value's new length. Allocates only if the value becomes longer.
    pub(super) fn overwrite(&mut self, offset: usize, piece: &[u8]) -> usize {
        let value_offset = self.value_offset();
        let start = value_offset + offset;
        if let Some(target) = self.0.get_mut(start..start + piece.len()) {
            target.copy_from_slice(piece);
        } else {
            let mut bytes = std::mem::take(&mut self.0).into_vec();
            write_at(&mut bytes, start, piece);
            self.0 = bytes.into_boxed_slice();
        }
        self.0.len() - value_offset
    }

    pub(super) fn allocation_size(&self) -> usize {
        allocation_size(self.0.len())
    }
}

/// The memory that an allocation of `length` bytes takes. The allocator adds 8 bytes and rounds up to a multiple of 16.
pub(super) fn allocation_size(length: usize) -> usize {
    (length + 8).next_multiple_of(16).max(32)
}
