//! The connection limit: which clients are admitted, and what refused clients receive.

use std::borrow::Cow;
use std::io::{self, Write};

use acceptd::{Connection, Echo, FarewellReason, Handler, Limits, Line};

use crate::support::{Client, TestServer, eventually, logged};

fn limits(max_connections: usize) -> Limits {
    Limits { max_connections, ..Limits::default() }
}

/// A client that has been admitted.
fn served(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("ping\n");
    client.expect("ping\n");
    client
}

#[test]
fn clients_over_the_connection_limit_are_refused_with_a_message() {
    let server = TestServer::with(limits(5), Echo);
    let mut clients: Vec<Client> = (0..5).map(|_| served(&server)).collect();
    for _ in 0..3 {
        assert_eq!(server.connect().rest(), "ERROR too many connections (the limit is 5), try again later\n");
    }
    for client in &mut clients {
        client.send("x");
        client.expect("x");
    }
    assert_eq!(server.stop().stats.refused, 3);
}

#[test]
fn a_slot_is_free_before_its_client_sees_the_end_of_the_connection() {
    let server = TestServer::with(limits(1), Line::default());
    for round in 0..1000 {
        let mut client = server.connect();
        // The slot is free before the peer sees the end, whichever side ends the connection.
        let reply = if round % 2 == 0 { client.talk("ECHO x\n") } else { client.talk("QUIT\n") };
        assert_eq!(reply, if round % 2 == 0 { "x\n" } else { "BYE\n" }, "round {round}");
    }
    assert_eq!(server.stop().stats.refused, 0);
}

#[test]
fn a_refusal_is_the_handlers_farewell() {
    let server = TestServer::with(limits(1), Line::default());
    let mut first = server.connect();
    first.send("ECHO in\n");
    first.expect("in\n");
    assert_eq!(server.connect().rest(), "ERROR too many connections (the limit is 1), try again later\r\n");
}

#[test]
fn a_client_that_writes_before_it_reads_still_gets_its_refusal() {
    let server = TestServer::with(limits(1), Echo);
    let _first = served(&server);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(vec![b'x'; 64 * 1024]);
        assert!(client.line().starts_with("ERROR too many connections"));
        // More input does not cause a reset either. On some systems, a reset would discard the refusal.
        client.send(vec![b'x'; 64 * 1024]);
        assert_eq!(client.rest(), "");
        client.send("x");
    }
}

#[test]
fn refused_clients_that_neither_read_nor_leave_do_not_block_others() {
    let server = TestServer::with(limits(2), Echo);
    let first = served(&server);
    let _second = served(&server);
    let mut refused: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut refused {
        let _ = client.stream.write(&[b'x'; 4096]);
    }
    // Clients are accepted in order, so all earlier ones have been refused.
    assert!(server.connect().rest().starts_with("ERROR too many connections"));
    drop(first);
    eventually("the next client is served", || server.connect().talk("x") == "x");
}

struct PanickingFarewell;

impl Handler for PanickingFarewell {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        client.read_line().map(|_| ())
    }

    fn farewell(&self, _: FarewellReason) -> Cow<'static, [u8]> {
        panic!("lost for words")
    }
}

#[test]
fn a_panic_in_a_handlers_farewell_does_not_stop_the_server() {
    let server = TestServer::with(limits(1), PanickingFarewell);
    let mut first = server.connect();
    assert_eq!(server.connect().rest(), "");
    first.send("unfinished");
    first.end_output();
    assert_eq!(first.rest(), "");
    assert_eq!(logged(&["a handler's farewell panicked", "lost for words"]).len(), 2);
    assert_eq!(server.stop().stats.refused, 1);
}
