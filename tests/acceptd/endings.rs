//! How connections end: an incomplete message ends with a reset, and no farewell is sent inside a message.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use acceptd::{Connection, Handler, Limits, Outbox};

use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

/// More than the server buffers, so that a part is sent before the handler returns.
const LONG: usize = 100_000;

/// More than the kernel accepts for a client that does not read.
const STUCK: usize = 8 << 20;

/// Controls a handler that is busy.
struct BusyHandler {
    /// Receives when the handler is busy.
    has_begun: Receiver<()>,
    /// Lets the handler return.
    go_on: Sender<()>,
}

/// A handler that runs `begin` and is then busy until `go_on` is used or dropped.
fn busy_handler(
    begin: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
) -> (impl Handler, BusyHandler) {
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let handler = move |client: &mut Connection| {
        begin(client)?;
        begun.send(()).unwrap();
        let _ = may_go_on.lock().unwrap().recv_timeout(PATIENCE);
        Ok(())
    };
    (handler, BusyHandler { has_begun, go_on })
}

/// Reads until the connection is reset. Panics on any other end.
fn read_until_reset(client: &mut Client) -> Vec<u8> {
    let mut got = Vec::new();
    match client.stream.read_to_end(&mut got) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => got,
        outcome => panic!("{outcome:?} instead of a reset, after {} bytes", got.len()),
    }
}

/// A client with a small receive buffer.
fn connect_with_small_buffer(server: &TestServer) -> Client {
    Client::connect_with_buffer(server.addr, 4096)
}

fn short_drain_limits() -> Limits {
    Limits { drain_timeout: Duration::from_millis(200), write_timeout: PATIENCE, ..Limits::default() }
}

#[cfg(feature = "daemon")]
#[test]
fn a_value_that_is_cut_by_a_drain_or_client_kill_ends_with_a_reset() {
    use acceptd::handler::kv::{Kv, KvOptions};

    use crate::support::kv::request;

    for is_killed in [false, true] {
        let store = Kv::in_memory(KvOptions::default()).unwrap();
        let mut server = TestServer::with(short_drain_limits(), store);
        let mut owner = server.connect();
        owner.send(request(&[b"SET".as_slice(), b"k", &vec![b'v'; 4 << 20]]));
        owner.expect("+OK\r\n");
        let mut client = connect_with_small_buffer(&server);
        client.send(request(&["GET", "k"]));
        client.expect("$4194304\r\n");
        if is_killed {
            let address = client.stream.local_addr().unwrap().to_string();
            owner.send(request(&["CLIENT", "KILL", &address]));
            owner.expect("+OK\r\n");
        } else {
            server.shutdown.request();
            server.wait();
        }
        assert!(read_until_reset(&mut client).len() < 4 << 20);
    }
}

#[test]
fn an_unfinished_long_reply_ends_with_a_reset() {
    let panics = |client: &mut Connection| -> io::Result<()> {
        client.read_line()?;
        client.write_all(&[b'r'; LONG])?;
        client.write_all(b"half")?;
        panic!("in the middle");
    };
    let fails = |client: &mut Connection| {
        client.read_line()?;
        client.write_all(&[b'r'; LONG])?;
        client.write_all(b"half")?;
        Err(io::Error::other("in the middle"))
    };
    for server in [TestServer::start(panics), TestServer::start(fails)] {
        let mut client = server.connect();
        client.send("begin\n");
        let got = read_until_reset(&mut client);
        assert!(got.iter().all(|&byte| byte == b'r'), "something was sent inside the message");
    }
}

#[test]
fn an_unfinished_short_reply_is_dropped_and_earlier_replies_are_sent() {
    let server = TestServer::start(|client: &mut Connection| {
        while let Some(line) = client.read_line()? {
            client.write_all(b"half ")?;
            if line == b"fail" {
                return Err(io::Error::other("as asked"));
            }
            client.write_all(b"and half\n")?;
        }
        Ok(())
    });
    let mut client = server.connect();
    client.send("a\nb\nfail\n");
    assert_eq!(client.rest(), "half and half\nhalf and half\nERROR the server failed to answer, closing\n");
}

#[test]
fn no_farewell_is_sent_inside_an_open_message() {
    let (handler, busy) = busy_handler(|client| {
        client.begin_message();
        client.write_all(b"half a mail")?;
        client.flush()
    });
    let mut server = TestServer::with(short_drain_limits(), handler);
    let mut client = server.connect();
    client.expect("half a mail");
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().stuck, 1);
    assert_eq!(read_until_reset(&mut client), b"");
    drop(busy.go_on);
}

#[test]
fn no_farewell_is_sent_inside_a_partly_sent_reply() {
    let (handler, busy) = busy_handler(|client| client.write_all(&[b'r'; LONG]));
    let mut server = TestServer::with(short_drain_limits(), handler);
    let mut client = server.connect();
    client.expect([b'r'; LONG]);
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    server.wait();
    assert_eq!(read_until_reset(&mut client), b"");
    drop(busy.go_on);
}

#[test]
fn a_farewell_is_sent_after_an_open_message_has_ended() {
    let server = TestServer::start(|client: &mut Connection| {
        client.begin_message();
        client.write_all(b"a ")?;
        client.flush()?;
        client.write_all(b"mail\n")?;
        client.end_message();
        Err(io::Error::other("afterwards"))
    });
    assert_eq!(server.connect().rest(), "a mail\nERROR the server failed to answer, closing\n");
}

#[test]
fn an_open_message_that_is_wholly_unsent_is_dropped() {
    let server = TestServer::start(|client: &mut Connection| {
        client.write_all(b"before\n")?;
        client.begin_message();
        client.write_all(b"half")?;
        Err(io::Error::other("in the middle"))
    });
    assert_eq!(server.connect().rest(), "before\nERROR the server failed to answer, closing\n");
}

#[test]
fn a_client_that_times_out_inside_an_open_message_is_reset() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        client.begin_message();
        client.write_all(b"go on? ")?;
        client.read_line().map(drop)
    });
    let mut client = server.connect();
    client.expect("go on? ");
    assert_eq!(read_until_reset(&mut client), b"");
}

#[test]
fn outbox_messages_wait_for_the_end_of_an_open_message() {
    let server = TestServer::start(|client: &mut Connection| {
        let outbox = client.outbox()?;
        client.begin_message();
        client.write_all(b"first half, ")?;
        client.flush()?;
        outbox.send(*b"message\n");
        client.read_line()?;
        client.write_all(b"second half\n")?;
        client.end_message();
        client.read_line().map(drop)
    });
    let mut client = server.connect();
    client.expect("first half, ");
    client.send("go on\n");
    client.expect("second half\nmessage\n");
}

#[test]
fn a_client_that_is_cut_gets_the_farewell_set_for_its_connection() {
    let (handler, busy) = busy_handler(|client| {
        client.set_farewell(|reason| format!("* BYE {reason}\n").into_bytes().into());
        Ok(())
    });
    let mut server = TestServer::with(short_drain_limits(), handler);
    let mut client = server.connect();
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    assert_eq!(client.rest(), "* BYE the server is shutting down\n");
    drop(busy.go_on);
}

#[test]
fn a_panic_in_a_connections_farewell_does_not_stop_the_drain() {
    let (handler, busy) = busy_handler(|client| {
        client.set_farewell(|_| panic!("instead of a farewell"));
        Ok(())
    });
    let mut server = TestServer::with(short_drain_limits(), handler);
    let _client = server.connect();
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    drop(busy.go_on);
}

/// A handler that passes its outbox to the test, and then writes more than its client reads.
fn writer_with_outbox() -> (impl Handler, Receiver<Outbox>) {
    let (outbox_sender, outboxes) = mpsc::channel();
    let handler = move |client: &mut Connection| {
        outbox_sender.send(client.outbox()?).unwrap();
        client.write_all(&vec![b'r'; STUCK])
    };
    (handler, outboxes)
}

#[test]
fn a_client_with_a_full_outbox_gets_no_farewell_inside_its_reply() {
    let (handler, outboxes) = writer_with_outbox();
    let limits = Limits { max_outbox: 1000, write_timeout: Duration::from_millis(500), ..Limits::default() };
    let server = TestServer::with(limits, handler);
    let mut client = connect_with_small_buffer(&server);
    let outbox = outboxes.recv_timeout(PATIENCE).unwrap();
    client.expect([b'r'; 100]);
    while outbox.send([b'm'; 300]) {}
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the client is cut", || !logged(&["closed", &peer]).is_empty());
    assert!(read_until_reset(&mut client).iter().all(|&byte| byte == b'r'));
}

#[test]
fn an_outbox_message_that_a_panic_cuts_short_ends_with_a_reset() {
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits, move |client: &mut Connection| -> io::Result<()> {
        let outbox = client.outbox()?;
        outbox.send(vec![b'm'; STUCK]);
        panic!("with a message under way");
    });
    let mut client = connect_with_small_buffer(&server);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the client is cut", || !logged(&["closed", &peer, "handler panicked"]).is_empty());
    assert!(read_until_reset(&mut client).iter().all(|&byte| byte == b'm'));
}

#[test]
fn bytes_of_clients_that_are_stuck_in_a_handler_are_counted() {
    let (handler, busy) = busy_handler(|client| {
        client.read_line()?;
        client.write_all(b"an answer\n")?;
        client.flush()
    });
    let mut server = TestServer::with(short_drain_limits(), handler);
    let mut client = server.connect();
    client.send("question\n");
    client.expect("an answer\n");
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    let summary = server.wait();
    assert_eq!((summary.stuck, summary.stats.bytes_in, summary.stats.bytes_out), (1, 9, 10 + 34));
    drop(busy.go_on);
}

#[test]
fn a_client_that_reads_nothing_frees_its_slot_after_the_write_timeout() {
    let limits = Limits { max_connections: 1, write_timeout: Duration::from_millis(300), ..Limits::default() };
    // The kernel accepts the whole reply, but can't send it.
    let server = TestServer::with(limits, |client: &mut Connection| client.write_all(&[b'r'; 30_000]));
    let start = Instant::now();
    let mut client = connect_with_small_buffer(&server);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the client is closed", || !logged(&["closed", &peer, "reply not taken in time"]).is_empty());
    assert!(start.elapsed() >= Duration::from_millis(300));
    read_until_reset(&mut client);
    eventually("its slot is free", || server.connect().stream.read(&mut [0]).is_ok_and(|count| count == 1));
}

#[test]
fn a_handler_failure_is_logged_and_counted_even_if_its_client_reads_nothing() {
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| -> io::Result<()> {
        while let Some(line) = client.read_line()? {
            match line.as_slice() {
                b"panic" => panic!("with a late client"),
                b"fail" => return Err(io::Error::other("with a late client")),
                // The kernel accepts these replies, but can't send them all.
                _ => client.write_all(&[b'r'; 1000])?,
            }
        }
        Ok(())
    });
    for (word, reason) in
        [("panic", "handler panicked: with a late client"), ("fail", "handler failed: with a late client")]
    {
        let mut client = connect_with_small_buffer(&server);
        client.send(format!("{}{word}\n", "ask\n".repeat(30)));
        let peer = format!("peer={} ", client.stream.local_addr().unwrap());
        eventually("the fault is in the log", || !logged(&["closed", &peer, reason]).is_empty());
        read_until_reset(&mut client);
    }
    assert_eq!(server.stop().stats.panicked, 1);
}

#[test]
fn outbox_messages_arrive_before_the_farewell_after_a_panic() {
    let server = TestServer::start(|client: &mut Connection| -> io::Result<()> {
        let outbox = client.outbox()?;
        client.read_line()?;
        (0..25).for_each(|_| assert!(outbox.send([[b'm'; 7999].as_slice(), b"\n"].concat())));
        panic!("afterwards");
    });
    let mut client = connect_with_small_buffer(&server);
    client.send("go on\n");
    let rest = client.rest();
    assert_eq!(rest.matches('\n').count(), 26);
    assert!(rest.ends_with("m\nERROR the server failed to answer, closing\n"));
}
