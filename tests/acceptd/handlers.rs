//! The contract of handlers: replies, errors and panics, and how each is logged.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acceptd::{Connection, FarewellReason, Handler, Limits, protocol_error};
use log::Level;

use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

/// Replies, fails or panics, as each line asks.
fn reply_or_fail(client: &mut Connection) -> io::Result<()> {
    while let Some(line) = client.read_line()? {
        match line.as_slice() {
            b"panic" => panic!("as asked"),
            b"half" => {
                write!(client, "half a rep")?;
                panic!("in the middle");
            }
            b"fail" => return Err(io::Error::other("as\r\nasked\x1b")),
            b"quit" => return Ok(()),
            _ => writeln!(client, "ok")?,
        }
    }
    Ok(())
}

fn closing_lines(client: &Client) -> Vec<(Level, String)> {
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the end of the connection is logged", || !logged(&["closed", &peer]).is_empty());
    logged(&["closed", &peer])
}

#[test]
fn a_panic_ends_only_its_own_connection_and_is_counted_and_logged_once() {
    let server = TestServer::with(Limits { max_connections: 2, ..Limits::default() }, reply_or_fail);
    let mut other = server.connect();
    other.send("a\n");
    other.expect("ok\n");
    for _ in 0..10 {
        let mut client = server.connect();
        client.send("a\npanic\n");
        assert_eq!(client.rest(), "ok\nERROR the server failed to answer, closing\n", "earlier replies are sent");
        let lines = closing_lines(&client);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0, Level::Error);
        assert!(lines[0].1.contains("handler panicked: as asked"), "{}", lines[0].1);
        other.send("a\n");
        other.expect("ok\n");
        // The slot is freed just after the socket is closed.
        eventually("the slot is free", || other_slot_is_free(&server));
    }
    assert_eq!(server.stop().stats.panicked, 10);
}

fn other_slot_is_free(server: &TestServer) -> bool {
    server.connect().talk("a\n") == "ok\n"
}

#[test]
fn a_reply_that_a_panic_interrupts_is_not_sent() {
    let server = TestServer::start(reply_or_fail);
    let mut client = server.connect();
    client.send("half\n");
    assert_eq!(client.rest(), "ERROR the server failed to answer, closing\n");
}

#[test]
fn a_handler_error_is_one_log_line_even_with_control_characters() {
    let server = TestServer::start(reply_or_fail);
    let mut client = server.connect();
    client.send("a\nfail\n");
    assert_eq!(client.rest(), "ok\nERROR the server failed to answer, closing\n", "earlier replies are sent");
    let lines = closing_lines(&client);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].0, Level::Warn);
    assert!(lines[0].1.contains(r"handler failed: as\r\nasked\u{1b}"), "{}", lines[0].1);
}

/// Fails with an error of std's own code (invalid UTF-8, a short file), or with a protocol error.
fn fail_with_std_error(client: &mut Connection) -> io::Result<()> {
    match client.read_line()?.unwrap_or_default().as_slice() {
        b"text" => io::read_to_string(&b"\xff"[..]).map(drop),
        b"file" => (&b"short"[..]).read_exact(&mut [0; 100]),
        b"read text" => client.read_to_string(&mut String::new()).map(drop),
        b"exact" => client.read_exact(&mut [0; 100]),
        _ => {
            writeln!(client, "ERROR I know no such word")?;
            Err(protocol_error("an unknown word"))
        }
    }
}

#[test]
fn an_io_error_of_std_is_logged_as_a_handler_failure_whatever_its_kind() {
    let server = TestServer::start(fail_with_std_error);
    for line in ["text\n".as_bytes(), b"file\n", b"read text\n\xff"] {
        let mut client = server.connect();
        client.send(line);
        client.end_output();
        assert_eq!(client.rest(), "ERROR the server failed to answer, closing\n", "{line:?}");
        let lines = closing_lines(&client);
        assert_eq!((lines.len(), lines[0].0), (1, Level::Warn), "{lines:?}");
        assert!(lines[0].1.contains("handler failed: "), "{lines:?}");
    }
}

#[test]
fn a_protocol_error_is_the_clients_fault_and_adds_no_farewell() {
    let server = TestServer::start(fail_with_std_error);
    let mut client = server.connect();
    client.send("nonsense\n");
    assert_eq!(client.rest(), "ERROR I know no such word\n");
    let lines = closing_lines(&client);
    assert_eq!((lines.len(), lines[0].0), (1, Level::Info), "{lines:?}");
    assert!(lines[0].1.contains("reason=\"an unknown word\""), "{lines:?}");
}

#[test]
fn a_client_that_ends_inside_a_request_gets_an_error() {
    let server = TestServer::start(fail_with_std_error);
    let mut client = server.connect();
    client.send("exact\nfour");
    client.end_output();
    assert_eq!(client.rest(), "ERROR the last request was not complete and was not carried out\n");
    let lines = closing_lines(&client);
    assert_eq!((lines.len(), lines[0].0), (1, Level::Debug), "{lines:?}");
}

#[test]
fn an_event_is_one_log_line_whichever_byte_it_contains() {
    let server = TestServer::start(|client: &mut Connection| {
        let line = client.fill_buf()?.to_vec();
        Err(io::Error::other(String::from_utf8_lossy(&line).into_owned()))
    });
    for byte in 0..=255_u8 {
        let mut client = server.connect();
        client.send([b'<', byte, b'>']);
        client.rest();
        let lines = closing_lines(&client);
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].1.chars().any(char::is_control), "{byte}: {:?}", lines[0].1);
    }
}

#[test]
fn a_disconnect_is_logged_at_debug_level() {
    let server = TestServer::start(reply_or_fail);
    let mut client = server.connect();
    client.send("a\n");
    client.expect("ok\n");
    client.end_output();
    let lines = closing_lines(&client);
    assert_eq!((lines.len(), lines[0].0), (1, Level::Debug));
    assert!(lines[0].1.contains("closed by the client") && lines[0].1.contains("in=2 out=3"), "{}", lines[0].1);
}

#[test]
fn replies_are_sent_when_the_handler_waits_for_input() {
    let server = TestServer::start(|client: &mut Connection| {
        write!(client, "name? ")?;
        let name = client.read_line()?.unwrap_or_default();
        write!(client, "hello {}, age? ", String::from_utf8_lossy(&name))?;
        let mut age = [0; 2];
        client.read_exact(&mut age)?;
        write!(client, "{}!", String::from_utf8_lossy(&age))
    });
    let mut client = server.connect();
    client.expect("name? ");
    client.send("ann\n");
    client.expect("hello ann, age? ");
    client.send("42");
    assert_eq!(client.rest(), "42!");
}

#[test]
fn a_reply_larger_than_every_buffer_arrives_whole() {
    const SIZE: usize = 8 << 20;
    let server = TestServer::start(|client: &mut Connection| {
        for chunk in vec![b'z'; SIZE].chunks(777) {
            client.write_all(chunk)?;
        }
        client.write_all(&vec![b'y'; SIZE])
    });
    let mut client = server.connect();
    let rest = client.rest();
    assert_eq!(rest.len(), 2 * SIZE);
    assert!(rest.starts_with('z') && rest.ends_with('y') && rest.matches('z').count() == SIZE);
}

#[test]
fn a_handler_can_use_a_lock_that_a_panic_has_poisoned() {
    let shared = Arc::new(Mutex::new(0_u64));
    let server = TestServer::start(move |client: &mut Connection| {
        while let Some(line) = client.read_line()? {
            let mut count = shared.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            assert!(line != b"panic", "while holding the lock");
            let reply = *count;
            drop(count);
            writeln!(client, "{reply}")?;
        }
        Ok(())
    });
    assert_eq!(server.connect().talk("a\n"), "1\n");
    let mut client = server.connect();
    client.send("panic\n");
    client.rest();
    assert_eq!(server.connect().talk("a\n"), "3\n");
}

#[test]
fn every_call_after_a_fatal_error_returns_that_error_again() {
    let (kind_sender, kinds) = mpsc::channel();
    let server = TestServer::with(Limits { max_line: 4, ..Limits::default() }, move |client: &mut Connection| {
        let first = client.read_line().unwrap_err().kind();
        let again = client.read_line().unwrap_err().kind();
        let read = client.read(&mut [0; 4]).unwrap_err().kind();
        let write = client.write(b"x").unwrap_err().kind();
        kind_sender.send([first, again, read, write]).unwrap();
        Ok(())
    });
    let mut client = server.connect();
    client.send("too long\n");
    assert_eq!(client.rest(), "ERROR the request is longer than 4 bytes, closing\n");
    assert_eq!(kinds.recv_timeout(PATIENCE).unwrap(), [ErrorKind::InvalidData; 4]);
}

#[test]
fn clients_are_served_concurrently_each_by_its_own_thread() {
    const CLIENTS: usize = 50;
    let barrier = Arc::new(std::sync::Barrier::new(CLIENTS));
    let server = TestServer::start(move |client: &mut Connection| {
        barrier.wait();
        writeln!(client, "{:?}", std::thread::current().id())
    });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut threads: Vec<String> = clients.iter_mut().map(Client::rest).collect();
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), CLIENTS);
}

#[test]
fn connection_ids_are_consecutive_and_never_reused() {
    let server = TestServer::start(|client: &mut Connection| {
        let id = client.id();
        writeln!(client, "{id}")
    });
    let ids: Vec<String> = (0..100).map(|_| server.connect().rest()).collect();
    let expected: Vec<String> = (1..=100).map(|id| format!("{id}\n")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn a_handler_may_stream_without_reading_as_long_as_its_client_reads() {
    let limits = Limits { write_timeout: Duration::from_secs(2), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        // In all this takes longer than the write timeout, but each flush ends a reply.
        for _ in 0..30 {
            client.write_all(&[b's'; 1000])?;
            client.flush()?;
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    });
    assert_eq!(server.connect().rest().len(), 30_000);
}

/// Counts its clients, and has its own farewell.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Handler for Counting {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        client.read_line()?;
        Err(io::Error::other("as asked"))
    }

    fn farewell(&self, _: FarewellReason) -> Cow<'static, [u8]> {
        Cow::Borrowed(b"* BYE\n")
    }
}

#[test]
fn the_state_of_a_shared_handler_can_be_read_while_it_serves() {
    let counting = Arc::new(Counting::default());
    let server = TestServer::start(Arc::clone(&counting));
    for count in 1..=3 {
        assert_eq!(server.connect().talk("x\n"), "* BYE\n");
        assert_eq!(counting.0.load(Ordering::SeqCst), count);
    }
}
