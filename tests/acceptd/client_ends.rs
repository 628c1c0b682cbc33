//! How a connection's end looks to its handler, and how other threads bring it about.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use acceptd::{ClientHandle, Connection, EndReason, Limits, Next, Outbox, Paused};

use crate::support::{PATIENCE, TestServer, eventually};

#[test]
fn an_upload_that_a_drain_ends_is_an_error_and_not_complete() {
    let (sender, outcomes) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| {
        client.write_all(b"send\n")?;
        client.flush()?;
        let mut upload = Vec::new();
        let outcome = client.read_to_end(&mut upload);
        let reason = outcome.as_ref().err().and_then(EndReason::of).cloned();
        sender.send((reason, client.end_reason().cloned(), upload.len())).unwrap();
        outcome.map(drop)
    });
    let mut client = server.connect();
    client.expect("send\n");
    client.send("half of it");
    let mut whole = server.connect();
    whole.expect("send\n");
    whole.send("all of it");
    whole.end_output();
    assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), (None, None, 9));
    server.shutdown.request();
    client.expect("ERROR the server is shutting down\n");
    let (reason, end_reason, _) = outcomes.recv_timeout(PATIENCE).unwrap();
    assert_eq!((reason, end_reason), (Some(EndReason::Drained), Some(EndReason::Drained)));
}

#[test]
fn a_client_that_keeps_reading_completes_its_work_during_a_drain() {
    let server = TestServer::start(|client: &mut Connection| {
        let work = client.keep_reading();
        client.write_all(b"begin\n")?;
        let first = client.read_line()?.unwrap();
        client.write_all(&first)?;
        drop(work);
        match client.read_line_until(None)? {
            Next::Draining => client.write_all(b" and draining\n"),
            other => panic!("{other:?}"),
        }
    });
    let mut client = server.connect();
    client.expect("begin\n");
    server.shutdown.request();
    client.send("done");
    client.send("\n");
    client.expect("done and draining\n");
    assert_eq!(server.stop().cut, 0);
}

#[test]
fn the_drain_deadline_ends_the_input_of_a_client_that_keeps_reading() {
    let limits = Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        let _work = client.keep_reading();
        client.write_all(b"begin\n")?;
        client.read_line().map(drop)
    });
    let mut client = server.connect();
    client.expect("begin\n");
    server.shutdown.request();
    client.expect("ERROR the server is shutting down\n");
    server.stop();
}

#[test]
fn a_guard_dropped_by_another_thread_lets_the_drain_go_on() {
    let (sender, guards) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| {
        client.write_all(b"begin\n")?;
        sender.send(client.keep_reading()).unwrap();
        client.read_line().map(drop)
    });
    let mut client = server.connect();
    client.expect("begin\n");
    let guard = guards.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    drop(guard);
    client.expect("ERROR the server is shutting down\n");
    assert_eq!(server.stop().cut, 0);
}

/// A server whose handler hands out what ends it, answers lines, and tells why it has ended.
fn ended_by_others() -> (TestServer, mpsc::Receiver<(ClientHandle, Outbox)>, mpsc::Receiver<EndReason>) {
    let (sender, handles) = mpsc::channel();
    let (tell, reasons) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| {
        sender.send((client.handle(), client.outbox()?)).unwrap();
        client.write_all(b"hello\n")?;
        let error = loop {
            match client.read_line() {
                Ok(line) => writeln!(client, "got {}", String::from_utf8_lossy(&line.unwrap()))?,
                Err(error) => break error,
            }
        };
        tell.send(EndReason::of(&error).unwrap().clone()).unwrap();
        Err(error)
    });
    (server, handles, reasons)
}

#[test]
fn an_outbox_that_is_closed_delivers_its_messages_and_a_farewell() {
    let (server, handles, reasons) = ended_by_others();
    let mut client = server.connect();
    let (_, outbox) = handles.recv_timeout(PATIENCE).unwrap();
    client.expect("hello\n");
    assert!(outbox.has_room_for(1000));
    outbox.queue(*b"you are kicked\n");
    assert_eq!(outbox.queued_bytes(), 15 + 96);
    outbox.close("kicked by ann");
    outbox.close("the first reason stays");
    assert!(!outbox.send(*b"too late\n") && !outbox.is_open() && !outbox.has_room_for(1));
    client.expect("you are kicked\nERROR the server closes this connection\n");
    assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), EndReason::ServerClosed("kicked by ann".into()));
}

#[test]
fn a_client_that_is_drained_alone_gets_its_replies_and_a_farewell() {
    let (server, handles, reasons) = ended_by_others();
    let (mut client, mut other) = (server.connect(), server.connect());
    let (handle, _) = handles.recv_timeout(PATIENCE).unwrap();
    let (other_handle, _) = handles.recv_timeout(PATIENCE).unwrap();
    client.expect("hello\n");
    other.expect("hello\n");
    let is_first = handle.peer_addr() == client.stream.local_addr().unwrap();
    let (handle, other_handle) = if is_first { (handle, other_handle) } else { (other_handle, handle) };
    client.send("one\n");
    client.expect("got one\n");
    assert_eq!(handle.bytes_in(), 4);
    // The reply may not be counted yet.
    assert!(handle.bytes_out() >= 6);
    handle.drain("maintenance");
    client.expect("ERROR the server closes this connection\n");
    assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), EndReason::ServerClosed("maintenance".into()));
    other.send("two\n");
    other.expect("got two\n");
    assert!(other_handle.is_open());
    // In the instant after its reply, a client that is cut is reset.
    eventually("the reply is noted", || other_handle.is_idle());
    other_handle.cut("BYE\n");
    other.expect("BYE\n");
    assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), EndReason::Cut);
    server.stop();
    assert!(!handle.is_open() && !other_handle.is_open());
    handle.cut("");
}

#[test]
fn reading_goes_on_after_the_output_has_ended() {
    let (tell, told) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| -> io::Result<()> {
        client.outbox()?.queue(*b"message\n");
        client.write_all(b"all there is\n")?;
        client.end_output()?;
        assert_eq!(client.write(b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(client.outbox().is_err() && client.end_reason().is_none());
        tell.send(client.read_line()?).unwrap();
        Ok(())
    });
    let mut client = server.connect();
    client.expect("message\nall there is\n");
    let mut rest = Vec::new();
    assert_eq!(client.stream.read_to_end(&mut rest).unwrap(), 0);
    client.send("still here\n");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"still here");
}

#[test]
fn timeouts_can_be_set_for_one_client() {
    let server = TestServer::start(|client: &mut Connection| {
        client.set_idle_timeout(Some(Duration::from_millis(20)));
        client.set_request_timeout(Duration::from_millis(30));
        client.set_write_timeout(Duration::ZERO);
        assert_eq!(client.limits().write_timeout, Duration::from_millis(1));
        client.read_line().map(drop)
    });
    server.connect().expect("ERROR nothing was sent for 20ms, closing\n");
    let mut slow = server.connect();
    slow.send("half");
    slow.expect("ERROR the request was not complete after 30ms, closing\n");
}

#[test]
fn a_farewell_may_depend_on_what_has_happened() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(20)), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        let id = client.id();
        client.set_farewell(move |why| format!("client {id}: {why}\n").into_bytes().into());
        client.read_line().map(drop)
    });
    server.connect().expect("client 1: nothing was sent for 20ms, closing\n");
}

#[test]
fn an_outbox_can_have_a_limit_of_its_own() {
    let (tell, told) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| {
        let outbox = client.outbox()?;
        client.set_max_outbox(1000);
        outbox.queue([b'a'; 400]);
        tell.send((outbox.has_room_for(1000 - 400 - 2 * 96), outbox.has_room_for(1000 - 400 - 2 * 96 + 1))).unwrap();
        outbox.queue([b'b'; 900]);
        client.read_line().map(drop)
    });
    let mut client = server.connect();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (true, false));
    client.expect("ERROR you read too slowly, closing\n");
}

#[test]
fn a_handler_can_set_options_of_its_socket() {
    let server = TestServer::start(|client: &mut Connection| {
        let socket = socket2::SockRef::from(&*client);
        socket.set_tcp_nodelay(false)?;
        let is_delayed = !socket.tcp_nodelay()?;
        writeln!(client, "{is_delayed}")
    });
    server.connect().expect("true\n");
}

#[test]
fn is_draining_is_true_for_a_client_that_is_drained_alone() {
    let server = TestServer::start(|client: &mut Connection| {
        assert!(!client.is_draining());
        client.handle().drain("alone");
        let (is_draining, next) = (client.is_draining(), client.read_line_until(None)?);
        writeln!(client, "{is_draining} {next:?}")
    });
    server.connect().expect("true Draining\nERROR the server closes this connection\n");
}

#[test]
fn a_handler_that_returns_something_else_after_an_error_changes_neither_reason_nor_farewell() {
    let handlers: [fn(&mut Connection) -> io::Result<()>; 2] = [
        |client| client.read_line().map(drop).or(Ok(())),
        |client| client.read_line().map(drop).map_err(|_| io::Error::other("of its own")),
    ];
    let limits = Limits { idle_timeout: Some(Duration::from_millis(10)), ..Limits::default() };
    for handler in handlers {
        let (connection, mut client) = Connection::pair(limits.clone()).unwrap();
        let closed = connection.serve(&handler);
        client.expect("ERROR nothing was sent for 10ms, closing\n");
        client.expect_end();
        assert_eq!(closed.reason, EndReason::Idle);
    }
}

#[test]
fn after_the_end_of_the_input_each_read_returns_the_end_and_a_pause_waits() {
    let (connection, client) = Connection::pair(Limits::default()).unwrap();
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    let closed = connection.serve(&|client: &mut Connection| {
        for _ in 0..3 {
            assert_eq!(client.read_line_until(None)?, Next::End);
        }
        assert_eq!(client.pause(Instant::now() + Duration::from_millis(10))?, Paused::Deadline);
        Ok(())
    });
    assert_eq!(closed.reason, EndReason::ClientClosed);
}
