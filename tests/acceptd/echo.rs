//! The echo handler (RFC 862), and streams that are split at arbitrary positions.

use std::io::{Read, Write};
use std::thread;

use acceptd::{Connection, Echo};
use proptest::prelude::*;

use crate::support::TestServer;

#[test]
fn every_byte_comes_back() {
    let server = TestServer::start(Echo);
    let all: Vec<u8> = (0..=255).collect();
    let mut client = server.connect();
    client.send(&all);
    client.expect(&all);
}

#[test]
fn a_client_that_half_closes_still_gets_everything_back() {
    let server = TestServer::start(Echo);
    assert_eq!(server.connect().talk("a\nb\n"), "a\nb\n");
    assert_eq!(server.connect().talk(""), "");
}

#[test]
fn each_message_is_answered_before_the_next_is_sent() {
    let server = TestServer::start(Echo);
    let mut client = server.connect();
    for size in [1, 1023, 1024, 1025, 4096, 70_000] {
        let message = vec![b'm'; size];
        client.send(&message);
        client.expect(&message);
    }
}

#[test]
fn a_long_stream_comes_back_unchanged() {
    const LENGTH: usize = 64 << 20;
    let server = TestServer::start(Echo);
    let client = server.connect();
    // The period is prime, so that a misplaced buffer shows.
    let pattern: Vec<u8> = (0..65_521_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut out = client.stream.try_clone().unwrap();
    let sent = pattern.clone();
    let sender = thread::spawn(move || {
        for _ in 0..LENGTH / sent.len() {
            out.write_all(&sent).unwrap();
        }
        out.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = vec![0; pattern.len()];
    for round in 0..LENGTH / pattern.len() {
        (&client.stream).read_exact(&mut got).unwrap();
        assert!(got == pattern, "round {round}");
    }
    assert_eq!((&client.stream).read(&mut got).unwrap(), 0);
    sender.join().unwrap();
}

/// A stream and the positions at which it is split.
pub fn splits(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    bytes.prop_flat_map(|bytes| {
        let positions = prop::collection::vec(0..=bytes.len(), 0..8);
        (Just(bytes), positions)
    })
}

/// The pieces of `bytes`, split at `positions`.
pub fn pieces<'a>(bytes: &'a [u8], positions: &[usize]) -> Vec<&'a [u8]> {
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    let ends = positions.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(positions.iter().copied());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

#[test]
fn the_echo_is_the_same_however_the_stream_is_split() {
    let server = TestServer::start(Echo);
    proptest!(ProptestConfig::with_cases(64), |((bytes, positions) in splits(prop::collection::vec(any::<u8>(), 0..3000)))| {
        let mut client = server.connect();
        for piece in pieces(&bytes, &positions) {
            client.send(piece);
            // Waiting for the echo makes each piece arrive separately.
            client.expect(piece);
        }
        prop_assert_eq!(client.talk(""), "");
    });
}

#[test]
fn lines_are_the_same_however_the_stream_is_split() {
    let server = TestServer::start(|client: &mut Connection| {
        while let Some(line) = client.read_line()? {
            writeln!(client, "<{}>", line.escape_ascii())?;
        }
        Ok(())
    });
    let streams = prop::collection::vec("[a-c\r]{0,700}\r?\n", 0..6).prop_map(|lines| lines.concat().into_bytes());
    proptest!(ProptestConfig::with_cases(128), |((bytes, positions) in splits(streams))| {
        let without_ends = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines: Vec<_> = without_ends.map(|line| format!("<{}>\n", line.escape_ascii())).collect();
        let expected = lines[..lines.len() - 1].concat();
        let mut client = server.connect();
        for piece in pieces(&bytes, &positions) {
            client.send(piece);
            std::thread::yield_now();
        }
        prop_assert_eq!(client.talk(""), expected);
    });
}
