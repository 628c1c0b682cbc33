//! Sessions without a socket: lines in, bytes out.

use std::sync::Arc;

use crate::apop;
use crate::framing::Input;
use crate::session::{Flow, Session};
use crate::store::Store;

const TIMESTAMP: &str = "<1.2@localhost>";

fn store() -> Arc<Store> {
    let store = Store::new([("ann", "secret word"), ("bob", "b")]);
    store.deliver("ann", b"Subject: one\r\n\r\n.hidden dot\r\n".to_vec()).unwrap();
    store.deliver("ann", b"Subject: two\r\n\r\nbody\r\nmore\r\n".to_vec()).unwrap();
    store
}

fn session(store: &Arc<Store>) -> Session {
    Session::new(Arc::clone(store), TIMESTAMP.to_owned())
}

/// What a session answers to an input, and how it goes on.
fn on_input(session: &mut Session, input: Input) -> (String, Flow) {
    let mut out = Vec::new();
    let then = session.on_input(input, false, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), then)
}

fn answer(session: &mut Session, line: &str) -> String {
    on_input(session, Input::Line(line.into())).0
}

/// Only `+OK` or `-ERR` and the code behind it.
fn status(session: &mut Session, line: &str) -> String {
    let answer = answer(session, line);
    let mut words = answer.split_whitespace();
    let status = words.next().unwrap_or_default();
    match words.next() {
        Some(code) if code.starts_with('[') => format!("{status} {code}"),
        _ => status.to_owned(),
    }
}

fn logged_in(store: &Arc<Store>) -> Session {
    let mut session = session(store);
    assert_eq!(status(&mut session, "USER ann"), "+OK");
    assert_eq!(status(&mut session, "PASS secret word"), "+OK");
    session
}

#[test]
fn the_greeting_has_the_timestamp() {
    assert_eq!(session(&store()).greeting(), "+OK mail_drop ready <1.2@localhost>\r\n");
}

#[test]
fn a_session_reads_and_deletes_mails() {
    let store = store();
    let mut session = logged_in(&store);
    assert_eq!(answer(&mut session, "STAT"), "+OK 2 57\r\n");
    assert_eq!(answer(&mut session, "LIST"), "+OK sizes\r\n1 29\r\n2 28\r\n.\r\n");
    assert_eq!(answer(&mut session, "LIST 2"), "+OK 2 28\r\n");
    assert_eq!(answer(&mut session, "UIDL"), "+OK unique-ids\r\n1 00000001\r\n2 00000002\r\n.\r\n");
    assert_eq!(answer(&mut session, "UIDL 2"), "+OK 2 00000002\r\n");
    assert_eq!(answer(&mut session, "RETR 1"), "+OK 29 octets\r\nSubject: one\r\n\r\n..hidden dot\r\n.\r\n");
    assert_eq!(answer(&mut session, "TOP 2 1"), "+OK\r\nSubject: two\r\n\r\nbody\r\n.\r\n");
    assert_eq!(status(&mut session, "DELE 1"), "+OK");
    assert_eq!(status(&mut session, "RETR 1"), "-ERR");
    assert_eq!(answer(&mut session, "STAT"), "+OK 1 28\r\n");
    assert_eq!(on_input(&mut session, Input::Line(b"QUIT".to_vec())).1, Flow::Close);
    assert_eq!(answer(&mut logged_in(&store), "STAT"), "+OK 1 28\r\n");
}

#[test]
fn a_session_that_does_not_quit_deletes_nothing_and_unlocks_the_maildrop() {
    let store = store();
    let mut first = logged_in(&store);
    assert_eq!(status(&mut first, "DELE 1"), "+OK");
    let mut second = session(&store);
    answer(&mut second, "USER ann");
    assert_eq!(status(&mut second, "PASS secret word"), "-ERR [IN-USE]");
    drop(first);
    answer(&mut second, "USER ann");
    assert_eq!(status(&mut second, "PASS secret word"), "+OK");
    assert_eq!(answer(&mut second, "STAT"), "+OK 2 57\r\n");
}

#[test]
fn rset_takes_the_marks_back() {
    let mut session = logged_in(&store());
    for line in ["DELE 1", "DELE 2", "RSET", "RETR 1"] {
        assert_eq!(status(&mut session, line), "+OK", "{line}");
    }
}

#[test]
fn a_wrong_command_keeps_the_session() {
    let mut session = logged_in(&store());
    for line in ["HELP", "", "RETR 3", "DELE 0", "STAT now", "USER ann", "PASS x", "XSEND bob", "\u{7f}"] {
        assert_eq!(status(&mut session, line), "-ERR", "{line:?}");
    }
    assert_eq!(on_input(&mut session, Input::TooLong).0, "-ERR a command has 512 bytes at the most\r\n");
    assert_eq!(status(&mut session, "NOOP"), "+OK");
}

#[test]
fn nothing_is_allowed_before_the_login() {
    let mut session = session(&store());
    for line in ["STAT", "LIST", "RETR 1", "DELE 1", "RSET", "NOOP", "TOP 1 1", "UIDL", "PASS secret word"] {
        assert_eq!(status(&mut session, line), "-ERR", "{line}");
    }
    assert_eq!(status(&mut session, "CAPA"), "+OK");
    assert_eq!(on_input(&mut session, Input::Line(b"QUIT".to_vec())), ("+OK goodbye\r\n".into(), Flow::Close));
}

#[test]
fn a_password_follows_its_user_at_once() {
    let mut session = session(&store());
    for (line, expected) in [("USER ann", "+OK"), ("STAT", "-ERR"), ("PASS secret word", "-ERR")] {
        assert_eq!(status(&mut session, line), expected, "{line}");
    }
}

#[test]
fn three_wrong_passwords_end_the_session() {
    let mut session = session(&store());
    for expected in [Flow::Continue, Flow::Continue, Flow::Close] {
        answer(&mut session, "USER ann");
        let (text, then) = on_input(&mut session, Input::Line(b"PASS guess".to_vec()));
        assert_eq!((text.as_str(), then), ("-ERR [AUTH] wrong user or password\r\n", expected));
    }
}

#[test]
fn apop_takes_the_digest_of_this_session_only() {
    let store = store();
    let mut session = session(&store);
    let stale = apop::digest("<0.0@localhost>", "secret word");
    assert_eq!(status(&mut session, &format!("APOP ann {stale}")), "-ERR [AUTH]");
    let digest = apop::digest(TIMESTAMP, "secret word");
    assert_eq!(status(&mut session, &format!("APOP bob {digest}")), "-ERR [AUTH]");
    assert_eq!(status(&mut session, &format!("APOP ann {digest}")), "+OK");
}

#[test]
fn a_mail_is_stored_at_its_dot_and_not_before() {
    let store = store();
    let mut sender = session(&store);
    assert_eq!(status(&mut sender, "XSEND eve"), "-ERR");
    assert_eq!(status(&mut sender, "XSEND bob"), "+OK");
    for line in ["Subject: three", "", "QUIT", "..", "NOOP"] {
        assert_eq!(answer(&mut sender, line), "", "no command while a mail arrives");
        assert!(sender.is_receiving());
    }
    let mut bob = session(&store);
    answer(&mut bob, "USER bob");
    assert_eq!(answer(&mut bob, "PASS b"), "+OK 0 messages (0 octets)\r\n");
    drop(bob);
    assert_eq!(answer(&mut sender, "."), "+OK the mail is stored\r\n");
    let mut bob = session(&store);
    answer(&mut bob, "USER bob");
    answer(&mut bob, "PASS b");
    assert_eq!(answer(&mut bob, "RETR 1"), "+OK 33 octets\r\nSubject: three\r\n\r\nQUIT\r\n..\r\nNOOP\r\n.\r\n");
}

#[test]
fn a_mail_without_its_dot_is_told_and_dropped() {
    let store = store();
    let mut sender = session(&store);
    answer(&mut sender, "XSEND bob");
    answer(&mut sender, "half a mail");
    let mut out = Vec::new();
    sender.on_end(&mut out).unwrap();
    assert_eq!(out, b"-ERR the mail did not end, and is not stored\r\n");
    assert_eq!(store.open("bob", |_| true).ok().unwrap().mails().count(), 0);
}

#[test]
fn a_mail_with_a_line_that_is_too_long_is_refused_at_its_dot() {
    let mut sender = session(&store());
    answer(&mut sender, "XSEND bob");
    assert_eq!(on_input(&mut sender, Input::Dropped), (String::new(), Flow::Continue));
    assert_eq!(on_input(&mut sender, Input::TooLong), (String::new(), Flow::Continue));
    assert_eq!(answer(&mut sender, "."), "-ERR the mail has a line of more than 1,000 bytes\r\n");
    assert_eq!(status(&mut sender, "XSEND bob"), "+OK");
}

#[test]
fn a_drain_lets_no_new_mail_begin() {
    let mut session = session(&store());
    let mut out = Vec::new();
    session.on_input(Input::Line(b"XSEND bob".to_vec()), true, &mut out).unwrap();
    assert_eq!(out, b"-ERR the server is shutting down\r\n");
    assert!(!session.is_receiving());
}
