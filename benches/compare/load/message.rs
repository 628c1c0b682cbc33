//! The messages that clients send, and the check of what comes back.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;

/// The period of [`pattern`]. It is a prime, so that a response with missing, repeated or reordered bytes differs.
pub const PERIOD: usize = 65_521;

/// The bytes of every message.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| ((i % PERIOD as u32).wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect()
}

/// Where a message holds the numbers of its client and its request.
const STAMP: Range<usize> = 8..16;

/// Makes a message unique, so that a response to another client or to an earlier request differs.
pub fn stamp(message: &mut [u8], client: usize, request: u32) {
    if let Some(bytes) = message.get_mut(STAMP) {
        bytes.copy_from_slice(&((client as u64) << 32 | u64::from(request)).to_be_bytes());
    }
}

/// Reads the next part of a response into `buffer` and compares it with `expected`, the rest of the response. Returns
/// how many bytes came: 0 if the read would block.
pub fn read_expected(mut stream: &TcpStream, expected: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(&mut buffer[..expected.len()]) {
        Ok(0) => Err(closed_by_peer()),
        Ok(count) if buffer[..count] == expected[..count] => Ok(count),
        Ok(_) => Err(corrupted()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}

pub fn closed_by_peer() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the peer has closed the connection")
}

pub fn corrupted() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the peer has changed a byte")
}
