//! One client that sends a long stream and reads it back at the same time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use super::message::{PERIOD, closed_by_peer, corrupted, pattern};
use super::poller::{EventFlags, Poller, TIMEOUT};
use super::sample::{Sample, histogram};

/// The stream repeats this many bytes: whole periods of the pattern, and not a multiple of any peer's buffer.
const BLOCK: usize = 16 * PERIOD;

/// Sends `bytes` bytes and reads them back.
pub fn stream(peer: SocketAddr, bytes: usize) -> io::Result<Sample> {
    let poller = Poller::new(peer)?;
    let mut socket = poller.connect()?;
    socket.set_nonblocking(true)?;
    poller.add(&socket, 0, EventFlags::IN | EventFlags::OUT)?;
    let block = pattern(BLOCK);
    let mut buffer = vec![0; 1 << 20];
    let (mut sent, mut received) = (0, 0);
    let start = Instant::now();
    while received < bytes {
        let interest = if sent < bytes { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let mut would_block = true;
        if sent < bytes {
            let from = sent % block.len();
            match socket.write(&block[from..(from + bytes - sent).min(block.len())]) {
                Ok(count) => (sent, would_block) = (sent + count, false),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Err(closed_by_peer()),
            Ok(count) => {
                check(&buffer[..count], &block, received)?;
                (received, would_block) = (received + count, false);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if would_block {
            poller.modify(&socket, 0, interest)?;
            if poller.wait(Instant::now() + TIMEOUT)?.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "the stream has stopped"));
            }
        }
    }
    Ok(Sample::new(bytes as u64, start.elapsed(), &histogram()))
}

/// Compares received bytes with the stream from `position` on.
fn check(mut received: &[u8], block: &[u8], mut position: usize) -> io::Result<()> {
    while !received.is_empty() {
        let expected = &block[position % block.len()..];
        let count = received.len().min(expected.len());
        if received[..count] != expected[..count] {
            return Err(corrupted());
        }
        received = &received[count..];
        position += count;
    }
    Ok(())
}
