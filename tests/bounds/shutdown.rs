//! Shutdown keeps its deadline, whatever clients do and whenever it is requested.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Line, Server};

use crate::alone;
use crate::support::machine::at_most;
use crate::support::{Client, PATIENCE, TestServer, collect_log};

const DRAIN: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(100);

fn limits() -> Limits {
    Limits { drain_timeout: DRAIN, idle_timeout: None, write_timeout: PATIENCE * 5, ..Limits::default() }
}

/// Requests a shutdown. Returns the time until the server has ended.
fn time_to_end(mut server: TestServer) -> Duration {
    let start = Instant::now();
    server.shutdown.request();
    server.wait();
    start.elapsed()
}

/// Checks a measured drain. A late end is measured again, because the machine does other work. An early end fails at once.
fn assert_deadline_kept(measure: impl Fn() -> Duration) {
    let mut took = Duration::MAX;
    for _ in 0..3 {
        took = measure();
        assert!(took >= DRAIN, "ended after {took:?}");
        if took <= at_most(DRAIN + SLACK) {
            return;
        }
    }
    panic!("ended after {took:?}");
}

#[test]
fn idle_silent_and_mid_request_clients_do_not_delay_shutdown() {
    let _alone = alone();
    let server = TestServer::with(limits(), Line::default());
    let mut idle = server.connect();
    idle.send("ECHO a\n");
    idle.expect("a\n");
    let _silent = server.connect();
    let mut half = server.connect();
    half.send("ECHO half a li");
    let mut last = server.connect();
    last.send("ECHO b\n");
    last.expect("b\n");
    let took = time_to_end(server);
    assert!(took < at_most(DRAIN / 2), "ended after {took:?}");
}

#[test]
fn a_client_that_never_reads_is_cut_at_the_deadline() {
    let _alone = alone();
    assert_deadline_kept(|| {
        let (begun, has_begun) = mpsc::channel();
        let server = TestServer::with(limits(), move |client: &mut Connection| {
            begun.send(()).unwrap();
            client.write_all(&vec![b'x'; 64 << 20])
        });
        let _client = server.connect();
        has_begun.recv_timeout(PATIENCE).unwrap();
        time_to_end(server)
    });
}

#[test]
fn a_client_that_never_stops_sending_ends_by_the_deadline() {
    let _alone = alone();
    let server = TestServer::with(limits(), Echo);
    let client = server.connect();
    let mut sending = client.stream.try_clone().unwrap();
    let mut reading = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || while sending.write_all(&[b'x'; 1 << 16]).is_ok() {});
    let (flows, flowing) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut got = 0;
        loop {
            match reading.read(&mut buffer) {
                Ok(count @ 1..) => got += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
            if got > 1 << 20 {
                let _ = flows.send(());
            }
        }
    });
    flowing.recv_timeout(PATIENCE).unwrap();
    let took = time_to_end(server);
    assert!(took <= at_most(DRAIN + SLACK), "ended after {took:?}");
    reader.join().unwrap();
    sender.join().unwrap();
}

#[test]
fn a_client_in_a_busy_handler_is_cut_at_the_deadline_with_a_farewell() {
    let _alone = alone();
    assert_deadline_kept(|| {
        let (begun, has_begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        let server = TestServer::with(limits(), move |client: &mut Connection| {
            client.fill_buf()?;
            begun.send(()).unwrap();
            let _ = ended.lock().unwrap().recv_timeout(PATIENCE);
            Ok(())
        });
        let mut client = server.connect();
        client.send("x");
        has_begun.recv_timeout(PATIENCE).unwrap();
        let took = time_to_end(server);
        assert_eq!(client.rest(), "ERROR the server is shutting down\n");
        let _ = end.send(());
        took
    });
}

#[test]
fn clients_in_the_backlog_do_not_delay_shutdown() {
    let _alone = alone();
    collect_log();
    let server = Server::bind("127.0.0.1:0", limits()).unwrap();
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(server.local_addr())).collect();
    for client in &mut clients[..100] {
        client.send("ECHO a\n");
    }
    let shutdown = server.shutdown();
    let start = Instant::now();
    shutdown.request();
    server.run(Line::default());
    assert!(start.elapsed() < at_most(DRAIN), "ended after {:?}", start.elapsed());
    for client in &mut clients {
        assert_eq!(client.rest(), "ERROR the server is shutting down\r\n");
    }
}

/// Connects repeatedly until `stop` is set. A connection that neither ends nor answers was left open by the server.
fn connect_until(addr: std::net::SocketAddr, stop: &AtomicBool, served: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(stream) = TcpStream::connect(addr) else { continue };
        let mut client = Client::from_stream(stream);
        client.try_send("x");
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        let mut got = Vec::new();
        match client.stream.read_to_end(&mut got) {
            Ok(_) => assert!([&b""[..], b"x", b"ERROR the server is shutting down\n"].contains(&&*got), "{got:?}"),
            Err(error) => assert!(!is_timeout(&error), "a connection was left open"),
        }
        served.fetch_add(u64::from(got == b"x"), Ordering::Relaxed);
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[test]
fn a_thousand_shutdowns_at_random_instants_leave_no_connection_open() {
    let _alone = alone();
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let served = Arc::new(AtomicU64::new(0));
    for round in 0..1000 {
        let server = TestServer::with(Limits { drain_timeout: PATIENCE, ..limits() }, Echo);
        let (addr, stop) = (server.addr, Arc::new(AtomicBool::new(false)));
        let crowd: Vec<_> = (0..3)
            .map(|_| {
                let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
                thread::spawn(move || connect_until(addr, &stop, &served))
            })
            .collect();
        // Xorshift: about the same instants in each run of the test.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let until = Instant::now() + Duration::from_micros(random % 3000);
        while Instant::now() < until {
            thread::yield_now();
        }
        let took = time_to_end(server);
        assert!(took < PATIENCE / 2, "round {round} took {took:?}");
        stop.store(true, Ordering::Relaxed);
        crowd.into_iter().for_each(|thread| thread.join().unwrap());
    }
    assert!(served.load(Ordering::Relaxed) > 1000, "clients were served in between");
}
