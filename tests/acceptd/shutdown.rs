//! The end of a server: who may finish, who is cut, and that it does end. How exactly it keeps its deadline is in
//! `tests/bounds`, where nothing else runs beside.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Line};
use socket2::SockRef;

use crate::support::{Client, PATIENCE, TestServer, logged};

fn patient() -> Limits {
    Limits { drain_timeout: PATIENCE * 5, idle_timeout: None, ..Limits::default() }
}

fn served(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("ECHO hi\n");
    client.line();
    client
}

#[test]
fn idle_clients_leave_at_once_and_are_told() {
    let server = TestServer::with(patient(), Line::default());
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
fn an_echo_is_never_followed_by_words_that_were_not_sent() {
    let server = TestServer::with(patient(), Echo);
    let mut client = server.connect();
    client.send("x");
    client.expect("x");
    server.stop();
    assert_eq!(client.rest(), "");
}

#[test]
fn a_client_in_the_middle_of_a_line_leaves_at_once_and_the_half_is_not_carried_out() {
    let server = TestServer::with(patient(), Line::default());
    let mut client = served(&server);
    client.send("UPPER half a li");
    // The half has arrived when a client that came later is served.
    served(&server);
    assert_eq!(server.stop().cut, 0);
    assert_eq!(client.rest(), "ERROR the server is shutting down\r\n");
}

/// A handler that answers a line when it is let go on.
fn held() -> (impl Fn(&mut Connection) -> io::Result<()> + Send + Sync, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (go_on, going_on) = mpsc::channel();
    let going_on = Arc::new(Mutex::new(going_on));
    let handler = move |client: &mut Connection| {
        while let Some(line) = client.read_line()? {
            let _ = begun.send(());
            let _ = going_on.lock().map(|wait| wait.recv_timeout(PATIENCE * 10));
            client.write_all(&line)?;
            writeln!(client)?;
        }
        Ok(())
    };
    (handler, has_begun, go_on)
}

#[test]
fn shutdown_lets_a_request_in_progress_finish() {
    let (handler, has_begun, go_on) = held();
    let mut server = TestServer::with(patient(), handler);
    let mut client = server.connect();
    client.send("question\nand another\n");
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(
        client.rest(),
        "question\nand another\nERROR the server is shutting down\n",
        "what had arrived is answered"
    );
    assert_eq!(server.wait().drained, 1);
}

#[test]
fn a_client_that_leaves_by_itself_in_a_drain_gets_its_answers_and_no_word_more() {
    let (handler, has_begun, go_on) = held();
    let mut server = TestServer::with(patient(), handler);
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
fn what_comes_after_the_shutdown_is_not_answered() {
    let (handler, has_begun, go_on) = held();
    let mut server = TestServer::with(patient(), handler);
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
fn a_second_request_cuts_at_once_and_a_busy_client_is_told() {
    let (handler, has_begun, _go_on) = held();
    let mut server = TestServer::with(patient(), handler);
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
fn a_reply_that_was_cut_short_is_not_followed_by_words() {
    let limits = Limits { drain_timeout: Duration::from_millis(200), write_timeout: PATIENCE * 5, ..patient() };
    let mut server = TestServer::with(limits, move |client: &mut Connection| {
        client.write_all(b"r")?;
        client.flush()?;
        client.write_all(&vec![b'r'; 64 << 20])
    });
    let mut client = server.connect();
    // The second of them belongs to the reply that is to be cut short. Before it has begun, words may be said.
    client.expect("rr");
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    let mut got = Vec::new();
    let end = client.stream.read_to_end(&mut got).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset, "the client must not take the part for the whole");
    assert!(got.len() < 64 << 20 && got.iter().all(|&byte| byte == b'r'));
}

/// A reply that the kernel accepts whole, and can't send all of to a client with a small buffer that does not read.
const LARGE: usize = 70_000;

#[test]
fn a_reply_that_is_complete_arrives_whole_although_its_client_goes_on_sending() {
    let (answered, has_answered) = mpsc::channel();
    let mut server = TestServer::with(patient(), move |client: &mut Connection| {
        while client.read_line()?.is_some() {
            client.write_all(&vec![b'r'; LARGE])?;
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
    // The server's thread waits for the next request, and is not to be disturbed before its client has the reply.
    for _ in 0..10 {
        client.send("half of another ");
        thread::park_timeout(Duration::from_millis(10));
    }
    let rest = client.rest();
    let expected = ["r".repeat(LARGE), "ERROR the server is shutting down\n".to_owned()].concat();
    assert!(rest == expected, "{} bytes instead of {}: {:?}", rest.len(), expected.len(), logged(&["closed", "500"]));
    assert_eq!(server.wait().drained, 1);
}

#[test]
fn every_request_that_was_carried_out_is_answered_to_a_client_that_pipelines_through_the_shutdown() {
    for round in 0..20 {
        let carried_out = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&carried_out);
        let mut server = TestServer::with(patient(), move |client: &mut Connection| {
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
        assert_eq!(answered, carried_out.load(Ordering::Relaxed), "answered and carried out, round {round}");
        assert_eq!(line, "ERROR the server is shutting down\n");
        drop(reader);
        sender.join().unwrap();
    }
}

#[test]
fn a_cut_takes_back_nothing_that_was_complete() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..patient() };
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
fn words_never_come_between_two_parts_of_a_reply() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..patient() };
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let mut server = TestServer::with(limits, move |client: &mut Connection| {
        // More than is held back, so a part of it is on its way; the rest would follow.
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
fn a_client_that_leaves_in_a_drain_is_not_blamed_for_it() {
    let server = TestServer::with(patient(), |client: &mut Connection| client.read_exact(&mut [0; 10]));
    let mut client = server.connect();
    client.send("four");
    let peer = client.stream.local_addr().unwrap().to_string();
    crate::support::eventually("the client is served", || !logged(&["opened", &peer]).is_empty());
    assert_eq!(server.stop().drained, 1);
    assert_eq!(logged(&["closed", &peer, "drained"]).len(), 1);
}

#[test]
fn shutdown_before_the_first_client_ends_at_once() {
    let server = TestServer::with(patient(), Echo);
    assert_eq!(server.stop().stats.served, 0);
}

#[test]
fn shutdown_from_inside_a_handler_works() {
    let (tell, told) = mpsc::channel::<acceptd::Shutdown>();
    let told = Mutex::new(told);
    let mut server = TestServer::with(patient(), move |client: &mut Connection| {
        let shutdown = told.lock().unwrap().recv().unwrap();
        shutdown.request();
        writeln!(client, "draining: {}", client.is_draining())
    });
    tell.send(server.shutdown.clone()).unwrap();
    let mut client = server.connect();
    assert_eq!(client.rest(), "draining: true\n");
    server.wait();
}

#[test]
fn the_log_tells_how_the_shutdown_goes() {
    let limits = Limits { drain_timeout: Duration::from_millis(12_345), ..patient() };
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
fn those_who_wait_in_the_backlog_are_told_too() {
    use acceptd::Server;
    let server = Server::bind("127.0.0.1:0", patient()).unwrap();
    let (address, shutdown) = (server.local_addr(), server.shutdown());
    // Nobody accepts yet.
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(address)).collect();
    shutdown.request();
    let summary = server.run(Line::default());
    assert_eq!((summary.stats.served, summary.stats.refused), (0, 10));
    for client in &mut clients {
        assert_eq!(client.rest(), "ERROR the server is shutting down\r\n");
    }
}
