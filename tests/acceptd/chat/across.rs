//! People and IRC clients in the same rooms.

use std::thread;
use std::time::Instant;

use acceptd::Limits;
use socket2::SockRef;

use crate::support::TestServer;
use crate::support::chat::{Member, limits, options, serve, serve_with};

/// A person and an IRC client in the lobby; the client came first.
fn ann_and_ike(server: &TestServer) -> (Member, Member) {
    let mut ike = Member::irc_in_lobby(server, "ike");
    let ann = Member::person(server, "ann");
    ike.hears();
    (ann, ike)
}

#[test]
fn messages_actions_and_private_words_cross_in_both_directions() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    ann.ask("hello\n/me waves\n/msg ike psst\n//slash");
    assert_eq!(
        ike.hears(),
        [
            "PRIVMSG #lobby :hello",
            "PRIVMSG #lobby :\u{1}ACTION waves\u{1}",
            "PRIVMSG ike :psst",
            "PRIVMSG #lobby :/slash",
        ]
        .map(|line| format!(":ann!~guest1@chat {line}"))
    );
    ike.ask("PRIVMSG #lobby :hello");
    ike.ask("PRIVMSG #lobby :\u{1}ACTION waves\u{1}");
    ike.ask("NOTICE #lobby :ahem");
    ike.ask("PRIVMSG ann :psst");
    ike.ask("PRIVMSG ann :\u{1}ACTION winks\u{1}");
    assert_eq!(ann.hears(), ["ike: hello", "* ike waves", "ike: ahem", "ike (private): psst", "* ike winks (private)"]);
}

#[test]
fn comings_goings_names_topics_and_kicks_cross_too() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    let mut client = Member::irc(&server, "eve");
    assert!(ann.hears().is_empty(), "who is in no room is not announced");
    client.ask("JOIN #lobby");
    client.ask("NICK eva");
    client.ask("TOPIC #lobby :tea");
    client.ask("TOPIC #lobby :");
    client.ask("PART #lobby :had enough");
    assert_eq!(
        ann.hears(),
        [
            "* eve joined",
            "* eve is now eva",
            "* eva set the topic: tea",
            "* eva removed the topic",
            "* eva left (had enough)"
        ]
    );
    ike.hears();
    ann.ask("/name anna\n/topic coffee\n/join two\n/leave");
    assert_eq!(
        ike.hears(),
        [
            ":ann!~guest1@chat NICK anna",
            ":anna!~guest1@chat TOPIC #lobby :coffee",
            ":anna!~guest1@chat PART #lobby",
            ":anna!~guest1@chat JOIN #lobby"
        ]
    );
    ike.ask("KICK #lobby anna :too loud");
    assert_eq!(ann.hears().last().unwrap(), "* ike kicked anna (too loud)");
    ann.ask("/leave");
    ike.hears();
    ann.say("/quit off to bed");
    ann.rest();
    ike.hears_in_the_end(":anna!~guest1@chat QUIT :off to bed");
}

#[test]
fn a_person_is_the_first_member_of_the_room_they_made() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    ann.ask("/join den");
    assert!(ike.ask("JOIN #den").contains(&":acceptd 353 ike = #den :@ann ike".to_owned()));
    ann.ask("/leave");
    assert_eq!(
        ike.hears(),
        [":ann!~guest1@chat PART #den", ":acceptd MODE #den +o ike", ":ann!~guest1@chat JOIN #lobby"]
    );
    assert!(ann.ask("/msg ike none of this is shown to me").is_empty());
}

#[test]
fn what_is_long_for_irc_is_cut_to_its_lines_or_its_limits() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    let long = "grüße ".repeat(500);
    let long = long.trim_end();
    ann.ask(long);
    ann.ask(&format!("/me {long}"));
    ann.ask(&format!("/msg ike {long}"));
    let heard = ike.hears();
    for start in ["PRIVMSG #lobby :g", "PRIVMSG #lobby :\u{1}ACTION g", "PRIVMSG ike :g"] {
        assert!(heard.iter().any(|line| line.starts_with(&format!(":ann!~guest1@chat {start}"))), "{start}");
    }
    let count = heard.iter().map(|line| line.matches("gr").count()).sum::<usize>();
    assert!(count > 3 * 490, "nothing but what the end of a line cuts in two is missed: {count}");
    ann.ask(&format!("/topic {long}"));
    assert!(ike.hears()[0].starts_with(":ann!~guest1@chat TOPIC #lobby :grüße grüße"));
    ann.ask(&format!("/away {long}"));
    assert!(ike.ask_one("PRIVMSG ann :there?").starts_with(":acceptd 301 ike ann :grüße grüße"));
    ike.ask("WHOIS ann\r\nLIST\r\nTOPIC #lobby\r\nWHO #lobby");
    ann.say(&format!("/quit {long}"));
    ann.rest();
    crate::support::eventually("ann has left", || {
        ike.hears().iter().any(|line| line.starts_with(":ann!~guest1@chat QUIT :grüße grüße"))
    });
}

#[test]
fn a_private_message_to_somebody_who_ignores_is_not_delivered() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    ann.ask("/ignore ike");
    ike.ask("PRIVMSG #lobby,ann :hello");
    ike.ask("NOTICE #lobby,ann :hello");
    assert!(ann.hears().is_empty());
}

#[test]
fn somebody_who_reads_too_slowly_is_told_so_and_the_others_too() {
    let server = serve_with(Limits { max_outbox: 64 * 1024, ..limits() }, options());
    let (mut ann, mut ike) = ann_and_ike(&server);
    let mut bob = Member::person(&server, "bob");
    let line = "x".repeat(4000);
    let mut left = Vec::new();
    for count in 0.. {
        assert!(count < 20_000, "nothing bounds it");
        left.extend(bob.ask(&line));
        if left.len() == 2 {
            break;
        }
    }
    left.sort();
    assert_eq!(left, ["* ann left (read too slowly)", "* ike left (read too slowly)"]);
    let heard = ann.rest();
    assert_eq!(heard.last().unwrap(), "* you read too slowly, closing");
    // Before bob spoke, he came and took his name. Ike may have been cut before ann was.
    let said = heard[2..heard.len() - 1].iter().filter(|heard| !heard.starts_with("* ike left"));
    assert!(said.clone().count() > 0 && said.into_iter().all(|heard| *heard == format!("bob: {line}")));
    assert_eq!(ike.rest().last().unwrap(), "ERROR :Closing link: SendQ exceeded: you read too slowly");
}

#[test]
fn who_reads_gets_all_that_is_pasted_however_little_may_wait() {
    for (max_outbox, length, count) in [(4, 250, 20), (8, 3000, 5), (16, 4000, 5), (16, 1, 600)] {
        let attempt = || {
            let server = serve_with(Limits { max_outbox: max_outbox * 1024, ..limits() }, options());
            let mut ann = Member::person(&server, "ann");
            let mut bob = Member::person(&server, "bob");
            bob.client.send(format!("{}\n", "x".repeat(length)).repeat(count));
            hears(&mut ann, "bob: x", count)
        };
        assert!(comes_true(attempt), "{count} lines of {length} bytes, {max_outbox} KiB");
    }
}

#[test]
fn lists_of_rooms_and_of_people_overfill_nobody_who_reads() {
    const MEMBERS: usize = 40;
    const ROOMS: usize = 20;
    let rooms: Vec<String> = (0..ROOMS).map(|number| format!("#r{number:02}")).collect();
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("m{number:02}")).collect();
    let attempt = || {
        let server = serve_with(Limits { max_outbox: 16 * 1024, ..limits() }, options());
        let mut members: Vec<Member> = names.iter().map(|name| Member::irc(&server, name)).collect();
        members[0].say(&format!("JOIN {}", rooms.join(",")));
        rooms.iter().for_each(|room| members[0].say(&format!("TOPIC {room} :{}", "x".repeat(300))));
        let mut is_well = hears(&mut members[0], " TOPIC ", ROOMS);
        for member in &mut members[1..] {
            member.say(&format!("JOIN {}", rooms.join(",")));
            is_well = is_well && hears(member, " 366 ", ROOMS);
        }
        for (place, member) in members.iter_mut().enumerate() {
            is_well = is_well && hears(member, " JOIN ", (MEMBERS - 1 - place) * ROOMS);
        }
        members[0].say(&format!("KICK #r00 {} :{}", names[1..].join(","), "x".repeat(300)));
        is_well = is_well && hears(&mut members[0], " KICK ", MEMBERS - 1);
        for (place, member) in members.iter_mut().enumerate().skip(1) {
            is_well = is_well && hears(member, " KICK ", place);
        }
        members[0].say("JOIN 0");
        is_well = is_well && hears(&mut members[0], " PART ", ROOMS);
        is_well && members[1..].iter_mut().all(|member| hears(member, " PART ", ROOMS - 1))
    };
    assert!(comes_true(attempt));
}

/// Once of ten times: a thread that is interrupted just when it sends to somebody lets all else for them wait, and so little
/// may.
fn comes_true(mut attempt: impl FnMut() -> bool) -> bool {
    (0..10).any(|_| attempt())
}

/// Listens until as many lines have been heard that have this in them. Whether they were, before somebody was cut.
fn hears(member: &mut Member, what: &str, count: usize) -> bool {
    let heard = std::iter::from_fn(|| member.next()).take_while(|line| !line.contains("read too slowly"));
    heard.filter(|line| line.contains(what)).take(count).count() == count
}

#[test]
fn who_does_not_read_is_heard_at_once_all_the_same() {
    let server = serve();
    let mut ann = Member::person(&server, "ann");
    let mut bob = Member::person(&server, "bob");
    let mut deaf = Member::irc_in_lobby(&server, "deaf");
    SockRef::from(&deaf.client.stream).set_recv_buffer_size(4096).unwrap();
    ann.hears();
    // The system takes no more for it, and what is answered has to wait.
    let line = "x".repeat(4000);
    (0..40).for_each(|_| assert!(bob.ask(&format!("/msg deaf {line}")).iter().all(|heard| heard.contains("joined"))));
    let start = Instant::now();
    deaf.client.send("PRIVMSG #lobby :first\r\nPING x\r\nPRIVMSG #lobby :second\r\nNAMES #lobby\r\n");
    assert_eq!([ann.line(), ann.line()], ["deaf: first", "deaf: second"]);
    let took = start.elapsed();
    assert!(took < limits().write_timeout / 2, "{took:?}");
}

#[test]
fn all_members_see_the_same_order_and_nobodys_messages_overtake_each_other() {
    const COUNT: usize = 400;
    // While senders speak they do not read, and what they should hear is not to be too much for them.
    let server = serve_with(Limits { max_outbox: 4 << 20, ..limits() }, options());
    let mut listeners = [
        Member::person(&server, "listener1"),
        Member::irc_in_lobby(&server, "listener2"),
        Member::person(&server, "listener3"),
        Member::irc_in_lobby(&server, "listener4"),
    ];
    let senders: Vec<Member> = (0..6)
        .map(|number| {
            let name = format!("sender{number}");
            if number % 2 == 0 { Member::person(&server, &name) } else { Member::irc_in_lobby(&server, &name) }
        })
        .collect();
    listeners.iter_mut().for_each(|listener| drop(listener.hears()));
    let talking: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(number, mut sender)| {
            thread::spawn(move || {
                // One by one, and some at once.
                for batch in (0..COUNT).collect::<Vec<_>>().chunks(1 + number) {
                    let start = if number % 2 == 0 { "" } else { "PRIVMSG #lobby :" };
                    let lines: Vec<String> =
                        batch.iter().map(|count| format!("{start}said {number} {count}\r\n")).collect();
                    sender.client.send(lines.concat());
                }
                sender.hears();
                sender
            })
        })
        .collect();
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let hearing: Vec<_> = listeners
            .iter_mut()
            .map(|listener| {
                scope.spawn(|| {
                    let said = (0..6 * COUNT).map(|_| listener.line());
                    said.map(|line| line[line.find("said").unwrap()..].to_owned()).collect()
                })
            })
            .collect();
        hearing.into_iter().map(|hearing| hearing.join().unwrap()).collect()
    });
    talking.into_iter().for_each(|talking| drop(talking.join().unwrap()));
    let mut next = [0; 6];
    for line in &heard[0] {
        let sender: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(*line, format!("said {sender} {}", next[sender]));
        next[sender] += 1;
    }
    assert!(heard.iter().all(|others| *others == heard[0]), "not the same order");
}
