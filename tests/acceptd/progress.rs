//! Slow clients: a client must make progress, and only the time spent waiting for it counts.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Next};
use socket2::SockRef;

use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

fn connect_with_small_buffer(server: &TestServer, bytes: usize) -> Client {
    Client::connect_with_buffer(server.addr, bytes)
}

/// Reads up to `bytes` at a time, with a pause after each read. Returns the total when the connection ends.
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
fn an_unflushed_stream_may_last_many_write_timeouts_while_its_client_reads() {
    const SIZE: usize = 3 << 20;
    let timeout = Duration::from_secs(1);
    let server = TestServer::with(Limits { write_timeout: timeout, ..Limits::default() }, |client: &mut Connection| {
        io::copy(&mut io::repeat(b's').take(SIZE as u64), client).map(drop)
    });
    let mut client = connect_with_small_buffer(&server, 32 << 10);
    let start = Instant::now();
    let read = read_slowly(&mut client, 16 << 10, Duration::from_millis(20)).unwrap();
    assert_eq!(read, SIZE);
    assert!(start.elapsed() > 3 * timeout, "{:?} is too quick to show anything", start.elapsed());
}

#[test]
fn a_client_below_the_minimum_progress_per_write_timeout_is_cut() {
    let timeout = Duration::from_secs(1);
    let server = TestServer::with(Limits { write_timeout: timeout, ..Limits::default() }, |client: &mut Connection| {
        io::copy(&mut io::repeat(b's'), client).map(drop)
    });
    let mut client = connect_with_small_buffer(&server, 2304);
    let start = Instant::now();
    let error = read_slowly(&mut client, 64, Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn handler_time_during_a_reply_does_not_count_against_the_write_timeout() {
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
fn handler_time_during_a_request_does_not_count_against_the_request_timeout() {
    let timeout = Duration::from_millis(500);
    let (computed, has_computed) = mpsc::channel();
    let limits = Limits { request_timeout: timeout, ..Limits::default() };
    let server = TestServer::with(limits, move |client: &mut Connection| {
        let line = |unread: &[u8]| unread.ends_with(b"\n").then_some(((), unread.len()));
        // Returns at the deadline with half of a request. Then the handler does something else.
        while client.read_request_until(Some(Instant::now() + timeout / 10), 100, line)? != Next::Deadline {}
        thread::park_timeout(2 * timeout);
        computed.send(()).unwrap();
        client.read_request(100, line)?;
        writeln!(client, "done")
    });
    let mut client = server.connect();
    client.send("half");
    has_computed.recv_timeout(PATIENCE).unwrap();
    thread::park_timeout(timeout / 10);
    client.send(" and half\n");
    client.expect("done\n");
}

#[test]
fn the_kernel_buffers_little_for_a_client_that_never_reads() {
    let server = TestServer::with(
        Limits { write_timeout: Duration::from_millis(300), ..Limits::default() },
        |client: &mut Connection| io::copy(&mut io::repeat(b's'), client).map(drop),
    );
    let client = connect_with_small_buffer(&server, 2304);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    eventually("the client is cut", || !logged(&["closed", &peer]).is_empty());
    let line = logged(&["closed", &peer])[0].1.clone();
    let sent: usize = line.rsplit_once("out=").unwrap().1.parse().unwrap();
    assert!(sent <= 128 << 10, "{line}");
}

#[test]
fn short_deadlines_of_a_handler_do_not_delay_the_idle_timeout() {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(1)), ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        loop {
            // Shorter than a tick of the kernel's clock.
            let soon = Instant::now() + Duration::from_micros(100);
            client.read_request_until(Some(soon), 100, |_: &[u8]| None::<((), usize)>)?;
        }
    });
    let start = Instant::now();
    assert_eq!(server.connect().rest(), "ERROR nothing was sent for 1s, closing\n");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn urgent_data_stays_in_the_stream() {
    let server = TestServer::start(Echo);
    let mut client = server.connect();
    assert_eq!(SockRef::from(&client.stream).send_out_of_band(b"abc").unwrap(), 3);
    client.send("def");
    client.end_output();
    assert_eq!(client.rest(), "abcdef");
}

#[cfg(feature = "daemon")]
#[test]
fn interrupted_waits_do_not_extend_the_idle_timeout() {
    use rustix::process::Signal;

    use crate::support::daemon::Daemon;

    let daemon = Daemon::start(&["--idle-timeout", "1s"]);
    let client = daemon.connect();
    client.stream.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut farewell = [0; 100];
    // Each pair of signals interrupts the client thread's wait (EINTR) long before its timeout.
    while (&client.stream).read(&mut farewell).is_err() {
        daemon.signal(Signal::STOP);
        daemon.signal(Signal::CONT);
        thread::park_timeout(Duration::from_millis(100));
        assert!(start.elapsed() < PATIENCE, "the idle timeout never fires");
    }
    assert!(farewell.starts_with(b"ERROR nothing was sent for 1s"));
}

#[test]
fn a_steady_reader_gets_everything_when_its_connection_ends() {
    let timeout = Duration::from_secs(1);
    let limits = Limits { write_timeout: timeout, ..Limits::default() };
    // The kernel accepts the whole reply, so only the close waits for the client.
    let server = TestServer::with(limits, |client: &mut Connection| client.write_all(&[b'r'; 40_000]));
    let mut client = connect_with_small_buffer(&server, 2304);
    let start = Instant::now();
    // 8 KB per write timeout, twice the minimum progress.
    assert_eq!(read_slowly(&mut client, 800, timeout / 10).unwrap(), 40_000);
    assert!(start.elapsed() > 4 * timeout, "{:?} is too quick to show anything", start.elapsed());
}
