//! What other threads see of a running server, and the phases of its shutdown that come before the drain.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acceptd::testing::TestServer;
use acceptd::{Connection, Echo, EndReason, Event, FarewellReason, Handler, Limits, Server, ServerHandle};

use crate::support::eventually;

#[test]
fn stats_and_clients_can_be_seen_from_outside() {
    let server = TestServer::start(Echo);
    let mut first = server.connect();
    first.send("hi");
    first.expect("hi");
    let mut second = server.connect();
    second.send("ho");
    second.expect("ho");
    assert_eq!(server.stats().connections, 2);
    let clients = server.clients();
    assert_eq!(clients.iter().map(acceptd::ClientHandle::id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(clients[0].peer_addr(), first.stream().local_addr().unwrap());
    assert_eq!(clients[0].bytes_in(), 2);
    let handle = ServerHandle::clone(&server);
    let summary = server.stop();
    assert_eq!(summary.stats.served, 2);
    assert_eq!(handle.stats().connections, 0);
    assert!(handle.clients().is_empty());
}

#[test]
fn a_server_stops_accepting_and_ends_with_its_last_client() {
    let mut server = TestServer::start(Echo);
    let mut client = server.connect();
    client.send("before");
    client.expect("before");
    server.shutdown().stop_accepting();
    // The port is closed once the accept loop has noticed.
    eventually("the port is closed", || TcpStream::connect(server.local_addr()).is_err());
    client.send("after");
    client.expect("after");
    client.end_output();
    client.expect_end();
    let summary = server.wait();
    assert_eq!((summary.drained, summary.cut), (0, 0));
}

#[test]
fn a_drain_can_follow_when_accepting_has_stopped() {
    let server = TestServer::start(Echo);
    let mut client = server.connect();
    client.send("before");
    client.expect("before");
    server.shutdown().stop_accepting();
    assert_eq!(server.stop().drained, 1);
    client.expect_end();
}

#[test]
fn events_tell_who_came_was_refused_and_left() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut server = Server::bind("127.0.0.1:0", Limits { max_connections: 1, ..Limits::default() }).unwrap();
    let subscriber = Arc::clone(&seen);
    server.on_event(move |event| {
        let line = match event {
            Event::Opened { id, .. } => format!("opened {id}"),
            Event::Refused { reason: FarewellReason::Full { limit }, .. } => format!("refused at {limit}"),
            Event::Closed(closed) => {
                assert_eq!((closed.bytes_in, closed.bytes_out), (2, 2));
                assert!(closed.duration > Duration::ZERO && closed.reason == EndReason::ClientClosed);
                format!("closed {}", closed.id)
            }
            other => format!("{other:?}"),
        };
        subscriber.lock().unwrap().push(line);
    });
    server.on_event(|_| panic!("this one is caught"));
    let running = server.spawn(Echo).unwrap();
    let mut client = crate::support::Client::connect(running.local_addr());
    client.send("hi");
    client.expect("hi");
    let mut other = crate::support::Client::connect(running.local_addr());
    assert!(other.line().starts_with("ERROR too many connections"));
    client.end_output();
    assert_eq!(client.rest(), "");
    let summary = running.stop();
    assert_eq!((summary.stats.served, summary.stats.refused), (1, 1));
    assert_eq!(*seen.lock().unwrap(), ["opened 1", "refused at 1", "closed 1"]);
}

#[test]
fn a_listener_of_ones_own_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::from_listener(listener, Limits::default()).unwrap();
    assert_eq!(server.local_addr(), address);
    let running = server.spawn(Echo).unwrap();
    let mut client = crate::support::Client::connect(address);
    client.send("hi");
    client.expect("hi");
    assert_eq!(running.stop().drained, 1);
}

struct Impatient;

impl Handler for Impatient {
    fn handle(&self, client: &mut Connection) -> std::io::Result<()> {
        client.read_line().map(drop)
    }

    fn limits(&self, limits: Limits) -> Limits {
        Limits { idle_timeout: Some(Duration::ZERO), max_line: 4, ..limits }
    }
}

#[test]
fn a_handler_brings_its_own_limits_and_wrong_ones_become_the_nearest() {
    let server = TestServer::start(Impatient);
    server.connect().expect("ERROR nothing was sent for 1ms, closing\n");
}

#[test]
fn a_closure_can_have_a_farewell() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(10)), ..Limits::default() };
    let handler = |client: &mut Connection| client.write_all(b"+OK\r\n").and_then(|()| client.read_line().map(drop));
    let server =
        TestServer::start_with(handler.with_farewell(|why| format!("-ERR {why}\r\n").into_bytes().into()), limits);
    server.connect().expect("+OK\r\n-ERR nothing was sent for 10ms, closing\r\n");
}
