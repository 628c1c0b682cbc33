//! Who gets in, and what those hear who do not.

use std::borrow::Cow;
use std::io::{self, Write};

use acceptd::{Connection, Echo, Farewell, Handler, Limits, Line};

use crate::support::{Client, TestServer, eventually, logged};

fn limits(max_connections: usize) -> Limits {
    Limits { max_connections, ..Limits::default() }
}

fn served(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("ping\n");
    client.expect("ping\n");
    client
}

#[test]
fn exactly_as_many_as_allowed_are_served_and_the_next_is_told_so() {
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
fn a_slot_is_free_the_moment_its_client_leaves() {
    let server = TestServer::with(limits(1), Line::default());
    for round in 0..1000 {
        let mut client = server.connect();
        // By its own end, or by the server's: whoever sees the end of a connection finds its place free.
        let reply = if round % 2 == 0 { client.talk("ECHO x\n") } else { client.talk("QUIT\n") };
        assert_eq!(reply, if round % 2 == 0 { "x\n" } else { "BYE\n" }, "round {round}");
    }
    assert_eq!(server.stop().stats.refused, 0);
}

#[test]
fn a_refusal_speaks_the_handlers_dialect() {
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
        // No reset either while it goes on: that is what would have cost it these words on other systems.
        client.send(vec![b'x'; 64 * 1024]);
        assert_eq!(client.rest(), "");
        client.send("x");
    }
}

#[test]
fn refused_clients_that_neither_read_nor_leave_hold_nobody_up() {
    let server = TestServer::with(limits(2), Echo);
    let first = served(&server);
    let _second = served(&server);
    let mut stubborn: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut stubborn {
        let _ = client.stream.write(&[b'x'; 4096]);
    }
    // Clients are accepted in their order: all before this one have been refused.
    assert!(server.connect().rest().starts_with("ERROR too many connections"));
    drop(first);
    eventually("the next client is served", || server.connect().talk("x") == "x");
}

struct Speechless;

impl Handler for Speechless {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        client.read_line().map(|_| ())
    }

    fn farewell(&self, _: Farewell) -> Cow<'static, [u8]> {
        panic!("lost for words")
    }
}

#[test]
fn a_handler_that_panics_over_its_last_words_hurts_nobody() {
    let server = TestServer::with(limits(1), Speechless);
    let mut first = server.connect();
    assert_eq!(server.connect().rest(), "");
    first.send("unfinished");
    first.end_output();
    assert_eq!(first.rest(), "");
    assert_eq!(logged(&["a handler's farewell panicked", "lost for words"]).len(), 2);
    assert_eq!(server.stop().stats.refused, 1);
}
