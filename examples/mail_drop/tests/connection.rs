//! One client of the handler, without a server: limits, drains, farewells, and when the maildrop is free.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use acceptd::testing::TestClient;
use acceptd::{ClosedConnection, Connection, EndReason, Handler, Limits};

use crate::apop;
use crate::handler::MailDrop;
use crate::store::Store;

fn store() -> Arc<Store> {
    let store = Store::new([("ann", "secret"), ("bob", "b")]);
    store.deliver("ann", b"Subject: one\r\n\r\n.hidden dot\r\n".to_vec()).unwrap();
    store
}

/// The number of mails in a maildrop. `None` if a session has it open.
fn mails(store: &Arc<Store>, name: &str) -> Option<usize> {
    store.open(name, |_| true).ok().map(|maildrop| maildrop.mails().count())
}

/// A client that has read its greeting, and the server's side of it.
fn connect(store: &Arc<Store>, limits: Limits) -> (TestClient, String, JoinHandle<ClosedConnection>) {
    let handler = MailDrop(Arc::clone(store));
    let (connection, mut client) = Connection::pair(limits).unwrap();
    let served = thread::spawn(move || connection.serve(&handler));
    let greeting = client.line();
    (client, greeting, served)
}

fn connect_and_log_in(store: &Arc<Store>, limits: Limits) -> (TestClient, JoinHandle<ClosedConnection>) {
    let (mut client, _, served) = connect(store, limits);
    client.send("USER ann\r\nPASS secret\r\n");
    client.expect("+OK now the password\r\n+OK 1 messages (29 octets)\r\n");
    (client, served)
}

/// A client whose mail to Bob has begun to arrive.
fn begin_a_mail(store: &Arc<Store>, limits: Limits) -> (TestClient, JoinHandle<ClosedConnection>) {
    let (mut client, _, served) = connect(store, limits);
    client.send("XSEND bob\r\n");
    client.expect("+OK send the mail, and end it with a dot\r\n");
    client.send("Subject: two\r\n");
    (client, served)
}

fn reason(served: JoinHandle<ClosedConnection>) -> EndReason {
    served.join().unwrap().reason
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let store = store();
    let (mut client, served) = connect_and_log_in(&store, Limits::default());
    client.send("RETR 1\r\nDELE 1\r\nSTAT\r\nQUIT\r\n");
    client.expect("+OK 29 octets\r\nSubject: one\r\n\r\n..hidden dot\r\n.\r\n");
    client.expect("+OK marked as deleted\r\n+OK 0 0\r\n+OK goodbye\r\n");
    client.expect_end();
    assert_eq!((reason(served), mails(&store, "ann")), (EndReason::HandlerClosed, Some(0)));
}

#[test]
fn the_timestamp_of_the_greeting_is_for_apop() {
    let (mut client, greeting, _) = connect(&store(), Limits::default());
    let timestamp = greeting.strip_prefix("+OK mail_drop ready ").unwrap();
    client.send(format!("APOP ann {}\r\n", apop::digest(timestamp, "secret")));
    client.expect("+OK 1 messages (29 octets)\r\n");
}

#[test]
fn a_line_that_is_too_long_keeps_the_session() {
    let (mut client, _) = connect_and_log_in(&store(), Limits::default());
    client.send([&[b'x'; 2000][..], b"\r\nNOOP\r\n"].concat());
    client.expect("-ERR a command has 512 bytes at the most\r\n+OK nothing done\r\n");
}

#[test]
fn a_client_may_be_silent_for_ten_minutes_and_is_closed_without_a_word() {
    let own_limits = MailDrop(store()).limits(Limits::default());
    assert_eq!(own_limits.idle_timeout, Some(Duration::from_secs(600)));
    let limits = Limits { idle_timeout: Some(Duration::from_millis(20)), ..own_limits };
    let (mut client, _, served) = connect(&store(), limits);
    client.expect_end();
    assert_eq!(reason(served), EndReason::Idle);
}

#[test]
fn half_a_command_is_waited_for_only_for_a_time() {
    let limits = Limits { request_timeout: Duration::from_millis(20), ..Limits::default() };
    let (mut client, _, served) = connect(&store(), limits);
    client.send("USER a");
    client.expect("-ERR the request was not complete after 20ms, closing\r\n");
    client.expect_end();
    assert_eq!(reason(served), EndReason::RequestTimeout);
}

/// Opens Ann's maildrop, ends the session with `end`, and opens it again as soon as the client sees the end.
fn end_and_open(limits: Limits, end: impl FnOnce(&mut TestClient), farewell: &str) {
    let store = store();
    let (mut client, served) = connect_and_log_in(&store, limits);
    client.send("DELE 1\r\n");
    client.expect("+OK marked as deleted\r\n");
    assert_eq!(mails(&store, "ann"), None, "it is locked");
    end(&mut client);
    client.expect(farewell);
    client.expect_end();
    assert_eq!(mails(&store, "ann"), Some(1), "it is free, and nothing is deleted");
    served.join().unwrap();
}

#[test]
fn a_maildrop_is_free_before_the_client_sees_the_end() {
    let idle = Limits { idle_timeout: Some(Duration::from_millis(500)), ..Limits::default() };
    let slow = Limits { request_timeout: Duration::from_millis(50), ..Limits::default() };
    end_and_open(Limits::default(), TestClient::end_output, "");
    end_and_open(Limits::default(), |client| client.drain(), "-ERR the server is shutting down\r\n");
    end_and_open(idle, |_| {}, "");
    let late = "-ERR the request was not complete after 50ms, closing\r\n";
    end_and_open(slow, |client| client.send("ST"), late);
    let half = "-ERR the last request was not complete and was not carried out\r\n";
    end_and_open(Limits::default(), |client| (client.send("QUI"), client.end_output()).1, half);
}

#[test]
fn a_mail_that_has_begun_may_be_completed_in_a_drain() {
    let store = store();
    let (mut client, served) = begin_a_mail(&store, Limits::default());
    client.drain();
    for line in ["\r\n", "a line\r\n", "another one\r\n", ".\r\n"] {
        assert_eq!(mails(&store, "bob"), Some(0));
        client.send(line);
    }
    client.expect("+OK the mail is stored\r\n-ERR the server is shutting down\r\n");
    client.expect_end();
    assert_eq!((reason(served), mails(&store, "bob")), (EndReason::Drained, Some(1)));
}

#[test]
fn half_a_mail_is_told_and_not_stored() {
    let store = store();
    let (mut client, served) = begin_a_mail(&store, Limits::default());
    client.end_output();
    client.expect("-ERR the mail did not end, and is not stored\r\n");
    client.expect_end();
    assert_eq!((reason(served), mails(&store, "bob")), (EndReason::ClientClosed, Some(0)));
}
