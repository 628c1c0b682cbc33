//! What authors of protocols test with: a connection without a server, and a server that lives as long as a scope.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use acceptd::testing::{TestClient, TestServer};
use acceptd::{ClosedConnection, Connection, Echo, EndReason, Event, Handler, Limits, Next, Outbox, Paused, Server};

use crate::support::{PATIENCE, eventually};

fn serve(handler: impl Handler, limits: Limits) -> (TestClient, JoinHandle<ClosedConnection>) {
    let (connection, client) = Connection::pair(limits).unwrap();
    (client, thread::spawn(move || connection.serve(&handler)))
}

fn greeter(client: &mut Connection) -> io::Result<()> {
    while let Some(name) = client.read_line()? {
        writeln!(client, "Hello, {}!", String::from_utf8_lossy(&name))?;
    }
    Ok(())
}

#[test]
fn a_conversation_runs_without_a_server_and_its_end_has_all_facts() {
    let (mut client, served) = serve(greeter, Limits::default());
    client.send("Ann\r\nBob\n");
    assert_eq!(client.line(), "Hello, Ann!");
    client.expect("Hello, Bob!\n");
    client.end_output();
    client.expect_end();
    let closed = served.join().unwrap();
    assert_eq!(closed.reason, EndReason::ClientClosed);
    assert_eq!((closed.bytes_in, closed.bytes_out), (9, 24));
    assert_eq!(closed.peer_addr, client.stream().local_addr().unwrap());
    assert!(closed.duration > Duration::ZERO);
}

#[test]
fn a_test_with_one_thread_sends_first_and_serves_then() {
    let (connection, mut client) = Connection::pair(Limits::default()).unwrap();
    client.send("Ann\n");
    client.end_output();
    assert_eq!(connection.serve(&greeter).bytes_out, 12);
    assert_eq!(client.receive(6), b"Hello,");
    assert_eq!(client.rest(), b" Ann!\n");
}

#[test]
fn deadlines_and_farewells_are_those_of_a_server() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(20)), ..Limits::default() };
    let (mut client, served) =
        serve(greeter.with_farewell(|why| format!("-ERR {why}\r\n").into_bytes().into()), limits);
    client.expect("-ERR nothing was sent for 20ms, closing\r\n");
    client.expect_end();
    assert_eq!(served.join().unwrap().reason, EndReason::Idle);
}

#[test]
fn other_threads_reach_a_paired_client_through_its_outbox() {
    let (sender, outboxes) = mpsc::channel::<Outbox>();
    let (mut client, served) = serve(
        move |client: &mut Connection| {
            sender.send(client.outbox()?).unwrap();
            client.read_line().map(drop)
        },
        Limits::default(),
    );
    let outbox = outboxes.recv_timeout(PATIENCE).unwrap();
    assert!(outbox.send(*b"pushed\n"));
    client.expect("pushed\n");
    outbox.close("for a test");
    client.expect("ERROR the server closes this connection\n");
    client.expect_end();
    assert_eq!(served.join().unwrap().reason, EndReason::ServerClosed("for a test".into()));
}

#[test]
fn a_paired_client_is_drained_after_what_it_has_sent() {
    let (mut client, served) = serve(greeter, Limits::default());
    client.send("Ann\n");
    client.expect("Hello, Ann!\n");
    client.drain();
    client.expect("ERROR the server is shutting down\n");
    client.expect_end();
    assert_eq!(served.join().unwrap().reason, EndReason::Drained);
}

#[test]
fn a_client_whose_end_a_pause_has_reported_has_closed_by_itself() {
    let (mut client, served) = serve(
        |client: &mut Connection| {
            assert_eq!(client.pause(Instant::now() + PATIENCE)?, Paused::ClientEnded);
            Ok(())
        },
        Limits::default(),
    );
    client.end_output();
    client.expect_end();
    assert_eq!(served.join().unwrap().reason, EndReason::ClientClosed);
}

#[test]
fn a_paired_client_that_keeps_reading_goes_on_in_a_drain() {
    let (mut client, served) = serve(
        |client: &mut Connection| {
            let _work = client.keep_reading();
            client.write_all(b"begin\n")?;
            match client.read_line_until(None)? {
                Next::Request(line) => client.write_all(&line),
                other => panic!("{other:?}"),
            }
        },
        Limits::default(),
    );
    client.expect("begin\n");
    client.drain();
    client.send("the rest\n");
    client.expect("the rest");
    client.expect_end();
    assert_eq!(served.join().unwrap().reason, EndReason::HandlerClosed);
}

#[test]
fn a_paired_client_is_cut_with_a_farewell() {
    let (connection, mut client) = Connection::pair(Limits::default()).unwrap();
    let handle = connection.handle();
    let served = thread::spawn(move || connection.serve(&greeter));
    client.send("Ann\n");
    client.expect("Hello, Ann!\n");
    eventually("the handler waits", || handle.is_idle());
    client.cut("that's all\n");
    client.expect("that's all\n");
    client.expect_end();
    assert_eq!(served.join().unwrap().reason, EndReason::Cut);
}

#[test]
fn a_paired_handler_that_panics_is_an_end_with_a_reason() {
    let (mut client, served) =
        serve(|_: &mut Connection| -> io::Result<()> { panic!("on purpose") }, Limits::default());
    client.expect("ERROR the server failed to answer, closing\n");
    client.expect_end();
    assert!(matches!(served.join().unwrap().reason, EndReason::HandlerPanicked(_)));
}

#[test]
fn wrong_limits_are_refused() {
    let error = Connection::pair(Limits { max_line: 0, ..Limits::default() }).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// What a failing check of the test client says.
fn failure(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn a_client_fails_with_what_it_has_received() {
    let (mut client, _served) = serve(Echo, Limits::default());
    client.set_patience(Duration::from_millis(50));
    client.send("abc");
    let message = failure(|| client.expect("abX"));
    assert!(message.contains("abc") && message.contains("abX"), "{message}");
    client.send("abc");
    let message = failure(|| client.expect("abcdef"));
    assert!(message.contains(r#"after "abc", and expected "abcdef""#), "{message}");
    client.send("xyz");
    let message = failure(|| drop(client.line()));
    assert!(message.contains(r#"after "xyz", and a line was expected"#), "{message}");
    client.send("more");
    client.end_output();
    let message = failure(|| client.expect_end());
    assert!(message.contains("more"), "{message}");
    let message = failure(|| drop(client.receive(3)));
    assert!(message.contains("the stream ended"), "{message}");
    let message = failure(|| drop(client.line()));
    assert!(message.contains("the stream ended"), "{message}");
}

#[test]
fn a_test_server_reports_how_its_clients_end() {
    let (sender, reasons) = mpsc::channel();
    let mut server = Server::bind("127.0.0.1:0", Limits::default()).unwrap();
    server.on_event(move |event| {
        if let Event::Closed(closed) = event {
            sender.send(closed.reason.clone()).unwrap();
        }
    });
    let server = TestServer::run(server, greeter);
    server.connect().end_output();
    assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), EndReason::ClientClosed);
}

#[test]
fn pairs_have_numbers_of_their_own() {
    let (one, _client) = Connection::pair(Limits::default()).unwrap();
    let (other, _client) = Connection::pair(Limits::default()).unwrap();
    assert_ne!(one.id(), other.id());
}

#[test]
fn a_failure_names_the_line_of_the_test_and_shows_a_part_of_what_was_received() {
    let (mut client, _served) = serve(Echo, Limits::default());
    client.send([b'x'; 1000]);
    let message = failure(|| client.expect([b'y'; 1000]));
    assert!(message.contains("… (1000 bytes)") && message.len() < 600, "{message}");
}

#[test]
fn a_client_of_a_server_is_drained_by_its_server_alone() {
    let server = TestServer::start(Echo);
    let client = server.connect();
    let message = failure(|| client.drain());
    assert!(message.contains("TestServer::shutdown"), "{message}");
}

#[test]
fn a_test_server_that_does_not_end_fails_with_the_clients_that_are_open() {
    let mut server = TestServer::start(greeter);
    let mut client = server.connect();
    client.send("Ann\n");
    client.expect("Hello, Ann!\n");
    eventually("the handler waits", || server.clients().iter().all(acceptd::ClientHandle::is_idle));
    server.set_patience(Duration::from_millis(20));
    let message = failure(|| assert_eq!(server.wait().cut, 0));
    assert!(message.contains("the server has not ended"), "{message}");
    assert!(message.contains(&format!("id=1 peer={}", client.stream().local_addr().unwrap())), "{message}");
    assert!(message.contains("waits for its client"), "{message}");
}

#[test]
fn dropping_a_test_server_drains_it() {
    let server = TestServer::start(greeter);
    let mut client = server.connect();
    client.send("Ann\n");
    client.expect("Hello, Ann!\n");
    drop(server);
    client.expect("ERROR the server is shutting down\n");
    client.expect_end();
}

#[test]
#[should_panic(expected = "the server has not ended")]
fn dropping_a_test_server_that_does_not_end_fails() {
    let (sender, begun) = mpsc::channel();
    let limits = Limits { drain_timeout: Duration::from_secs(60), ..Limits::default() };
    let mut server = TestServer::start_with(
        move |_: &mut Connection| {
            sender.send(()).unwrap();
            thread::park_timeout(PATIENCE);
            Ok(())
        },
        limits,
    );
    let _client = server.connect();
    begun.recv_timeout(PATIENCE).unwrap();
    server.set_patience(Duration::from_millis(20));
}
