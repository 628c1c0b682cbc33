//! The plain dialect, for people at a terminal.

use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use acceptd::Limits;
use acceptd::handler::chat::{ChatOptions, MessageRate};
use socket2::SockRef;

use crate::support::TestServer;
use crate::support::chat::{ChatClient, limits, options, serve, serve_with};

/// Two people in the lobby who have read everything.
fn alice_and_bob(server: &TestServer) -> (ChatClient, ChatClient) {
    let mut alice = ChatClient::person(server, "alice");
    let bob = ChatClient::person(server, "bob");
    alice.received();
    (alice, bob)
}

#[test]
fn the_welcome_shows_your_name_the_number_of_members_and_help() {
    let server = serve();
    let mut first = ChatClient::guest(&server);
    assert_eq!(first.line(), "* welcome, you are guest1; 1 person is here");
    assert_eq!(first.line(), "* what you type is said in your room; /help lists the commands");
    assert_eq!(first.line(), "* you are in lobby; 1 person is here");
    let mut second = ChatClient::guest(&server);
    assert_eq!(second.line(), "* welcome, you are guest2; 2 people are here");
    assert_eq!(first.line(), "* guest2 joined");
}

#[test]
fn a_line_reaches_every_other_member_of_the_room_but_not_its_sender() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = ChatClient::person(&server, "carol");
    let mut dave = ChatClient::person(&server, "dave");
    dave.ask("/join elsewhere");
    [&mut alice, &mut bob, &mut carol].into_iter().for_each(|member| drop(member.received()));
    assert!(bob.ask("hello, all").is_empty());
    assert_eq!(alice.received(), ["bob: hello, all"]);
    assert_eq!(carol.received(), ["bob: hello, all"]);
    assert!(dave.received().is_empty());
}

#[test]
fn joins_and_quits_are_announced_with_the_reason() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut leave = |act: &dyn Fn(&mut ChatClient), announcement: &str| {
        let mut bob = ChatClient::person(&server, "bob");
        let received = alice.received();
        assert!(received[0].starts_with("* guest") && received[0].ends_with(" joined"), "{received:?}");
        assert!(received[1].starts_with("* guest") && received[1].ends_with(" is now bob"), "{received:?}");
        act(&mut bob);
        alice.eventually_receives(announcement);
    };
    leave(&|bob| assert_eq!(bob.ask_then_rest("/quit"), ["* goodbye"]), "* bob left");
    leave(&|bob| assert_eq!(bob.ask_then_rest("/quit see you"), ["* goodbye"]), "* bob left (see you)");
    leave(&|bob| bob.client.end_output(), "* bob left");
    leave(&|bob| bob.send_half_then_rest("half a line"), "* bob left");
    let reset = |bob: &mut ChatClient| {
        SockRef::from(&bob.client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        *bob = ChatClient::guest(&server);
    };
    leave(&reset, "* bob left (connection lost)");
}

impl ChatClient {
    fn ask_then_rest(&mut self, line: &str) -> Vec<String> {
        self.send_line(line);
        self.rest()
    }

    fn send_half_then_rest(&mut self, half: &str) {
        self.client.send(half);
        self.client.end_output();
        assert_eq!(self.rest(), ["* your last line was not complete; it was not said"]);
    }
}

#[test]
fn a_member_who_is_idle_too_long_times_out() {
    let server = serve_with(Limits { idle_timeout: Some(Duration::from_millis(400)), ..limits() }, options());
    let (mut alice, mut bob) = alice_and_bob(&server);
    alice.eventually_receives("* bob left (timed out)");
    assert_eq!(bob.rest(), ["* nothing was sent for 400ms, closing"]);
}

#[test]
fn a_name_is_up_to_20_letters_digits_underscores_and_dashes() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let longest = "abcdefghij-_34567890";
    assert_eq!(bob.ask_one(&format!("/name {longest}")), format!("* you are now {longest}"));
    assert_eq!(alice.received(), [format!("* bob is now {longest}")]);
    let rule = "* a name is 1 to 20 letters (a to z), digits, _ or -: /name NEW";
    for wrong in ["", " ", "a b", "bób", "a:b", "#a", "a,b", "*", "a!b@c", &format!("{longest}x")] {
        assert_eq!(bob.ask_one(&format!("/name {wrong}")), rule, "{wrong:?}");
    }
    assert!(alice.received().is_empty());
}

#[test]
fn a_name_in_use_is_refused_in_any_case() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    for taken in ["alice", "ALICE", "aLiCe"] {
        assert_eq!(bob.ask_one(&format!("/name {taken}")), format!("* {taken} is taken; choose another name"));
    }
    assert_eq!(alice.ask_one("/name Alice"), "* you are now Alice", "your own name is not taken");
    assert_eq!(bob.received(), ["* alice is now Alice"]);
    assert_eq!(alice.ask_one("/name Alice"), "* you are now Alice");
    assert!(bob.received().is_empty(), "nothing changed");
    alice.ask("/name eve");
    bob.received();
    assert_eq!(bob.ask_one("/name ALICE"), "* you are now ALICE", "the old name is free again");
}

#[test]
fn no_member_can_impersonate_the_server() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    for word in ["you", "The", "SERVER", "acceptd"] {
        assert_eq!(bob.ask_one(&format!("/name {word}")), format!("* {word} is taken; choose another name"));
    }
    assert!(alice.received().is_empty());
    let mut unregistered = ChatClient::unregistered(&server);
    let refused = ":acceptd 433 * Acceptd :Nickname is already in use";
    assert_eq!(unregistered.ask("NICK Acceptd\r\nUSER a 0 * :A"), [refused]);
}

#[test]
fn a_guest_never_gets_a_name_in_use() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "guest2");
    let mut guest = ChatClient::guest(&server);
    assert_eq!(guest.line(), "* welcome, you are guest3; 2 people are here");
    assert_eq!(alice.line(), "* guest3 joined");
}

#[test]
fn actions_private_messages_and_away_messages_are_shown() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = ChatClient::person(&server, "carol");
    alice.received();
    bob.received();
    assert!(bob.ask("/me waves").is_empty());
    assert_eq!(alice.received(), ["* bob waves"]);
    carol.received();
    assert!(bob.ask("/msg ALICE for you  alone").is_empty());
    assert_eq!(alice.received(), ["bob (private): for you  alone"]);
    assert!(carol.received().is_empty());
    assert_eq!(alice.ask_one("/away out for lunch"), "* you are away; /away says that you are back");
    assert_eq!(bob.ask_one("/msg alice hungry?"), "* alice is away: out for lunch");
    assert_eq!(alice.received(), ["bob (private): hungry?"]);
    assert_eq!(bob.ask("/who"), ["* 3 people are in lobby:", "* alice (away), bob, carol"]);
    assert_eq!(alice.ask_one("/away"), "* you are back");
    assert!(bob.ask("/msg alice there?").is_empty());
    assert_eq!(alice.ask("/away"), ["bob (private): there?", "* you are away; /away says that you are back"]);
}

#[test]
fn messages_of_an_ignored_member_are_not_shown_until_ignore_is_undone() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    assert_eq!(alice.ask_one("/ignore BOB"), "* you hear no more of bob; the same again to undo it");
    bob.ask("one\n/me two\n/msg alice three\n/name robert\nfour");
    assert_eq!(alice.received(), ["* bob is now robert"], "name changes of ignored members are shown");
    assert_eq!(alice.ask_one("/ignore robert"), "* you hear robert again");
    bob.ask("five");
    assert_eq!(alice.received(), ["robert: five"]);
    alice.ask("/ignore robert\n/join elsewhere");
    bob.ask("/join elsewhere\nsix");
    assert_eq!(alice.received(), ["* robert joined"], "messages are hidden in every room");
}

#[test]
fn up_to_100_present_members_can_be_ignored() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut ignore = |name: &str| alice.ask(&format!("/ignore {name}")).pop().unwrap();
    let mut present = Vec::new();
    for number in 0..110 {
        let name = format!("bob{number}");
        let mut bob = ChatClient::person(&server, &name);
        assert!(ignore(&name).starts_with("* you hear no more"), "{name}");
        // The first ten leave, so they no longer count.
        if number < 10 {
            bob.ask_then_rest("/quit");
        } else {
            present.push(bob);
        }
    }
    present.push(ChatClient::person(&server, "eve"));
    assert_eq!(ignore("eve"), "* that is one too many");
    assert!(ignore("bob50").starts_with("* you hear bob50 again"));
    assert!(ignore("eve").starts_with("* you hear no more"));
}

#[test]
fn malformed_commands_are_answered_with_their_usage() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    for (line, answer) in [
        ("/msg", "* to whom, and what? /msg NAME TEXT"),
        ("/msg bob", "* to whom, and what? /msg NAME TEXT"),
        ("/msg b:b hello", "* to whom, and what? /msg NAME TEXT"),
        ("/msg bob hello", "* nobody here is called bob; /who tells who is"),
        ("/me", "* what do you do? /me waves"),
        ("/ignore", "* whom? /ignore NAME"),
        ("/ignore bob", "* nobody here is called bob; /who tells who is"),
        ("/join", "* a room's name is 1 to 30 letters (a to z), digits, _ or -: /join ROOM"),
        ("/join a b", "* a room's name is 1 to 30 letters (a to z), digits, _ or -: /join ROOM"),
        ("/join lobby", "* you are in lobby already"),
        ("/leave", "* you are in the lobby; /quit leaves the chat"),
        ("/frobnicate now", "* there is no command /frobnicate; /help lists them"),
        ("/", "* there is no command /; /help lists them"),
    ] {
        assert_eq!(alice.ask_one(line), answer, "{line}");
    }
}

#[test]
fn help_lists_every_command_and_each_of_them_exists() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let help = alice.ask("/help");
    for command in
        ["name", "who", "rooms", "join", "leave", "msg", "me", "topic", "away", "ignore", "history", "help", "quit"]
    {
        assert!(help.iter().any(|line| line.starts_with(&format!("* /{command} "))), "{command}");
        if command != "quit" {
            let upper = command.to_ascii_uppercase();
            assert!(!alice.ask(&format!("/{upper}")).iter().any(|line| line.contains("no command")), "{command}");
        }
    }
}

#[test]
fn two_slashes_send_a_message_that_begins_with_one() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.ask("//quit is what you type");
    assert_eq!(alice.received(), ["bob: /quit is what you type"]);
}

#[test]
fn an_empty_line_is_not_a_message() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    assert!(bob.ask("\n\r\n  \n\t").is_empty());
    assert!(alice.received().is_empty());
}

#[test]
fn a_line_longer_than_4_kib_is_discarded_with_a_notice_and_the_session_goes_on() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let longest = "x".repeat(4095);
    assert!(bob.ask(&longest).is_empty());
    assert_eq!(alice.received(), [format!("bob: {longest}")]);
    for too_long in [4096, 4097, 10_000, 300_000] {
        let answer = bob.ask_one(&"y".repeat(too_long));
        assert_eq!(answer, "* that line is longer than 4096 bytes; nothing was said", "{too_long}");
    }
    bob.ask("still here");
    assert_eq!(alice.received(), ["bob: still here"]);
}

#[test]
fn a_line_that_is_not_completed_in_time_closes_the_client() {
    let limits = Limits { request_timeout: Duration::from_millis(600), ..limits() };
    let options = ChatOptions { rate: MessageRate { per_second: 10, burst: 1 }, ..options() };
    for start in ["x".repeat(5000), "short".to_owned(), "/me\n/me\n/me\nshort".to_owned()] {
        let server = serve_with(limits.clone(), options);
        let mut client = ChatClient::guest(&server);
        client.client.send(&start);
        let received = thread::scope(|scope| {
            let mut stream = client.client.stream.try_clone().unwrap();
            let (has_ended, ended) = mpsc::channel();
            // Sending byte by byte does not extend the deadline.
            scope.spawn(move || {
                let is_over = || ended.recv_timeout(Duration::from_millis(20)).is_ok();
                for _ in 0..200 {
                    if is_over() || stream.write_all(b"x").is_err() {
                        break;
                    }
                }
                let _ = stream.shutdown(Shutdown::Write);
            });
            let received = client.rest();
            // The other thread may have ended already, because it could no longer write.
            let _ = has_ended.send(());
            received
        });
        assert_eq!(
            received.last().unwrap(),
            "* the request was not complete after 600ms, closing",
            "{:?}",
            start.len()
        );
    }
}

#[test]
fn a_line_that_is_not_utf_8_is_discarded_with_a_notice() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.client.send(b"caf\xe9\n");
    assert_eq!(bob.received(), ["* that line is not UTF-8 text; nothing was said"]);
    bob.ask("café");
    assert_eq!(alice.received(), ["bob: café"]);
}

#[test]
fn telnet_negotiation_is_ignored() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    // The window has 80 columns and 10 rows; the byte 10 is LF.
    bob.client.send(b"\xff\xfd\x03\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0hel\xff\xf1lo\r\n");
    assert!(bob.received().is_empty());
    assert_eq!(alice.received(), ["bob: hello"]);
}
