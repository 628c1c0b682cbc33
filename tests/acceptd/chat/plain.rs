//! The plain dialect: what a person at a terminal sees.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use acceptd::Limits;
use acceptd::handler::chat::{Options, Rate};
use socket2::SockRef;

use crate::support::TestServer;
use crate::support::chat::{Member, limits, options, serve, serve_with};

/// Two people in the lobby, with nothing unheard.
fn alice_and_bob(server: &TestServer) -> (Member, Member) {
    let mut alice = Member::person(server, "alice");
    let bob = Member::person(server, "bob");
    alice.hears();
    (alice, bob)
}

#[test]
fn a_welcome_says_who_you_are_how_many_are_here_and_where_help_is() {
    let server = serve();
    let mut first = Member::guest(&server);
    assert_eq!(first.line(), "* welcome, you are guest1; 1 person is here");
    assert_eq!(first.line(), "* what you type is said in your room; /help lists the commands");
    assert_eq!(first.line(), "* you are in lobby; 1 person is here");
    let mut second = Member::guest(&server);
    assert_eq!(second.line(), "* welcome, you are guest2; 2 people are here");
    assert_eq!(first.line(), "* guest2 joined");
}

#[test]
fn a_line_reaches_every_other_member_of_the_room_and_not_who_typed_it() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = Member::person(&server, "carol");
    let mut dave = Member::person(&server, "dave");
    dave.ask("/join elsewhere");
    [&mut alice, &mut bob, &mut carol].into_iter().for_each(|member| drop(member.hears()));
    assert!(bob.ask("hello, all").is_empty());
    assert_eq!(alice.hears(), ["bob: hello, all"]);
    assert_eq!(carol.hears(), ["bob: hello, all"]);
    assert!(dave.hears().is_empty());
}

#[test]
fn who_comes_and_goes_is_announced_with_the_reason() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut leave = |act: &dyn Fn(&mut Member), announcement: &str| {
        let mut bob = Member::person(&server, "bob");
        let heard = alice.hears();
        assert!(heard[0].starts_with("* guest") && heard[0].ends_with(" joined"), "{heard:?}");
        assert!(heard[1].starts_with("* guest") && heard[1].ends_with(" is now bob"), "{heard:?}");
        act(&mut bob);
        alice.hears_in_the_end(announcement);
    };
    leave(&|bob| assert_eq!(bob.ask_then_rest("/quit"), ["* goodbye"]), "* bob left");
    leave(&|bob| assert_eq!(bob.ask_then_rest("/quit see you"), ["* goodbye"]), "* bob left (see you)");
    leave(&|bob| bob.client.end_output(), "* bob left");
    leave(&|bob| bob.ask_then_rest_of_half("half a line"), "* bob left");
    let reset = |bob: &mut Member| {
        SockRef::from(&bob.client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        *bob = Member::guest(&server);
    };
    leave(&reset, "* bob left (connection lost)");
}

impl Member {
    fn ask_then_rest(&mut self, line: &str) -> Vec<String> {
        self.say(line);
        self.rest()
    }

    fn ask_then_rest_of_half(&mut self, half: &str) {
        self.client.send(half);
        self.client.end_output();
        assert_eq!(self.rest(), ["* your last line was not complete; it was not said"]);
    }
}

#[test]
fn somebody_who_is_silent_too_long_has_timed_out() {
    let server = serve_with(Limits { idle_timeout: Some(Duration::from_millis(400)), ..limits() }, options());
    let (mut alice, mut bob) = alice_and_bob(&server);
    alice.hears_in_the_end("* bob left (timed out)");
    assert_eq!(bob.rest(), ["* nothing was sent for 400ms, closing"]);
}

#[test]
fn a_name_is_letters_digits_underscores_and_dashes_up_to_20() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let longest = "abcdefghij-_34567890";
    assert_eq!(bob.ask_one(&format!("/name {longest}")), format!("* you are now {longest}"));
    assert_eq!(alice.hears(), [format!("* bob is now {longest}")]);
    let rule = "* a name is 1 to 20 letters (a to z), digits, _ or -: /name NEW";
    for wrong in ["", " ", "a b", "bób", "a:b", "#a", "a,b", "*", "a!b@c", &format!("{longest}x")] {
        assert_eq!(bob.ask_one(&format!("/name {wrong}")), rule, "{wrong:?}");
    }
    assert!(alice.hears().is_empty());
}

#[test]
fn a_name_in_use_is_refused_whatever_its_case() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    for taken in ["alice", "ALICE", "aLiCe"] {
        assert_eq!(bob.ask_one(&format!("/name {taken}")), format!("* {taken} is taken; choose another name"));
    }
    assert_eq!(alice.ask_one("/name Alice"), "* you are now Alice", "one's own name is free");
    assert_eq!(bob.hears(), ["* alice is now Alice"]);
    assert_eq!(alice.ask_one("/name Alice"), "* you are now Alice");
    assert!(bob.hears().is_empty(), "nothing has changed");
    alice.ask("/name eve");
    bob.hears();
    assert_eq!(bob.ask_one("/name ALICE"), "* you are now ALICE", "a name that was given up is free");
}

#[test]
fn nobody_can_be_taken_for_the_server() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    for word in ["you", "The", "SERVER", "acceptd"] {
        assert_eq!(bob.ask_one(&format!("/name {word}")), format!("* {word} is taken; choose another name"));
    }
    assert!(alice.hears().is_empty());
    let mut stranger = Member::stranger(&server);
    let refused = ":acceptd 433 * Acceptd :Nickname is already in use";
    assert_eq!(stranger.ask("NICK Acceptd\r\nUSER a 0 * :A"), [refused]);
}

#[test]
fn a_guest_never_gets_a_name_that_somebody_has() {
    let server = serve();
    let mut alice = Member::person(&server, "guest2");
    let mut guest = Member::guest(&server);
    assert_eq!(guest.line(), "* welcome, you are guest3; 2 people are here");
    assert_eq!(alice.line(), "* guest3 joined");
}

#[test]
fn an_action_a_private_message_and_who_is_away() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = Member::person(&server, "carol");
    alice.hears();
    bob.hears();
    assert!(bob.ask("/me waves").is_empty());
    assert_eq!(alice.hears(), ["* bob waves"]);
    carol.hears();
    assert!(bob.ask("/msg ALICE for you  alone").is_empty());
    assert_eq!(alice.hears(), ["bob (private): for you  alone"]);
    assert!(carol.hears().is_empty());
    assert_eq!(alice.ask_one("/away out for lunch"), "* you are away; /away says that you are back");
    assert_eq!(bob.ask_one("/msg alice hungry?"), "* alice is away: out for lunch");
    assert_eq!(alice.hears(), ["bob (private): hungry?"]);
    assert_eq!(bob.ask("/who"), ["* 3 people are in lobby:", "* alice (away), bob, carol"]);
    assert_eq!(alice.ask_one("/away"), "* you are back");
    assert!(bob.ask("/msg alice there?").is_empty());
    assert_eq!(alice.ask("/away"), ["bob (private): there?", "* you are away; /away says that you are back"]);
}

#[test]
fn somebody_who_is_ignored_is_heard_no_more_until_that_is_undone() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    assert_eq!(alice.ask_one("/ignore BOB"), "* you hear no more of bob; the same again to undo it");
    bob.ask("one\n/me two\n/msg alice three\n/name robert\nfour");
    assert_eq!(alice.hears(), ["* bob is now robert"], "what he is called is to be known");
    assert_eq!(alice.ask_one("/ignore robert"), "* you hear robert again");
    bob.ask("five");
    assert_eq!(alice.hears(), ["robert: five"]);
    alice.ask("/ignore robert\n/join elsewhere");
    bob.ask("/join elsewhere\nsix");
    assert_eq!(alice.hears(), ["* robert joined"], "in every room");
}

#[test]
fn as_many_as_100_who_are_here_can_be_ignored() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut ignore = |name: &str| alice.ask(&format!("/ignore {name}")).pop().unwrap();
    let mut here = Vec::new();
    for number in 0..110 {
        let name = format!("bob{number}");
        let mut bob = Member::person(&server, &name);
        assert!(ignore(&name).starts_with("* you hear no more"), "{name}");
        // The first ten leave, and count no more.
        if number < 10 {
            bob.ask_then_rest("/quit");
        } else {
            here.push(bob);
        }
    }
    here.push(Member::person(&server, "eve"));
    assert_eq!(ignore("eve"), "* that is one too many");
    assert!(ignore("bob50").starts_with("* you hear bob50 again"));
    assert!(ignore("eve").starts_with("* you hear no more"));
}

#[test]
fn what_is_wrongly_said_is_answered_with_how_it_is_said() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
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
fn help_lists_every_command_and_each_is_known() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
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
fn a_line_that_begins_with_two_slashes_is_said_with_one() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.ask("//quit is what you type");
    assert_eq!(alice.hears(), ["bob: /quit is what you type"]);
}

#[test]
fn an_empty_line_says_nothing() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    assert!(bob.ask("\n\r\n  \n\t").is_empty());
    assert!(alice.hears().is_empty());
}

#[test]
fn a_line_longer_than_4_kib_is_dropped_with_a_notice_and_the_conversation_goes_on() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let longest = "x".repeat(4095);
    assert!(bob.ask(&longest).is_empty());
    assert_eq!(alice.hears(), [format!("bob: {longest}")]);
    for too_long in [4096, 4097, 10_000, 300_000] {
        let answer = bob.ask_one(&"y".repeat(too_long));
        assert_eq!(answer, "* that line is longer than 4096 bytes; nothing was said", "{too_long}");
    }
    bob.ask("still here");
    assert_eq!(alice.hears(), ["bob: still here"]);
}

#[test]
fn a_line_whose_end_does_not_come_in_time_is_the_end() {
    let limits = Limits { request_timeout: Duration::from_millis(600), ..limits() };
    let options = Options { rate: Rate { per_second: 10, burst: 1 }, ..options() };
    for start in ["x".repeat(5000), "short".to_owned(), "/me\n/me\n/me\nshort".to_owned()] {
        let server = serve_with(limits.clone(), options);
        let mut client = Member::guest(&server);
        client.client.send(&start);
        let heard = thread::scope(|scope| {
            let mut stream = client.client.stream.try_clone().unwrap();
            // Byte by byte is no way around it.
            scope.spawn(move || {
                for _ in 0..200 {
                    thread::sleep(Duration::from_millis(20));
                    if stream.write_all(b"x").is_err() {
                        break;
                    }
                }
                let _ = stream.shutdown(Shutdown::Write);
            });
            let heard = client.rest();
            let _ = client.client.stream.shutdown(Shutdown::Both);
            heard
        });
        assert_eq!(heard.last().unwrap(), "* the request was not complete after 600ms, closing", "{:?}", start.len());
    }
}

#[test]
fn a_line_that_is_not_utf_8_is_dropped_with_a_notice() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.client.send(b"caf\xe9\n");
    assert_eq!(bob.hears(), ["* that line is not UTF-8 text; nothing was said"]);
    bob.ask("café");
    assert_eq!(alice.hears(), ["bob: café"]);
}

#[test]
fn telnet_negotiation_is_ignored() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    // A window of 80 columns by 10 rows, and 10 is LF.
    bob.client.send(b"\xff\xfd\x03\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0hel\xff\xf1lo\r\n");
    assert!(bob.hears().is_empty());
    assert_eq!(alice.hears(), ["bob: hello"]);
}
