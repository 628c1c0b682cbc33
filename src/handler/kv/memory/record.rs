//! A key and its value as they lie in memory, and how much they take of it.

use crate::handler::kv::engine::overwrite;

/// A key and its value in one allocation: when it expires (8 bytes, all ones for never), the length of the key (4
/// bytes), the key, the value.
pub(super) struct Record(Box<[u8]>);

const HEAD: usize = 12;

impl Record {
    pub(super) fn new(key: &[u8], value: &[u8], expires: Option<u64>) -> Record {
        let mut bytes = Vec::with_capacity(HEAD + key.len() + value.len());
        bytes.extend_from_slice(&expires.unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Record(bytes.into_boxed_slice())
    }

    pub(super) fn expires(&self) -> Option<u64> {
        let bytes = self.0.first_chunk().copied().unwrap_or_default();
        Some(u64::from_le_bytes(bytes)).filter(|expires| *expires != u64::MAX)
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires().is_none_or(|expires| expires > now)
    }

    fn key_length(&self) -> usize {
        self.0
            .get(8..HEAD)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    }

    pub(super) fn key(&self) -> &[u8] {
        self.0.get(HEAD..HEAD + self.key_length()).unwrap_or_default()
    }

    pub(super) fn value(&self) -> &[u8] {
        self.0.get(HEAD + self.key_length()..).unwrap_or_default()
    }

    /// Takes another value of the same length, and another deadline, without an allocation. Whether it could.
    pub(super) fn replace(&mut self, value: &[u8], expires: Option<u64>) -> bool {
        let begin = HEAD + self.key_length();
        let Some(place) = self.0.get_mut(begin..).filter(|place| place.len() == value.len()) else { return false };
        place.copy_from_slice(value);
        self.set_expires(expires);
        true
    }

    pub(super) fn set_expires(&mut self, expires: Option<u64>) {
        if let Some(place) = self.0.first_chunk_mut() {
            *place = expires.unwrap_or(u64::MAX).to_le_bytes();
        }
    }

    /// Changes a part of the value, in place as far as it is there. Its new length.
    pub(super) fn overwrite_from(&mut self, offset: usize, piece: &[u8]) -> usize {
        let begin = HEAD + self.key_length();
        if let Some(place) = self.0.get_mut(begin + offset..begin + offset + piece.len()) {
            place.copy_from_slice(piece);
        } else {
            let mut bytes = std::mem::take(&mut self.0).into_vec();
            overwrite(&mut bytes, begin + offset, piece);
            self.0 = bytes.into_boxed_slice();
        }
        self.0.len() - begin
    }

    pub(super) fn footprint(&self) -> usize {
        allocated(self.0.len())
    }
}

/// Memory that an allocation takes, with what the allocator adds (16 bytes of granularity, of which 8 are its own).
pub(super) fn allocated(length: usize) -> usize {
    (length + 8).next_multiple_of(16).max(32)
}
