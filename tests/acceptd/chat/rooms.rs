//! Rooms as people see them.

use crate::support::chat::{ChatClient, serve};

#[test]
fn people_start_in_the_lobby_and_move_between_rooms() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut bob = ChatClient::person(&server, "bob");
    alice.received();
    assert_eq!(bob.ask_one("/join Kitchen"), "* you are in Kitchen; 1 person is here");
    assert_eq!(alice.received(), ["* bob left"]);
    assert_eq!(bob.ask("/rooms"), ["* Kitchen, 1 person is there", "* lobby, 1 person is there"]);
    bob.ask("anybody?");
    assert!(alice.received().is_empty());
    assert_eq!(alice.ask_one("/join #kitchen"), "* you are in Kitchen; 2 people are here");
    assert_eq!(bob.received(), ["* alice joined"]);
    assert_eq!(bob.ask_one("/leave"), "* you are in lobby; 1 person is here");
    assert_eq!(alice.received(), ["* bob left"]);
}

#[test]
fn an_empty_room_is_deleted() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    alice.ask("/join kitchen\n/topic soup\nis it salted?");
    assert_eq!(alice.ask("/rooms"), ["* kitchen, 1 person is there: soup"]);
    alice.ask("/leave");
    assert_eq!(alice.ask("/rooms"), ["* lobby, 1 person is there"]);
    assert_eq!(alice.ask("/join kitchen"), ["* you are in kitchen; 1 person is here"], "the topic is gone");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn a_topic_is_shown_on_joining_and_removed_with_the_room() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut bob = ChatClient::person(&server, "bob");
    alice.received();
    assert_eq!(alice.ask("/topic"), ["* there is no topic; /topic TEXT sets one"]);
    assert_eq!(alice.ask("/topic all about  tea"), ["* alice set the topic: all about  tea"]);
    assert_eq!(bob.received(), ["* alice set the topic: all about  tea"]);
    assert_eq!(bob.ask("/topic"), ["* topic: all about  tea (set by alice)"]);
    let mut carol = ChatClient::guest(&server);
    let welcome: Vec<String> = (0..4).map(|_| carol.line()).collect();
    assert_eq!(welcome[2..], ["* you are in lobby; 3 people are here", "* topic: all about  tea"]);
}

#[test]
fn history_has_the_last_100_lines_with_their_times() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
    let said: Vec<String> = (0..120).map(|number| format!("line {number}")).collect();
    alice.ask(&said.join("\n"));
    alice.ask("/me yawns");
    let mut bob = ChatClient::person(&server, "bob");
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
        // At midnight the times wrap around.
        assert!(now.starts_with("00:") || (*before <= *time && *time <= *now), "{before} {time} {now}");
        time.clone_into(&mut before);
    }
    assert_eq!(history.len(), 101);
    bob.ask("/join elsewhere");
    assert_eq!(bob.ask("/history"), ["* nothing was said here yet"], "each room has its own history");
}

#[test]
fn with_many_rooms_each_keeps_less_history() {
    let server = serve();
    // All rooms share 16 MiB: with 2,048 rooms, each keeps 8 KiB.
    let mut members: Vec<ChatClient> = (0..103).map(|number| ChatClient::irc(&server, &format!("m{number}"))).collect();
    for (number, member) in members.iter_mut().enumerate() {
        let rooms: Vec<String> = (0..20).map(|room| format!("#r{}", number * 20 + room)).collect();
        member.ask(&format!("JOIN {}", rooms.join(",")));
    }
    let (mut alice, mut kept) = (ChatClient::person(&server, "alice"), Vec::new());
    alice.ask("/join r0");
    let line = "x".repeat(1000);
    for _ in 0..2 {
        alice.ask(&format!("{line}\n").repeat(20));
        kept.push(alice.ask("/history").len() - 1);
        members.truncate(1);
        crate::support::eventually("there are few rooms", || alice.ask("/rooms").len() == 20);
    }
    assert_eq!(kept, [7, 27]);
}

#[test]
fn lists_of_many_rooms_and_many_members_are_complete_and_in_order() {
    let server = serve();
    let mut members: Vec<ChatClient> =
        (0..70).map(|number| ChatClient::irc_in_lobby(&server, &format!("m{number:02}"))).collect();
    for (number, member) in members.iter_mut().enumerate() {
        member.ask(&format!("JOIN #r{number:02}\r\nJOIN #even"));
    }
    let mut alice = ChatClient::person(&server, "alice");
    let rooms: Vec<String> =
        alice.ask("/rooms").iter().map(|line| line[2..].split(',').next().unwrap().into()).collect();
    let expected: Vec<String> = ["even".to_owned(), "lobby".to_owned()]
        .into_iter()
        .chain((0..70).map(|number| format!("r{number:02}")))
        .collect();
    assert_eq!(rooms, expected);
    let names: Vec<String> = (0..70).map(|number| format!("m{number:02}")).collect();
    let who = alice.ask("/who");
    assert_eq!(who[0], "* 71 people are in lobby:");
    let listed: Vec<&str> = who[1..].iter().flat_map(|line| line[2..].split(", ")).collect();
    assert_eq!(listed[..70], names);
    assert_eq!(listed[70..], ["alice"]);

    let member = &mut members[69];
    member.received();
    let list = member.ask("LIST");
    let rooms: Vec<&str> = list[1..73].iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert_eq!(rooms, expected.iter().map(|room| format!("#{room}")).collect::<Vec<_>>());
    let mut replies = member.ask("NAMES #even");
    assert_eq!(replies.pop_if(|line| line.contains(" 366 ")).unwrap(), ":acceptd 366 m69 #even :End of NAMES list");
    let listed: Vec<&str> = replies.iter().flat_map(|line| line.split_once(" :").unwrap().1.split(' ')).collect();
    assert_eq!(
        (listed[0], &listed[1..]),
        ("@m00", names[1..].iter().map(String::as_str).collect::<Vec<_>>().as_slice())
    );
    let who = member.ask("WHO #even");
    assert_eq!(who.len(), 71);
    assert!(
        who[..70]
            .iter()
            .zip(&names)
            .all(|(line, name)| line.contains(&format!(" 352 m69 #even ~{name} chat acceptd {name} H")))
    );
    // A member who shares several rooms with another is listed only once.
    let who = member.ask("WHO *");
    assert_eq!(who.len(), 72);
    assert!(
        who[..70]
            .iter()
            .zip(&names)
            .all(|(line, name)| line.contains(&format!(" 352 m69 * ~{name} chat acceptd {name} H")))
    );
    assert!(who[70].contains(" 352 m69 * ~guest1 chat acceptd alice H"));
}

#[test]
fn a_room_of_more_than_50_does_not_announce_joins_and_parts_but_shows_messages() {
    let server = serve();
    let mut crowd: Vec<ChatClient> =
        (1..=50).map(|number| ChatClient::person(&server, &format!("m{number}"))).collect();
    let mut first = crowd.remove(0);
    assert!(first.received().iter().any(|line| line == "* guest50 joined"), "the 50th member is announced");
    let mut last = ChatClient::guest(&server);
    last.received();
    assert!(first.received().is_empty(), "the 51st is not");
    let who = first.ask("/who");
    assert_eq!(who[0], "* 51 people are in lobby:");
    assert!(who.join(" ").contains("guest51"));
    last.send_line("/quit");
    last.rest();
    // `goodbye` arrives before the member is removed from the room.
    crate::support::eventually("50 are left", || first.ask("/who")[0] == "* 50 people are in lobby:");
    assert!(first.received().is_empty());
}

#[test]
fn a_kicked_person_is_in_no_room_and_can_join_another() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::person(&server, "bob");
    alice.ask("KICK #lobby bob :enough");
    assert_eq!(bob.received(), ["* alice kicked bob (enough)"]);
    let nowhere = "* you are in no room; /join lobby";
    assert_eq!(bob.ask("is anybody there?"), [nowhere]);
    for command in ["/me waves", "/who", "/topic", "/topic tea", "/history"] {
        assert_eq!(bob.ask(command), [nowhere], "{command}");
    }
    assert_eq!(bob.ask("/leave"), ["* you are in lobby; 2 people are here"]);
    alice.ask("KICK #lobby bob\r\nKICK #lobby alice");
    assert_eq!(bob.ask("/leave")[1], "* you are in lobby; 1 person is here");
}
