//! Shutdown of the server, in both dialects.

use std::time::{Duration, Instant};

use acceptd::Limits;
use acceptd::handler::chat::{ChatOptions, MessageRate};

use crate::support::PATIENCE;
use crate::support::chat::{ChatClient, limits, options, serve, serve_with};

const TO_PEOPLE: &str = "* the server is shutting down";
const TO_IRC: &str = "ERROR :Closing link: the server is shutting down";

#[test]
fn every_member_gets_a_farewell_even_in_the_middle_of_a_line() {
    let server = serve();
    let mut members = [
        ChatClient::person(&server, "ann"),
        ChatClient::irc_in_lobby(&server, "ike"),
        ChatClient::person(&server, "bob"),
        ChatClient::irc_in_lobby(&server, "eve"),
        ChatClient::unregistered(&server),
    ];
    members[2].client.send("/me\nhalf a li");
    members[3].client.send("PING x\r\nPRIVMSG #lobby :half a li");
    // The reply shows that the incomplete line has arrived too.
    while members[2].line() != "* what do you do? /me waves" {}
    while members[3].line() != ":acceptd PONG acceptd :x" {}
    members[4].ask("NICK new");
    let start = Instant::now();
    let summary = server.stop();
    assert!(start.elapsed() < PATIENCE / 2);
    assert_eq!((summary.cut, summary.stats.panicked), (0, 0));
    for member in &mut members {
        let expected = if member.name == "ann" || member.name == "bob" { TO_PEOPLE } else { TO_IRC };
        let rest = member.rest();
        assert_eq!(rest.last().unwrap(), expected, "{}", member.name);
        assert!(!rest.iter().any(|line| line.contains("half")), "{rest:?}");
    }
}

#[test]
fn messages_sent_before_the_shutdown_are_delivered() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    alice.received();
    bob.ask("PRIVMSG #lobby :last");
    drop(server);
    let received = alice.rest();
    assert_eq!(received[0], "bob: last");
    assert_eq!(received.last().unwrap(), TO_PEOPLE);
    assert_eq!(bob.rest().last().unwrap(), TO_IRC);
}

#[test]
fn queued_lines_are_answered_in_a_drain_without_delaying_it() {
    let rate = MessageRate { per_second: 1, burst: 3 };
    for half in ["", "half a line"] {
        let server = serve_with(limits(), ChatOptions { rate, ..options() });
        let mut bob = ChatClient::guest(&server);
        bob.client.send("/me\n".repeat(100) + half);
        (0..6).for_each(|_| drop(bob.line()));
        // The queued lines would take more than a minute at the rate.
        let start = Instant::now();
        let summary = server.stop();
        assert!(start.elapsed() < PATIENCE / 2);
        assert_eq!(summary.cut, 0);
        let mut received = bob.rest();
        assert_eq!(received.pop().unwrap(), TO_PEOPLE, "{half:?}");
        assert_eq!(received.len(), 97, "{received:?}");
        assert!(received.iter().all(|line| line == "* what do you do? /me waves"));
    }
}

#[test]
fn a_member_who_does_not_read_delays_the_end_no_longer_than_the_drain_timeout() {
    let limits = Limits { drain_timeout: Duration::from_millis(400), max_outbox: 64 << 20, ..limits() };
    let server = serve_with(limits, options());
    let mut alice = ChatClient::person(&server, "alice");
    let _bob = ChatClient::irc_in_lobby(&server, "bob");
    let line = "x".repeat(4000);
    for _ in 0..2000 {
        alice.send_line(&line);
    }
    alice.received();
    let start = Instant::now();
    let summary = server.stop();
    assert!(start.elapsed() < PATIENCE / 2);
    assert_eq!(summary.cut, 1);
    assert_eq!(alice.rest().last().unwrap(), TO_PEOPLE);
}
