//! Timeouts and keepalive. Each test checks that nothing ends early, and that it ends within a stated bound.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Line};
use socket2::{SockFilter, SockRef};

use crate::support::machine::at_most;
use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

/// The kernel counts socket timeouts in ticks, so a timeout may fire this much early.
const TICK: Duration = Duration::from_millis(10);

fn limits() -> Limits {
    Limits { idle_timeout: Some(PATIENCE * 10), ..Limits::default() }
}

#[test]
fn a_trickle_of_bytes_does_not_extend_the_request_timeout() {
    let limits = Limits { request_timeout: Duration::from_secs(2), ..limits() };
    let server = TestServer::with(limits, Line::default());
    let mut client = server.connect();
    let mut trickling = client.stream.try_clone().unwrap();
    let start = Instant::now();
    let (stop, stopped) = mpsc::channel::<()>();
    let trickle = thread::spawn(move || {
        // One byte at once, then one byte per second.
        while trickling.write_all(b"x").is_ok() && stopped.recv_timeout(Duration::from_secs(1)).is_err() {}
    });
    assert_eq!(client.rest(), "ERROR the request was not complete after 2s, closing\r\n");
    let took = start.elapsed();
    assert!(
        took + TICK >= Duration::from_secs(2) && took < at_most(Duration::from_millis(2500)),
        "closed after {took:?}"
    );
    stop.send(()).unwrap();
    trickle.join().unwrap();
}

#[test]
fn a_series_of_complete_requests_may_last_longer_than_the_request_timeout() {
    let limits = Limits { request_timeout: Duration::from_millis(600), ..limits() };
    let server = TestServer::with(limits, Line::default());
    let mut client = server.connect();
    for _ in 0..4 {
        // In two halves, so that each request sets its own deadline.
        client.send("ECHO ");
        thread::park_timeout(Duration::from_millis(250));
        client.send("a\n");
        client.expect("a\n");
    }
    // Time between requests does not count.
    thread::park_timeout(Duration::from_millis(800));
    client.send("ECHO b\n");
    client.expect("b\n");
}

#[test]
fn an_idle_client_gets_a_farewell_and_is_closed() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(500)), ..limits() };
    let server = TestServer::with(limits, Echo);
    let mut client = server.connect();
    client.send("x");
    client.expect("x");
    let start = Instant::now();
    assert_eq!(client.rest(), "ERROR nothing was sent for 500ms, closing\n");
    let took = start.elapsed();
    assert!(took + TICK * 2 >= Duration::from_millis(500) && took < at_most(Duration::from_secs(2)), "{took:?}");
}

#[test]
fn freeing_large_buffers_does_not_extend_the_idle_timeout() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(1500)), ..limits() };
    let server = TestServer::with(limits, Echo);
    let mut client = server.connect();
    // The server frees large buffers after a pause of one second. The idle timeout includes that pause.
    let message = vec![b'm'; 200_000];
    let mut copy = client.stream.try_clone().unwrap();
    let sent = message.clone();
    let sender = thread::spawn(move || copy.write_all(&sent).unwrap());
    client.expect(&message);
    sender.join().unwrap();
    let start = Instant::now();
    assert_eq!(client.rest(), "ERROR nothing was sent for 1.5s, closing\n");
    let took = start.elapsed();
    assert!(took + TICK * 2 >= Duration::from_millis(1500), "{took:?}");
    assert!(took < at_most(Duration::from_millis(2400)), "the pause is added to the timeout: {took:?}");
}

/// A handler that writes without end, and a channel with the error that stopped it.
fn endless_writer() -> (impl Fn(&mut Connection) -> io::Result<()> + Send + Sync, mpsc::Receiver<io::Error>) {
    let (error_sender, errors) = mpsc::channel();
    let handler = move |client: &mut Connection| loop {
        if let Err(error) = client.write_all(&[b'g'; 10_000]) {
            let _ = error_sender.send(io::Error::new(error.kind(), error.to_string()));
            return Err(error);
        }
    };
    (handler, errors)
}

#[test]
fn a_client_that_never_reads_is_cut_within_the_write_timeout() {
    let (handler, errors) = endless_writer();
    let server = TestServer::with(Limits { write_timeout: Duration::from_secs(1), ..limits() }, handler);
    let start = Instant::now();
    let _client = server.connect();
    let error = errors.recv_timeout(PATIENCE).unwrap();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let took = start.elapsed();
    assert!(took + TICK * 2 >= Duration::from_secs(1) && took < at_most(Duration::from_secs(3)), "{took:?}");
}

#[test]
fn a_client_that_reads_a_byte_a_second_is_cut_within_the_write_timeout() {
    let (handler, errors) = endless_writer();
    let server = TestServer::with(Limits { write_timeout: Duration::from_secs(2), ..limits() }, handler);
    let client = server.connect();
    let start = Instant::now();
    let error = loop {
        // Fails with a reset once the server has cut the connection.
        let _ = (&client.stream).read(&mut [0]);
        if let Ok(error) = errors.recv_timeout(Duration::from_secs(1)) {
            break error;
        }
        assert!(start.elapsed() < Duration::from_secs(6), "still being served");
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_client_that_reads_slowly_but_in_time_gets_everything() {
    let server =
        TestServer::with(Limits { write_timeout: Duration::from_secs(10), ..limits() }, |client: &mut Connection| {
            client.write_all(&vec![b's'; 20 << 20])
        });
    let client = server.connect();
    let mut buffer = vec![0; 1 << 20];
    let mut got = 0;
    loop {
        match (&client.stream).read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {got} bytes"),
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(got, 20 << 20);
}

/// Makes the peer unreachable: from now on the kernel drops every packet that arrives for `stream`.
fn vanish(stream: &TcpStream) {
    // A classic BPF program of one instruction, BPF_RET | BPF_K, which accepts 0 bytes of each packet.
    SockRef::from(stream).attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap();
}

#[test]
fn keepalive_closes_a_vanished_peer_in_time() {
    let server = TestServer::with(Limits { keepalive: Duration::from_secs(2), ..limits() }, Echo);
    let mut client = server.connect();
    client.send("x");
    client.expect("x");
    let start = Instant::now();
    vanish(&client.stream);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the vanished peer is closed", || !logged(&["closed", &peer, "lost: timed out"]).is_empty());
    let took = start.elapsed();
    assert!(took > Duration::from_secs(1) && took < at_most(Duration::from_secs(5)), "{took:?}");
}

#[test]
fn a_peer_that_vanishes_before_it_acknowledges_a_reply_is_closed() {
    let server =
        TestServer::with(Limits { keepalive: Duration::from_secs(2), ..limits() }, |client: &mut Connection| {
            while client.read_line()?.is_some() {
                // The client vanishes during this pause.
                thread::park_timeout(Duration::from_millis(200));
                writeln!(client, "a reply that nobody acknowledges")?;
            }
            Ok(())
        });
    let mut client = server.connect();
    client.send("question\n");
    vanish(&client.stream);
    let start = Instant::now();
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the vanished peer is closed", || !logged(&["closed", &peer, "lost: timed out"]).is_empty());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_handler_that_ignores_a_write_timeout_gets_no_more_requests() {
    let (error_sender, errors) = mpsc::channel();
    let limits = Limits { write_timeout: Duration::from_millis(300), ..limits() };
    let server = TestServer::with(limits, move |client: &mut Connection| {
        client.read_line()?;
        let write = client.write_all(&vec![b'x'; 64 << 20]).unwrap_err().kind();
        error_sender.send((write, client.read_line().unwrap_err().kind())).unwrap();
        Ok(())
    });
    let mut client = server.connect();
    client.send("first\nDELETE everything\n");
    assert_eq!(errors.recv_timeout(PATIENCE).unwrap(), (io::ErrorKind::TimedOut, io::ErrorKind::TimedOut));
}

#[test]
fn the_idle_timeout_applies_to_a_client_that_never_sends() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(300)), ..limits() };
    let server = TestServer::with(limits, Line::default());
    let mut client: Client = server.connect();
    assert_eq!(client.rest(), "ERROR nothing was sent for 300ms, closing\r\n");
}

#[test]
fn the_request_timeout_applies_to_a_client_that_sends_without_pause() {
    let limits = Limits { request_timeout: Duration::from_millis(500), max_line: 1 << 30, ..limits() };
    let server = TestServer::with(limits, |client: &mut Connection| client.read_line().map(drop));
    let mut client = server.connect();
    let start = Instant::now();
    while client.stream.write_all(b"x").is_ok() {
        assert!(start.elapsed() < PATIENCE, "still being served");
    }
}
