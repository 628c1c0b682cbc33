//! Rooms, as people see them.

use crate::support::chat::{Member, serve};

#[test]
fn everyone_starts_in_the_lobby_and_goes_from_room_to_room() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut bob = Member::person(&server, "bob");
    alice.hears();
    assert_eq!(bob.ask_one("/join Kitchen"), "* you are in Kitchen; 1 person is here");
    assert_eq!(alice.hears(), ["* bob left"]);
    assert_eq!(bob.ask("/rooms"), ["* Kitchen, 1 person is there", "* lobby, 1 person is there"]);
    bob.ask("anybody?");
    assert!(alice.hears().is_empty());
    assert_eq!(alice.ask_one("/join #kitchen"), "* you are in Kitchen; 2 people are here");
    assert_eq!(bob.hears(), ["* alice joined"]);
    assert_eq!(bob.ask_one("/leave"), "* you are in lobby; 1 person is here");
    assert_eq!(alice.hears(), ["* bob left"]);
}

#[test]
fn a_room_that_is_empty_is_no_more() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    alice.ask("/join kitchen\n/topic soup\nis it salted?");
    assert_eq!(alice.ask("/rooms"), ["* kitchen, 1 person is there: soup"]);
    alice.ask("/leave");
    assert_eq!(alice.ask("/rooms"), ["* lobby, 1 person is there"]);
    assert_eq!(alice.ask("/join kitchen"), ["* you are in kitchen; 1 person is here"], "no topic is left");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn a_topic_is_set_seen_by_who_comes_and_removed_with_the_room() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut bob = Member::person(&server, "bob");
    alice.hears();
    assert_eq!(alice.ask("/topic"), ["* there is no topic; /topic TEXT sets one"]);
    assert_eq!(alice.ask("/topic all about  tea"), ["* alice set the topic: all about  tea"]);
    assert_eq!(bob.hears(), ["* alice set the topic: all about  tea"]);
    assert_eq!(bob.ask("/topic"), ["* topic: all about  tea (set by alice)"]);
    let mut carol = Member::guest(&server);
    let welcome: Vec<String> = (0..4).map(|_| carol.line()).collect();
    assert_eq!(welcome[2..], ["* you are in lobby; 3 people are here", "* topic: all about  tea"]);
}

#[test]
fn history_is_the_last_100_lines_with_their_times() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
    let said: Vec<String> = (0..120).map(|number| format!("line {number}")).collect();
    alice.ask(&said.join("\n"));
    alice.ask("/me yawns");
    let mut bob = Member::person(&server, "bob");
    let history = bob.ask("/history");
    assert_eq!(history[0], "* the last lines (100), with their times in UTC:");
    let expected = said[21..].iter().map(|line| format!("alice: {line}")).chain(["* alice yawns".to_owned()]);
    let now = jiff::Timestamp::now().strftime("%H:%M:%S").to_string();
    let mut before = String::new();
    for (line, expected) in history[1..].iter().zip(expected) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(rest, expected);
        let digits: Vec<u8> = time.split(':').map(|part| part.parse().unwrap()).collect();
        assert!(digits.len() == 3 && digits[0] < 24 && digits[1] < 60 && digits[2] < 60, "{time}");
        // Around midnight, times begin anew.
        assert!(now.starts_with("00:") || (*before <= *time && *time <= *now), "{before} {time} {now}");
        time.clone_into(&mut before);
    }
    assert_eq!(history.len(), 101);
    bob.ask("/join elsewhere");
    assert_eq!(bob.ask("/history"), ["* nothing was said here yet"], "each room has its own");
}

#[test]
fn in_a_room_of_more_than_50_nobody_is_told_who_comes_and_goes_but_who_tells() {
    let server = serve();
    let mut crowd: Vec<Member> = (1..=50).map(|number| Member::person(&server, &format!("m{number}"))).collect();
    let mut first = crowd.remove(0);
    assert!(first.hears().iter().any(|line| line == "* guest50 joined"), "the fiftieth is announced");
    let mut last = Member::guest(&server);
    last.hears();
    assert!(first.hears().is_empty(), "the next is not");
    let who = first.ask("/who");
    assert_eq!(who[0], "* 51 people are in lobby:");
    assert!(who.join(" ").contains("guest51"));
    last.say("/quit");
    last.rest();
    // The goodbye comes before the seat is free.
    crate::support::eventually("50 are left", || first.ask("/who")[0] == "* 50 people are in lobby:");
    assert!(first.hears().is_empty());
}

#[test]
fn a_person_who_was_kicked_is_in_no_room_and_finds_another() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
    let mut bob = Member::person(&server, "bob");
    alice.ask("KICK #lobby bob :enough");
    assert_eq!(bob.hears(), ["* alice kicked bob (enough)"]);
    let nowhere = "* you are in no room; /join lobby";
    assert_eq!(bob.ask("is anybody there?"), [nowhere]);
    for command in ["/me waves", "/who", "/topic", "/topic tea", "/history"] {
        assert_eq!(bob.ask(command), [nowhere], "{command}");
    }
    assert_eq!(bob.ask("/leave"), ["* you are in lobby; 2 people are here"]);
    alice.ask("KICK #lobby bob\r\nKICK #lobby alice");
    assert_eq!(bob.ask("/leave")[1], "* you are in lobby; 1 person is here");
}
