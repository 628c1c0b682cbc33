//! Waiting for something else than the client: wakers, pauses, and what ends them.

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use acceptd::{Connection, Next, Paused, Waker};

use crate::support::{PATIENCE, TestServer};

/// A server whose handler hands its waker out and then says why each wait has returned.
fn waiting_server() -> (TestServer, mpsc::Receiver<Waker>) {
    let (sender, wakers) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| {
        sender.send(client.waker()?).unwrap();
        loop {
            match client.read_line_until(None)? {
                Next::Request(line) => writeln!(client, "got {}", String::from_utf8_lossy(&line))?,
                Next::Woken => client.write_all(b"woken\n")?,
                Next::Deadline => unreachable!("there is none"),
                Next::End => return client.write_all(b"you have ended\n"),
                Next::Draining => return client.write_all(b"draining\n"),
            }
        }
    });
    (server, wakers)
}

#[test]
fn a_waker_ends_the_wait_for_a_request_and_half_a_line_stays() {
    let (server, wakers) = waiting_server();
    let mut client = server.connect();
    let waker = wakers.recv_timeout(PATIENCE).unwrap();
    client.send("on");
    waker.wake();
    client.expect("woken\n");
    waker.clone().wake();
    client.expect("woken\n");
    client.send("e\n");
    client.expect("got one\n");
    client.end_output();
    client.expect("you have ended\n");
}

#[test]
fn a_handler_can_tell_a_drain_from_the_end_of_the_input() {
    let (server, wakers) = waiting_server();
    let mut client = server.connect();
    wakers.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    client.expect("draining\n");
    server.stop();
}

#[test]
fn a_wake_before_the_wait_is_reported_once_and_by_a_wait_that_can_report_it() {
    let server = TestServer::start(|client: &mut Connection| {
        let waker = client.waker()?;
        waker.wake();
        waker.wake();
        // This one can't report it.
        client.read_line()?;
        let far = Instant::now() + 10 * PATIENCE;
        assert_eq!(client.pause(far)?, Paused::Woken);
        assert_eq!(client.pause(Instant::now() + Duration::from_millis(1))?, Paused::Deadline);
        client.write_all(b"as it should\n")
    });
    let mut client = server.connect();
    client.send("line\n");
    client.expect("as it should\n");
}

#[test]
fn a_waker_works_beside_an_outbox() {
    let server = TestServer::start(|client: &mut Connection| {
        let (outbox, waker) = (client.outbox()?, client.waker()?);
        let thread = std::thread::spawn(move || {
            outbox.send(*b"message\n");
            waker.wake();
        });
        let next = client.read_line_until(Some(Instant::now() + PATIENCE))?;
        thread.join().unwrap();
        writeln!(client, "{next:?}")
    });
    server.connect().expect("message\nWoken\n");
}

#[test]
fn a_pause_reports_once_that_the_client_has_closed_its_side() {
    let server = TestServer::start(|client: &mut Connection| {
        client.write_all(b"hello\n")?;
        assert_eq!(client.pause(Instant::now() + 10 * PATIENCE)?, Paused::ClientEnded);
        assert_eq!(client.pause(Instant::now() + Duration::from_millis(20))?, Paused::Deadline);
        client.write_all(b"noticed\n")?;
        // A drain ends this one, though the input can't.
        assert_eq!(client.pause(Instant::now() + 10 * PATIENCE)?, Paused::Draining);
        Ok(())
    });
    let mut client = server.connect();
    client.expect("hello\n");
    client.send("unread\n");
    client.end_output();
    client.expect("noticed\n");
    let summary = server.stop();
    assert_eq!((summary.drained, summary.cut), (1, 0));
}

#[test]
fn a_pause_that_a_drain_ends_is_followed_by_the_farewell() {
    for is_alone in [false, true] {
        let (sender, handles) = mpsc::channel();
        let server = TestServer::start(move |client: &mut Connection| {
            client.write_all(b"begin\n")?;
            client.flush()?;
            sender.send(client.handle()).unwrap();
            assert_eq!(client.pause(Instant::now() + PATIENCE)?, Paused::Draining);
            client.write_all(b"the rest\n")
        });
        let mut client = server.connect();
        client.expect("begin\n");
        let handle = handles.recv_timeout(PATIENCE).unwrap();
        if is_alone {
            handle.drain("for a test");
            assert_eq!(client.rest(), "the rest\nERROR the server closes this connection\n");
        } else {
            server.shutdown.request();
            assert_eq!(client.rest(), "the rest\nERROR the server is shutting down\n");
        }
    }
}

#[test]
fn a_drain_wakes_a_handler_that_keeps_reading() {
    let server = TestServer::start(|client: &mut Connection| {
        let _work = client.keep_reading();
        client.waker()?;
        client.write_all(b"begin\n")?;
        assert_eq!(client.read_line_until(None)?, Next::Woken);
        assert!(client.is_draining());
        client.write_all(b"hurry up\n")?;
        let last = client.read_line()?.unwrap_or_default();
        client.write_all(&last)
    });
    let mut client = server.connect();
    client.expect("begin\n");
    server.shutdown.request();
    client.expect("hurry up\n");
    client.send("done\n");
    assert_eq!(client.rest(), "done");
    assert_eq!(server.stop().cut, 0);
}

#[test]
fn a_waker_that_outlives_its_client_holds_no_descriptor_and_wakes_nobody() {
    let (sender, wakers) = mpsc::channel();
    let server = TestServer::start(move |client: &mut Connection| -> io::Result<()> {
        sender.send(client.waker()?).unwrap();
        Ok(())
    });
    assert_eq!(server.connect().rest(), "");
    let waker = wakers.recv_timeout(PATIENCE).unwrap();
    server.stop();
    waker.wake();
}
