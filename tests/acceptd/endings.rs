//! How a connection ends: what was cut in the middle never looks complete, and nothing is put into the middle of a message.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use acceptd::handler::kv::{Kv, Options};
use acceptd::{Connection, Handler, Limits, Outbox};

use crate::support::kv::request;
use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

/// More than the server holds back, so that a part of it is sent before the rest is written.
const LONG: usize = 100_000;

/// More than the kernel accepts for a client that does not read.
const STUCK: usize = 8 << 20;

/// Waits for the end of a handler's connection in vain, as a computation would.
struct Busy {
    has_begun: Receiver<()>,
    go_on: Sender<()>,
}

/// A handler that writes something and then computes, until it is told to go on.
fn computing(begin: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) -> (impl Handler, Busy) {
    let (tell, has_begun) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let told = Mutex::new(told);
    let handler = move |client: &mut Connection| {
        begin(client)?;
        tell.send(()).unwrap();
        let _ = told.lock().unwrap().recv_timeout(PATIENCE);
        Ok(())
    };
    (handler, Busy { has_begun, go_on })
}

/// What the client gets, and that it ends with a reset.
fn got_before_a_reset(client: &mut Client) -> Vec<u8> {
    let mut got = Vec::new();
    match client.stream.read_to_end(&mut got) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => got,
        outcome => panic!("{outcome:?} instead of a reset, after {} bytes", got.len()),
    }
}

/// A client that does not read yet, and has little room.
fn deaf(server: &TestServer) -> Client {
    Client::connect_with_buffer(server.addr, 4096)
}

fn cut_soon() -> Limits {
    Limits { drain_timeout: Duration::from_millis(200), write_timeout: PATIENCE, ..Limits::default() }
}

#[test]
fn a_value_that_is_cut_by_the_drain_or_by_client_kill_does_not_look_complete() {
    for is_killed in [false, true] {
        let store = Kv::in_memory(Options::default()).unwrap();
        let mut server = TestServer::with(cut_soon(), store);
        let mut owner = server.connect();
        owner.send(request(&[b"SET".as_slice(), b"k", &vec![b'v'; 4 << 20]]));
        owner.expect("+OK\r\n");
        let mut client = deaf(&server);
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
        assert!(got_before_a_reset(&mut client).len() < 4 << 20);
    }
}

#[test]
fn a_long_reply_that_its_handler_does_not_finish_does_not_look_complete() {
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
        let got = got_before_a_reset(&mut client);
        assert!(got.iter().all(|&byte| byte == b'r'), "something was put into the middle of the message");
    }
}

#[test]
fn a_short_reply_that_its_handler_does_not_finish_is_not_sent_and_earlier_ones_are() {
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
fn no_farewell_is_put_into_a_message_that_the_handler_holds_open_while_it_computes() {
    let (handler, busy) = computing(|client| {
        client.begin_message();
        client.write_all(b"half a mail")?;
        client.flush()
    });
    let mut server = TestServer::with(cut_soon(), handler);
    let mut client = server.connect();
    client.expect("half a mail");
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().stuck, 1);
    assert_eq!(got_before_a_reset(&mut client), b"");
    drop(busy.go_on);
}

#[test]
fn no_farewell_is_put_into_a_reply_that_is_partly_sent_while_the_handler_computes() {
    let (handler, busy) = computing(|client| client.write_all(&[b'r'; LONG]));
    let mut server = TestServer::with(cut_soon(), handler);
    let mut client = server.connect();
    client.expect([b'r'; LONG]);
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    server.wait();
    assert_eq!(got_before_a_reset(&mut client), b"");
    drop(busy.go_on);
}

#[test]
fn a_client_is_told_farewell_when_the_message_that_was_held_open_has_ended() {
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
fn a_message_that_is_held_open_and_not_begun_is_dropped() {
    let server = TestServer::start(|client: &mut Connection| {
        client.write_all(b"before\n")?;
        client.begin_message();
        client.write_all(b"half")?;
        Err(io::Error::other("in the middle"))
    });
    assert_eq!(server.connect().rest(), "before\nERROR the server failed to answer, closing\n");
}

#[test]
fn a_client_that_is_lost_inside_a_message_that_was_held_open_is_reset() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        client.begin_message();
        client.write_all(b"go on? ")?;
        client.read_line().map(drop)
    });
    let mut client = server.connect();
    client.expect("go on? ");
    assert_eq!(got_before_a_reset(&mut client), b"");
}

#[test]
fn messages_of_others_wait_for_the_end_of_a_message_that_is_held_open() {
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
fn a_farewell_that_was_set_for_a_client_is_what_it_is_told_when_it_is_cut() {
    let (handler, busy) = computing(|client| {
        client.set_farewell(|reason| format!("* BYE {reason}\n").into_bytes().into());
        Ok(())
    });
    let mut server = TestServer::with(cut_soon(), handler);
    let mut client = server.connect();
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    assert_eq!(client.rest(), "* BYE the server is shutting down\n");
    drop(busy.go_on);
}

#[test]
fn a_farewell_that_panics_costs_nobody_else_anything() {
    let (handler, busy) = computing(|client| {
        client.set_farewell(|_| panic!("instead of a farewell"));
        Ok(())
    });
    let mut server = TestServer::with(cut_soon(), handler);
    let _client = server.connect();
    busy.has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    drop(busy.go_on);
}

/// A handler that hands out its outbox, and then writes without end.
fn gushing() -> (impl Handler, Receiver<Outbox>) {
    let (tell, told) = mpsc::channel();
    let handler = move |client: &mut Connection| {
        tell.send(client.outbox()?).unwrap();
        client.write_all(&vec![b'r'; STUCK])
    };
    (handler, told)
}

#[test]
fn a_client_that_is_cut_for_what_others_sent_hears_nothing_in_the_middle_of_its_reply() {
    let (handler, told) = gushing();
    let limits = Limits { max_outbox: 1000, write_timeout: Duration::from_millis(500), ..Limits::default() };
    let server = TestServer::with(limits, handler);
    let mut client = deaf(&server);
    let outbox = told.recv_timeout(PATIENCE).unwrap();
    client.expect([b'r'; 100]);
    while outbox.send([b'm'; 300]) {}
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("it is cut", || !logged(&["closed", &peer]).is_empty());
    assert!(got_before_a_reset(&mut client).iter().all(|&byte| byte == b'r'));
}

#[test]
fn a_message_of_others_that_a_panic_has_cut_short_does_not_look_complete() {
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits, move |client: &mut Connection| -> io::Result<()> {
        let outbox = client.outbox()?;
        outbox.send(vec![b'm'; STUCK]);
        panic!("with a message under way");
    });
    let mut client = deaf(&server);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("it is cut", || !logged(&["closed", &peer, "handler panicked"]).is_empty());
    assert!(got_before_a_reset(&mut client).iter().all(|&byte| byte == b'm'));
}

#[test]
fn bytes_of_clients_that_are_stuck_in_their_handler_are_counted() {
    let (handler, busy) = computing(|client| {
        client.read_line()?;
        client.write_all(b"an answer\n")?;
        client.flush()
    });
    let mut server = TestServer::with(cut_soon(), handler);
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
fn a_client_that_takes_nothing_keeps_its_slot_only_for_the_write_timeout() {
    let limits = Limits { max_connections: 1, write_timeout: Duration::from_millis(300), ..Limits::default() };
    // The kernel accepts all of it, and can't send it.
    let server = TestServer::with(limits, |client: &mut Connection| client.write_all(&[b'r'; 30_000]));
    let start = Instant::now();
    let mut client = deaf(&server);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("it has left", || !logged(&["closed", &peer, "reply not taken in time"]).is_empty());
    assert!(start.elapsed() >= Duration::from_millis(300));
    got_before_a_reset(&mut client);
    eventually("its slot is free", || server.connect().stream.read(&mut [0]).is_ok_and(|count| count == 1));
}

#[test]
fn a_fault_of_the_handler_is_logged_and_counted_although_its_client_takes_nothing() {
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| -> io::Result<()> {
        while let Some(line) = client.read_line()? {
            match line.as_slice() {
                b"panic" => panic!("with a late client"),
                b"fail" => return Err(io::Error::other("with a late client")),
                // The kernel accepts these replies, and can't send them all.
                _ => client.write_all(&[b'r'; 1000])?,
            }
        }
        Ok(())
    });
    for (word, reason) in
        [("panic", "handler panicked: with a late client"), ("fail", "handler failed: with a late client")]
    {
        let mut client = deaf(&server);
        client.send(format!("{}{word}\n", "ask\n".repeat(30)));
        let peer = format!("peer={} ", client.stream.local_addr().unwrap());
        eventually("the fault is in the log", || !logged(&["closed", &peer, reason]).is_empty());
        got_before_a_reset(&mut client);
    }
    assert_eq!(server.stop().stats.panicked, 1);
}

#[test]
fn messages_of_others_arrive_before_the_farewell_after_a_panic() {
    let server = TestServer::start(|client: &mut Connection| -> io::Result<()> {
        let outbox = client.outbox()?;
        client.read_line()?;
        (0..25).for_each(|_| assert!(outbox.send([[b'm'; 7999].as_slice(), b"\n"].concat())));
        panic!("afterwards");
    });
    let mut client = deaf(&server);
    client.send("go on\n");
    let rest = client.rest();
    assert_eq!(rest.matches('\n').count(), 26);
    assert!(rest.ends_with("m\nERROR the server failed to answer, closing\n"));
}
