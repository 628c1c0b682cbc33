//! Several clients of a server: the lock between sessions, refusals and the shutdown.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use acceptd::Limits;
use acceptd::testing::{PATIENCE, TestClient, TestServer};

use crate::handler::MailDrop;
use crate::store::Store;

const IN_USE: &str = "-ERR [IN-USE] another session has this maildrop open";

fn start(limits: Limits) -> (TestServer, Arc<Store>) {
    let store = Store::new([("ann", "secret"), ("bob", "b")]);
    (TestServer::start_with(MailDrop(Arc::clone(&store)), limits), store)
}

/// A client that has read its greeting.
fn connect(server: &TestServer) -> TestClient {
    let mut client = server.connect();
    assert!(client.line().starts_with("+OK mail_drop ready <"));
    client
}

/// Logs in as Ann, and returns the answer.
fn log_in(client: &mut TestClient) -> String {
    client.send("USER ann\r\nPASS secret\r\n");
    client.expect("+OK now the password\r\n");
    client.line()
}

fn begin_a_mail(server: &TestServer) -> TestClient {
    let mut client = connect(server);
    client.send("XSEND bob\r\nhalf a mail\r\n");
    client.expect("+OK send the mail, and end it with a dot\r\n");
    client
}

fn mails(store: &Arc<Store>, name: &str) -> usize {
    store.open(name, |_| true).ok().unwrap().mails().count()
}

#[test]
fn a_maildrop_is_locked_for_others_until_its_session_has_ended() {
    let (server, _) = start(Limits::default());
    let (mut first, mut second) = (connect(&server), connect(&server));
    assert_eq!(log_in(&mut first), "+OK 0 messages (0 octets)");
    assert_eq!(log_in(&mut second), IN_USE);
    first.send("QUIT\r\n");
    first.expect("+OK goodbye\r\n");
    first.expect_end();
    assert_eq!(log_in(&mut second), "+OK 0 messages (0 octets)");
}

#[test]
fn a_client_that_is_gone_leaves_no_lock() {
    let (server, _) = start(Limits::default());
    let (mut first, mut second) = (connect(&server), connect(&server));
    log_in(&mut first);
    // A reset, if the answer has arrived by then.
    first.send("STAT\r\n");
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    while log_in(&mut second) == IN_USE {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn a_client_too_many_is_refused_in_the_protocols_form() {
    let (server, _) = start(Limits { max_connections: 1, ..Limits::default() });
    let _first = connect(&server);
    let mut second = server.connect();
    second.expect("-ERR too many connections (the limit is 1), try again later\r\n");
    second.expect_end();
}

#[test]
fn a_shutdown_waits_for_a_mail_and_sends_the_others_home() {
    let (mut server, store) = start(Limits { drain_timeout: PATIENCE, ..Limits::default() });
    let (mut sender, mut reader) = (begin_a_mail(&server), connect(&server));
    log_in(&mut reader);
    server.shutdown().request();
    reader.expect("-ERR the server is shutting down\r\n");
    reader.expect_end();
    sender.send(".\r\n");
    sender.expect("+OK the mail is stored\r\n-ERR the server is shutting down\r\n");
    sender.expect_end();
    let summary = server.wait();
    assert_eq!((summary.drained, summary.cut, mails(&store, "bob")), (2, 0, 1));
}

#[test]
fn a_mail_that_does_not_end_before_the_drain_deadline_is_not_stored() {
    let (mut server, store) = start(Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() });
    let mut sender = begin_a_mail(&server);
    server.shutdown().request();
    sender.expect("-ERR the server is shutting down\r\n");
    sender.expect_end();
    server.wait();
    assert_eq!(mails(&store, "bob"), 0);
}

#[test]
fn mails_that_arrive_at_the_same_time_are_all_stored() {
    const SENDERS: usize = 8;
    const MAILS: usize = 20;
    let (server, store) = start(Limits::default());
    thread::scope(|scope| {
        for mut client in (0..SENDERS).map(|_| connect(&server)) {
            scope.spawn(move || {
                for _ in 0..MAILS {
                    client.send("XSEND bob\r\nhello\r\n.\r\n");
                    client.expect("+OK send the mail, and end it with a dot\r\n+OK the mail is stored\r\n");
                }
            });
        }
    });
    assert_eq!(mails(&store, "bob"), SENDERS * MAILS);
    assert_eq!(server.stop().stats.served, SENDERS as u64);
}
