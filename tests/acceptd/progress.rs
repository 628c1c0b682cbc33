//! Slow clients: what counts is that they take what they are sent, and only the time that is spent waiting for them.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Next};
use socket2::SockRef;

use crate::support::daemon::Daemon;
use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

fn with_small_buffer(server: &TestServer, bytes: usize) -> Client {
    Client::connect_with_buffer(server.addr, bytes)
}

/// Reads so many bytes at a time, with a pause after each: how many there were until the end.
fn read_slowly(client: &mut Client, bytes: usize, pause: Duration) -> io::Result<usize> {
    let (mut total, mut buffer) = (0, vec![0; bytes]);
    loop {
        match client.stream.read(&mut buffer)? {
            0 => return Ok(total),
            count => total += count,
        }
        thread::park_timeout(pause);
    }
}

#[test]
fn a_stream_without_a_flush_goes_on_for_many_write_timeouts_while_its_client_reads() {
    const SIZE: usize = 3 << 20;
    let timeout = Duration::from_secs(1);
    let server = TestServer::with(Limits { write_timeout: timeout, ..Limits::default() }, |client: &mut Connection| {
        io::copy(&mut io::repeat(b's').take(SIZE as u64), client).map(drop)
    });
    let mut client = with_small_buffer(&server, 32 << 10);
    let start = Instant::now();
    let read = read_slowly(&mut client, 16 << 10, Duration::from_millis(20)).unwrap();
    assert_eq!(read, SIZE);
    assert!(start.elapsed() > 3 * timeout, "{:?} is too quick to show anything", start.elapsed());
}

#[test]
fn a_client_that_takes_less_than_the_least_progress_in_a_write_timeout_is_cut() {
    let timeout = Duration::from_secs(1);
    let server = TestServer::with(Limits { write_timeout: timeout, ..Limits::default() }, |client: &mut Connection| {
        io::copy(&mut io::repeat(b's'), client).map(drop)
    });
    let mut client = with_small_buffer(&server, 2304);
    let start = Instant::now();
    let error = read_slowly(&mut client, 64, Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn the_time_that_a_handler_computes_in_the_middle_of_a_reply_is_not_its_clients() {
    let timeout = Duration::from_millis(500);
    let server =
        TestServer::with(Limits { write_timeout: timeout, ..Limits::default() }, move |client: &mut Connection| {
            client.write_all(&[b'x'; 100_000])?;
            thread::park_timeout(2 * timeout);
            client.write_all(&vec![b'x'; 5 << 20])
        });
    assert_eq!(server.connect().rest().len(), 100_000 + (5 << 20));
}

#[test]
fn the_time_that_a_handler_computes_in_the_middle_of_a_request_is_not_its_clients() {
    let timeout = Duration::from_millis(500);
    let (tell, told) = mpsc::channel();
    let limits = Limits { request_timeout: timeout, ..Limits::default() };
    let server = TestServer::with(limits, move |client: &mut Connection| {
        let line = |unread: &[u8]| unread.ends_with(b"\n").then_some(((), unread.len()));
        // Half of the request has come, and the handler has something else to do.
        while client.read_request_until(Some(Instant::now() + timeout / 10), 100, line)? != Next::Deadline {}
        thread::park_timeout(2 * timeout);
        tell.send(()).unwrap();
        client.read_request(100, line)?;
        writeln!(client, "done")
    });
    let mut client = server.connect();
    client.send("half");
    told.recv_timeout(PATIENCE).unwrap();
    thread::park_timeout(timeout / 10);
    client.send(" and half\n");
    client.expect("done\n");
}

#[test]
fn the_kernel_holds_little_for_a_client_that_never_reads() {
    let server = TestServer::with(
        Limits { write_timeout: Duration::from_millis(300), ..Limits::default() },
        |client: &mut Connection| io::copy(&mut io::repeat(b's'), client).map(drop),
    );
    let client = with_small_buffer(&server, 2304);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("it is cut", || !logged(&["closed", &peer]).is_empty());
    let line = logged(&["closed", &peer])[0].1.clone();
    let sent: usize = line.rsplit_once("out=").unwrap().1.parse().unwrap();
    assert!(sent <= 128 << 10, "{line}");
}

#[test]
fn short_deadlines_of_a_handler_do_not_make_the_idle_timeout_late() {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(1)), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        loop {
            // Shorter than the kernel's clock ticks.
            let soon = Instant::now() + Duration::from_micros(100);
            client.read_request_until(Some(soon), 100, |_: &[u8]| None::<((), usize)>)?;
        }
    });
    let start = Instant::now();
    assert_eq!(server.connect().rest(), "ERROR nothing was sent for 1s, closing\n");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn urgent_data_stay_in_the_stream() {
    let server = TestServer::start(Echo);
    let mut client = server.connect();
    assert_eq!(SockRef::from(&client.stream).send_out_of_band(b"abc").unwrap(), 3);
    client.send("def");
    client.end_output();
    assert_eq!(client.rest(), "abcdef");
}

#[test]
fn a_program_that_is_stopped_now_and_then_still_closes_those_who_are_silent() {
    use rustix::process::Signal;
    let daemon = Daemon::start(&["--idle-timeout", "1s"]);
    let client = daemon.connect();
    client.stream.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut farewell = [0; 100];
    // Each time, the wait of the client's thread is interrupted (EINTR) long before it is over.
    while (&client.stream).read(&mut farewell).is_err() {
        daemon.signal(Signal::STOP);
        daemon.signal(Signal::CONT);
        thread::park_timeout(Duration::from_millis(100));
        assert!(start.elapsed() < PATIENCE, "the silence never ends");
    }
    assert!(farewell.starts_with(b"ERROR nothing was sent for 1s"));
}

#[test]
fn a_client_that_reads_steadily_gets_the_rest_when_its_connection_ends() {
    let timeout = Duration::from_secs(1);
    let limits = Limits { write_timeout: timeout, ..Limits::default() };
    // The kernel accepts all of it, so only the end of the connection waits for the client.
    let server = TestServer::with(limits, |client: &mut Connection| client.write_all(&[b'r'; 40_000]));
    let mut client = with_small_buffer(&server, 2304);
    let start = Instant::now();
    // 8 KB within each timeout, twice the least progress.
    assert_eq!(read_slowly(&mut client, 800, timeout / 10).unwrap(), 40_000);
    assert!(start.elapsed() > 4 * timeout, "{:?} is too quick to show anything", start.elapsed());
}
