//! The end of a server: who may finish, who is cut, and that it does end. How exactly it keeps its deadline is in
//! `tests/bounds`, where nothing else runs beside.

use std::io::{self, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use acceptd::{Connection, Echo, Limits, Line};

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
    assert_eq!((summary.drained, summary.cut, summary.left), (0, 1, 1));
    assert_eq!(client.rest(), "ERROR the server is shutting down\n");
}

#[test]
fn a_reply_that_was_cut_short_is_not_followed_by_words() {
    let limits = Limits { drain_timeout: Duration::from_millis(200), write_timeout: PATIENCE * 5, ..patient() };
    let (begun, has_begun) = mpsc::channel();
    let mut server = TestServer::with(limits, move |client: &mut Connection| {
        client.write_all(b"r")?;
        client.flush()?;
        let _ = begun.send(());
        client.write_all(&vec![b'r'; 64 << 20])
    });
    let mut client = server.connect();
    has_begun.recv_timeout(PATIENCE).unwrap();
    server.shutdown.request();
    assert_eq!(server.wait().cut, 1);
    let mut got = Vec::new();
    // Ends with a reset: the client must not take the part for the whole.
    let _ = io::Read::read_to_end(&mut client.stream, &mut got);
    assert!(got.len() < 64 << 20 && got.iter().all(|&byte| byte == b'r'));
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
