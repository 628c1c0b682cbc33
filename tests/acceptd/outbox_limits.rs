//! Limits of outboxes: clients that read too slowly, and what a full, empty or closed outbox costs.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::Limits;

use super::outbox::{OutboxServer, closing_line};
use crate::support::{PATIENCE, eventually};

/// A short write timeout, for tests that wait until it is over.
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);

#[test]
fn a_slow_client_gets_everything_below_max_outbox() {
    let server = OutboxServer::with(Limits { max_outbox: 16 << 20, ..Limits::default() });
    let (mut client, outbox) = server.connect();
    let message: Arc<[u8]> = vec![b'x'; 100_000].into();
    // More than the kernel takes.
    for _ in 0..100 {
        assert!(outbox.send(Arc::clone(&message)));
    }
    client.send("after that\n");
    let mut taken = vec![0; 100 * message.len()];
    client.stream.read_exact(&mut taken).unwrap();
    assert!(taken.iter().all(|&byte| byte == b'x'));
    client.expect("AFTER THAT\n");
}

#[test]
fn a_client_that_exceeds_max_outbox_gets_a_farewell_and_senders_do_not_wait() {
    let server = OutboxServer::with(Limits::default());
    let (mut client, outbox) = server.connect();
    let message: Arc<[u8]> = [&[b'x'; 999][..], b"\n"].concat().into();
    let mut sent = 0;
    while outbox.send(Arc::clone(&message)) {
        sent += message.len();
        assert!(sent < 64 << 20, "the outbox has no limit");
    }
    assert!(!outbox.is_open());
    let end = closing_line(client.stream.local_addr().unwrap());
    assert!(end.contains("too slow: more than 262144 bytes waited for it"), "{end}");
    // The data that the kernel had taken comes first. The farewell then starts on a new line.
    let rest = client.rest();
    assert!(rest.starts_with("xxx"));
    assert!(rest.ends_with("x\nERROR you read too slowly, closing\n"), "{}", &rest[rest.len().saturating_sub(200)..]);
}

#[test]
fn a_client_that_does_not_read_a_message_in_time_is_closed() {
    let server = OutboxServer::with(Limits { write_timeout: Duration::from_millis(300), ..Limits::default() });
    let (mut client, outbox) = server.connect();
    // More than the kernel takes. No other message follows, so only the client's own thread can notice the timeout.
    assert!(outbox.send([&[b'x'; 20 << 20][..], b"\n"].concat()));
    let end = closing_line(client.stream.local_addr().unwrap());
    assert!(end.contains("too slow: a message was not taken in time"), "{end}");
    assert!(!outbox.is_open());
    // The message is incomplete, so no farewell can follow it.
    assert!(client.stream.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_client_that_reads_only_a_trickle_gets_a_farewell_and_is_closed() {
    let server = OutboxServer::with(Limits { write_timeout: Duration::from_millis(500), ..Limits::default() });
    let (mut client, outbox) = server.connect();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader_is_over = Arc::clone(&is_over);
    let reader = thread::spawn(move || {
        while !reader_is_over.load(Ordering::SeqCst) {
            let _ = client.stream.read(&mut [0; 1000]);
            thread::park_timeout(Duration::from_millis(10));
        }
        client
    });
    // Each 60 KB message is sent when the kernel has taken the last one. In the end the kernel's buffers are full.
    let start = Instant::now();
    while outbox.send([&[b'x'; 60_000][..], b"\n"].concat()) {
        thread::park_timeout(Duration::from_millis(20));
        assert!(start.elapsed() < PATIENCE);
    }
    is_over.store(true, Ordering::SeqCst);
    let mut client = reader.join().unwrap();
    assert!(client.rest().ends_with("ERROR you read too slowly, closing\n"));
}

#[test]
fn an_empty_outbox_accepts_a_message_longer_than_max_outbox() {
    let server = OutboxServer::with(Limits { max_outbox: 10, ..Limits::default() });
    let (mut client, outbox) = server.connect();
    assert!(outbox.send(*b"more than ten bytes\n"));
    client.expect("more than ten bytes\n");
}

#[test]
fn an_outbox_of_a_closed_connection_holds_no_descriptor() {
    let server = OutboxServer::with(Limits::default());
    let before = descriptors();
    for _ in 0..50 {
        let (mut client, _) = server.connect();
        client.end_output();
        assert_eq!(client.rest(), "");
    }
    // Other tests run at the same time and open descriptors, too.
    eventually("the descriptors are closed", || descriptors() < before + 50);
    assert_eq!(server.outboxes.lock().unwrap().len(), 50);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_drain_ends_in_time_with_a_client_that_does_not_read() {
    let limits = Limits { drain_timeout: Duration::from_millis(300), max_outbox: 64 << 20, ..Limits::default() };
    let server = OutboxServer::with(limits);
    let (_client, outbox) = server.connect();
    outbox.send(vec![b'x'; 40 << 20]);
    let start = Instant::now();
    let summary = server.inner.stop();
    assert_eq!(summary.cut, 1);
    assert!(start.elapsed() < PATIENCE / 2);
    // The drain does not wait long for the thread of a client that it has cut.
    eventually("the outbox is closed", || !outbox.is_open());
}

#[test]
fn a_reading_client_is_not_cut_while_its_handler_is_busy() {
    let limits = Limits { write_timeout: SHORT_TIMEOUT, ..Limits::default() };
    let (server, go_on) = OutboxServer::busy(limits, b"");
    let (mut client, outbox) = server.connect();
    // More than the kernel takes at once for a client that does not read yet.
    assert!(outbox.send(vec![b'x'; 160_000]));
    client.stream.set_read_timeout(Some(2 * SHORT_TIMEOUT)).unwrap();
    let mut taken = Vec::new();
    assert!(client.stream.read_to_end(&mut taken).is_err(), "the handler is too busy for the rest");
    assert!(taken.len() < 160_000);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    go_on.send(()).unwrap();
    client.expect(vec![b'x'; 160_000 - taken.len()]);
    client.send("still there\n");
    client.expect("STILL THERE\n");
}

#[test]
fn a_reading_client_is_not_cut_while_its_handler_computes_a_reply() {
    let limits = Limits { write_timeout: SHORT_TIMEOUT, max_output: 1, ..Limits::default() };
    let (server, go_on) = OutboxServer::busy(limits, b"begin, ");
    let (mut client, outbox) = server.connect();
    client.expect("begin, ");
    assert!(outbox.send(vec![b'x'; 8 << 20]));
    thread::park_timeout(2 * SHORT_TIMEOUT);
    go_on.send(()).unwrap();
    client.stream.read_exact(&mut vec![0; 8 << 20]).unwrap();
}

#[test]
fn empty_messages_are_not_queued() {
    let server = OutboxServer::with(Limits::default());
    let (mut client, outbox) = server.connect();
    assert!(outbox.send(vec![b'x'; 8 << 20]));
    let nothing: Arc<[u8]> = Arc::from([]);
    for _ in 0..1000 {
        assert!(outbox.send(Arc::clone(&nothing)));
    }
    assert_eq!(Arc::strong_count(&nothing), 1);
    client.end_output();
    assert_eq!(client.rest().len(), 8 << 20);
}
