//! Shutdown: which requests finish, which clients are cut, and that `run` returns. `tests/bounds` measures the drain
//! deadline, because nothing else runs at the same time there.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Line};
use socket2::SockRef;

use crate::support::{Client, PATIENCE, TestServer, logged};

fn long_drain_limits() -> Limits {
    Limits { drain_timeout: PATIENCE * 5, idle_timeout: None, ..Limits::default() }
}

/// A client that a handler serves.
fn served(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("ECHO hi\n");
    client.line();
    client
}

#[test]
fn idle_clients_are_closed_at_once_with_a_farewell() {
    let server = TestServer::with(long_drain_limits(), Line::default());
    let mut clients: Vec<Client> = (0..20).map(|_| served(&server)).collect();
    let mut silent = server.connect();
    let probe = served(&server);
    drop(probe);
    let start = Instant::now();
    let summary = server.stop();
    assert!(start.elapsed() < PATIENCE, "long before the drain deadline");
    assert_eq!(summary.cut, 0);
    assert!(summary.drained >= 21, "{summary:?}");
    for client in &mut clients {
        assert_eq!(client.rest(), "ERROR the server is shutting down\r\n");
    }
    assert_eq!(silent.rest(), "ERROR the server is shutting down\r\n");
}

#[test]
fn an_echo_client_gets_no_farewell() {
    let server = TestServer::with(long_drain_limits(), Echo);
    let mut client = server.connect();
    client.send("x");
    client.expect("x");
    server.stop();
    assert_eq!(client.rest(), "");
}

#[test]
fn an_incomplete_line_is_not_executed_and_its_client_is_closed_at_once() {
    let server = TestServer::with(long_drain_limits(), Line::default());
    let mut client = served(&server);
    client.send("UPPER half a li");
    // The half line has arrived once a later client is served.
    served(&server);
    assert_eq!(server.stop().cut, 0);
    assert_eq!(client.rest(), "ERROR the server is shutting down\r\n");
}

/// A handler that replies to each line when the test lets it continue.
fn paused_handler() -> (impl Fn(&mut Connection) -> io::Result<()> + Send + Sync, mpsc::Receiver<()>, mpsc::Sender<()>)
{
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let handler = move |client: &mut Connection| {
        while let Some(line) = client.read_line()? {
            let _ = begun.send(());
            let _ = may_go_on.lock().map(|wait| wait.recv_timeout(PATIENCE * 10));
            client.write_all(&line)?;
            writeln!(client)?;
        }
        Ok(())
    };
    (handler, has_begun, go_on)
}

#[test]
fn shutdown_lets_a_request_in_progress_finish() {
    let (handler, has_begun, go_on) = paused_handler();
    let mut server = TestServer::with(long_drain_limits(), handler);
    let mut client = server.connect();
    client.send("question\nand another\n");
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(
        client.rest(),
        "question\nand another\nERROR the server is shutting down\n",
        "requests that had arrived are answered"
    );
    assert_eq!(server.wait().drained, 1);
}

#[test]
fn a_client_that_has_half_closed_gets_its_replies_and_no_farewell() {
    let (handler, has_begun, go_on) = paused_handler();
    let mut server = TestServer::with(long_drain_limits(), handler);
    let mut client = server.connect();
    client.send("question\n");
    client.end_output();
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    go_on.send(()).unwrap();
    assert_eq!(client.rest(), "question\n");
    assert_eq!(server.wait().drained, 1);
}

#[test]
fn requests_sent_after_the_shutdown_are_not_answered() {
    let (handler, has_begun, go_on) = paused_handler();
    let mut server = TestServer::with(long_drain_limits(), handler);
    let mut client = server.connect();
    client.send("before\n");
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    go_on.send(()).unwrap();
    client.expect("before\n");
    for _ in 0..100 {
        client.try_send("after\n");
    }
    assert_eq!(client.rest(), "ERROR the server is shutting down\n");
    assert_eq!(server.wait().drained, 1);
}

#[test]
fn cut_ends_the_drain_at_once_and_a_busy_client_gets_a_farewell() {
    let (handler, has_begun, _go_on) = paused_handler();
    let mut server = TestServer::with(long_drain_limits(), handler);
    let mut client = server.connect();
    client.send("question\n");
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    server.shutdown.cut();
    let summary = server.wait();
    assert_eq!((summary.drained, summary.cut, summary.stuck), (0, 1, 1));
    assert_eq!(client.rest(), "ERROR the server is shutting down\n");
}

#[test]
fn a_reply_that_was_cut_short_is_not_followed_by_a_farewell() {
    let limits =
        Limits { drain_timeout: Duration::from_millis(200), write_timeout: PATIENCE * 5, ..long_drain_limits() };
    let mut server = TestServer::with(limits, move |client: &mut Connection| {
        client.write_all(b"r")?;
        client.flush()?;
        client.write_all(&vec![b'r'; 64 << 20])
    });
    let mut client = server.connect();
    // The second byte belongs to the reply that is cut short. Before that reply begins, a farewell would be allowed.
    client.expect("rr");
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    let mut got = Vec::new();
    let end = client.stream.read_to_end(&mut got).unwrap_err();
    assert_eq!(
        end.kind(),
        ErrorKind::ConnectionReset,
        "the client must not mistake the incomplete reply for a complete one"
    );
    assert!(got.len() < 64 << 20 && got.iter().all(|&byte| byte == b'r'));
}

/// A reply that the kernel accepts whole, but can't deliver whole to a client with a small buffer that does not read.
const LARGE_REPLY: usize = 70_000;

#[test]
fn a_complete_reply_arrives_whole_even_if_its_client_keeps_sending() {
    let (answered, has_answered) = mpsc::channel();
    let mut server = TestServer::with(long_drain_limits(), move |client: &mut Connection| {
        while client.read_line()?.is_some() {
            client.write_all(&vec![b'r'; LARGE_REPLY])?;
            client.flush()?;
            let _ = answered.send(());
        }
        Ok(())
    });
    let mut client = server.connect();
    SockRef::from(&client.stream).set_recv_buffer_size(32 * 1024).unwrap();
    client.send("question\n");
    has_answered.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    // The server's thread waits for the next request. More input must not reset the connection before the reply arrives.
    for _ in 0..10 {
        client.send("half of another ");
        thread::park_timeout(Duration::from_millis(10));
    }
    let rest = client.rest();
    let expected = ["r".repeat(LARGE_REPLY), "ERROR the server is shutting down\n".to_owned()].concat();
    assert!(rest == expected, "{} bytes instead of {}: {:?}", rest.len(), expected.len(), logged(&["closed", "500"]));
    assert_eq!(server.wait().drained, 1);
}

#[test]
fn every_executed_request_of_a_pipelining_client_is_answered_during_shutdown() {
    for round in 0..20 {
        let executed = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&executed);
        let mut server = TestServer::with(long_drain_limits(), move |client: &mut Connection| {
            while let Some(line) = client.read_line()? {
                counter.fetch_add(1, Ordering::Relaxed);
                client.write_all(&line)?;
                client.write_all(b"\n")?;
            }
            Ok(())
        });
        let client = server.connect();
        let mut sending = client.stream.try_clone().unwrap();
        let sender = thread::spawn(move || while sending.write_all(&b"a request\n".repeat(500)).is_ok() {});
        let mut reader = BufReader::new(client.stream);
        let (mut answered, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) && line == "a request\n" {
            answered += 1;
            line.clear();
            if answered == 5_000 + 777 * round {
                server.shutdown.request();
            }
        }
        server.wait();
        assert_eq!(answered, executed.load(Ordering::Relaxed), "answered and executed, round {round}");
        assert_eq!(line, "ERROR the server is shutting down\n");
        drop(reader);
        sender.join().unwrap();
    }
}

#[test]
fn a_cut_does_not_discard_complete_replies() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..long_drain_limits() };
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let mut server = TestServer::with(limits, move |client: &mut Connection| {
        client.write_all(&vec![b'r'; 100_000])?;
        client.flush()?;
        begun.send(()).unwrap();
        let _ = ended.lock().unwrap().recv_timeout(PATIENCE);
        Ok(())
    });
    let mut client = server.connect();
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    let rest = client.rest();
    assert!(rest.starts_with(&"r".repeat(100_000)) && rest.ends_with("rERROR the server is shutting down\n"));
    let _ = end.send(());
}

#[test]
fn a_farewell_is_never_sent_between_two_parts_of_a_reply() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..long_drain_limits() };
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let mut server = TestServer::with(limits, move |client: &mut Connection| {
        // More than the server buffers, so a part is sent before the rest is written.
        client.write_all(&vec![b'r'; 70_000])?;
        begun.send(()).unwrap();
        let _ = ended.lock().unwrap().recv_timeout(PATIENCE);
        client.write_all(b"the rest")
    });
    let mut client = server.connect();
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    let _ = end.send(());
    let mut got = Vec::new();
    let _ = client.stream.read_to_end(&mut got);
    assert!(got.iter().all(|&byte| byte == b'r'), "{:?}", String::from_utf8_lossy(&got[got.len() - 50..]));
}

#[test]
fn a_client_closed_by_a_drain_is_logged_as_drained() {
    let server = TestServer::with(long_drain_limits(), |client: &mut Connection| client.read_exact(&mut [0; 10]));
    let mut client = server.connect();
    client.send("four");
    let peer = client.stream.local_addr().unwrap().to_string();
    crate::support::eventually("the client is served", || !logged(&["opened", &peer]).is_empty());
    assert_eq!(server.stop().drained, 1);
    assert_eq!(logged(&["closed", &peer, "drained"]).len(), 1);
}

#[test]
fn shutdown_before_the_first_client_ends_at_once() {
    let server = TestServer::with(long_drain_limits(), Echo);
    assert_eq!(server.stop().stats.served, 0);
}

#[test]
fn shutdown_from_inside_a_handler_works() {
    let (handle_sender, handles) = mpsc::channel::<acceptd::Shutdown>();
    let handles = Mutex::new(handles);
    let mut server = TestServer::with(long_drain_limits(), move |client: &mut Connection| {
        let shutdown = handles.lock().unwrap().recv().unwrap();
        shutdown.request();
        writeln!(client, "draining: {}", client.is_draining())
    });
    handle_sender.send(server.shutdown.clone()).unwrap();
    let mut client = server.connect();
    assert_eq!(client.rest(), "draining: true\n");
    server.wait();
}

#[test]
fn the_log_reports_the_start_and_result_of_a_drain() {
    let limits = Limits { drain_timeout: Duration::from_millis(12_345), ..long_drain_limits() };
    let server = TestServer::with(limits, Echo);
    let mut clients: Vec<Client> = (0..3).map(|_| served_by_echo(&server)).collect();
    let summary = server.stop();
    assert_eq!(logged(&["draining 3 connections, at most 12.3 s"]).len(), 1);
    assert_eq!(logged(&[&summary.to_string()]).len(), 1);
    assert!(summary.to_string().starts_with("drained 3, cut 0; in all 3 served, 0 refused"), "{summary}");
    clients.clear();
}

fn served_by_echo(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("x");
    client.expect("x");
    client
}

#[test]
fn clients_in_the_backlog_get_a_farewell() {
    use acceptd::Server;
    let server = Server::bind("127.0.0.1:0", long_drain_limits()).unwrap();
    let (address, shutdown) = (server.local_addr(), server.shutdown());
    // The server does not accept yet.
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(address)).collect();
    shutdown.request();
    let summary = server.run(Line::default());
    assert_eq!((summary.stats.served, summary.stats.refused), (0, 10));
    for client in &mut clients {
        assert_eq!(client.rest(), "ERROR the server is shutting down\r\n");
    }
}

#[test]
fn a_handler_that_goes_on_after_the_drain_deadline_is_cut_and_stuck() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let limits = Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::with(limits, move |client: &mut Connection| {
        let _work = client.keep_reading();
        client.write_all(b"begin\n")?;
        assert_eq!(client.read_line_until(None)?, acceptd::Next::Draining);
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        Ok(())
    });
    let mut client = server.connect();
    client.expect("begin\n");
    let summary = server.stop();
    assert_eq!((summary.drained, summary.cut, summary.stuck), (0, 1, 1));
    assert_eq!(client.rest(), "ERROR the server is shutting down\n");
    drop(go_on);
}
