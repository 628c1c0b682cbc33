//! Which dialect a client speaks: the first bytes decide.

use std::time::{Duration, Instant};

use crate::support::chat::{Member, serve};

#[test]
fn what_irc_clients_begin_with_is_irc_in_either_case() {
    let server = serve();
    for begin in ["CAP LS", "NICK a", "USER a 0 * :A", "PASS x", "cap ls", "nick b", "User b 0 * :B", "pass x"] {
        let mut client = Member::stranger(&server);
        client.say(begin);
        client.say("NONSENSE");
        let numbers: Vec<String> = client.hears();
        assert!(numbers.iter().any(|line| line.contains(" 451 ")), "{begin}: {numbers:?}");
    }
}

#[test]
fn what_people_begin_with_is_not() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
    for word in ["NICKY is here", "nick", "Captain", "user", "CAP", "passport please", "N", "JOIN #lobby", "PING x"] {
        let mut person = Member::guest(&server);
        person.say(word);
        assert!(person.line().starts_with("* welcome"), "{word}");
        person.hears();
        assert!(alice.hears().iter().any(|line| line.ends_with(&format!("PRIVMSG #lobby :{word}"))), "{word}");
    }
}

#[test]
fn the_first_word_may_come_in_pieces() {
    let server = serve();
    let mut client = Member::stranger(&server);
    for piece in ["N", "I", "CK al", "ice\r\n", "USER a 0 * ", ":A\r\n"] {
        client.client.send(piece);
        std::thread::yield_now();
    }
    assert!(client.line().starts_with(":acceptd 001 alice "));
}

#[test]
fn who_says_nothing_for_300_ms_is_a_person() {
    let server = serve();
    let start = Instant::now();
    let mut person = Member::guest(&server);
    assert!(person.line().starts_with("* welcome, you are guest1"));
    assert!(start.elapsed() >= Duration::from_millis(290), "an IRC client has time to begin");
    person.line();
    person.line();
    person.client.send("NICK a\n");
    assert!(person.hears().is_empty(), "it is too late for another dialect");
    assert_eq!(Member::person(&server, "bob").ask("/history")[1..].len(), 1);
}

#[test]
fn who_begins_a_word_and_says_no_more_of_it_for_300_ms_is_a_person() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut person = Member::guest(&server);
    person.client.send("NIC");
    assert!(person.line().starts_with("* welcome, you are guest2"));
    person.client.send("K bob\n");
    person.hears();
    assert!(alice.hears().contains(&"guest2: NICK bob".to_owned()));
}

#[test]
fn who_leaves_without_a_word_has_never_been_there() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    for _ in 0..3 {
        drop(server.connect());
        let mut half_closed = server.connect();
        half_closed.end_output();
        assert_eq!(half_closed.rest(), "");
    }
    let mut bob = Member::guest(&server);
    assert_eq!(bob.line(), "* welcome, you are guest2; 2 people are here");
    bob.hears();
    assert_eq!(alice.hears(), ["* guest2 joined"]);
}
