//! People and IRC clients in the same rooms.

use std::thread;
use std::time::Instant;

use acceptd::Limits;
use socket2::SockRef;

use crate::support::TestServer;
use crate::support::chat::{ChatClient, limits, options, serve, serve_with};

/// A person and an IRC client in the lobby. The IRC client joined first.
fn ann_and_ike(server: &TestServer) -> (ChatClient, ChatClient) {
    let mut ike = ChatClient::irc_in_lobby(server, "ike");
    let ann = ChatClient::person(server, "ann");
    ike.received();
    (ann, ike)
}

#[test]
fn messages_actions_and_private_messages_cross_dialects_both_ways() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    ann.ask("hello\n/me waves\n/msg ike psst\n//slash");
    assert_eq!(
        ike.received(),
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
    assert_eq!(
        ann.received(),
        ["ike: hello", "* ike waves", "ike: ahem", "ike (private): psst", "* ike winks (private)"]
    );
}

#[test]
fn joins_parts_renames_topics_and_kicks_cross_dialects() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    let mut client = ChatClient::irc(&server, "eve");
    assert!(ann.received().is_empty(), "a member without a room is not announced");
    client.ask("JOIN #lobby");
    client.ask("NICK eva");
    client.ask("TOPIC #lobby :tea");
    client.ask("TOPIC #lobby :");
    client.ask("PART #lobby :had enough");
    assert_eq!(
        ann.received(),
        [
            "* eve joined",
            "* eve is now eva",
            "* eva set the topic: tea",
            "* eva removed the topic",
            "* eva left (had enough)"
        ]
    );
    ike.received();
    ann.ask("/name anna\n/topic coffee\n/join two\n/leave");
    assert_eq!(
        ike.received(),
        [
            ":ann!~guest1@chat NICK anna",
            ":anna!~guest1@chat TOPIC #lobby :coffee",
            ":anna!~guest1@chat PART #lobby",
            ":anna!~guest1@chat JOIN #lobby"
        ]
    );
    ike.ask("KICK #lobby anna :too loud");
    assert_eq!(ann.received().last().unwrap(), "* ike kicked anna (too loud)");
    ann.ask("/leave");
    ike.received();
    ann.send_line("/quit off to bed");
    ann.rest();
    ike.eventually_receives(":anna!~guest1@chat QUIT :off to bed");
}

#[test]
fn a_person_is_the_operator_of_the_room_they_created() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    ann.ask("/join den");
    assert!(ike.ask("JOIN #den").contains(&":acceptd 353 ike = #den :@ann ike".to_owned()));
    ann.ask("/leave");
    assert_eq!(
        ike.received(),
        [":ann!~guest1@chat PART #den", ":acceptd MODE #den +o ike", ":ann!~guest1@chat JOIN #lobby"]
    );
    assert!(ann.ask("/msg ike none of this is shown to me").is_empty());
}

#[test]
fn long_text_is_split_into_irc_lines_or_truncated_to_its_limit() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    let long = "grüße ".repeat(500);
    let long = long.trim_end();
    ann.ask(long);
    ann.ask(&format!("/me {long}"));
    ann.ask(&format!("/msg ike {long}"));
    let received = ike.received();
    for start in ["PRIVMSG #lobby :g", "PRIVMSG #lobby :\u{1}ACTION g", "PRIVMSG ike :g"] {
        assert!(received.iter().any(|line| line.starts_with(&format!(":ann!~guest1@chat {start}"))), "{start}");
    }
    let count = received.iter().map(|line| line.matches("gr").count()).sum::<usize>();
    assert!(count > 3 * 490, "only words that a line end splits may be missing: {count}");
    ann.ask(&format!("/topic {long}"));
    assert!(ike.received()[0].starts_with(":ann!~guest1@chat TOPIC #lobby :grüße grüße"));
    ann.ask(&format!("/away {long}"));
    assert!(ike.ask_one("PRIVMSG ann :there?").starts_with(":acceptd 301 ike ann :grüße grüße"));
    ike.ask("WHOIS ann\r\nLIST\r\nTOPIC #lobby\r\nWHO #lobby");
    ann.send_line(&format!("/quit {long}"));
    ann.rest();
    crate::support::eventually("ann has left", || {
        ike.received().iter().any(|line| line.starts_with(":ann!~guest1@chat QUIT :grüße grüße"))
    });
}

#[test]
fn a_private_message_is_not_delivered_to_a_member_who_ignores_the_sender() {
    let server = serve();
    let (mut ann, mut ike) = ann_and_ike(&server);
    ann.ask("/ignore ike");
    ike.ask("PRIVMSG #lobby,ann :hello");
    ike.ask("NOTICE #lobby,ann :hello");
    assert!(ann.received().is_empty());
}

#[test]
fn a_member_who_reads_too_slowly_is_cut_with_a_reason_that_the_others_see() {
    let server = serve_with(Limits { max_outbox: 64 * 1024, ..limits() }, options());
    let (mut ann, mut ike) = ann_and_ike(&server);
    let mut bob = ChatClient::person(&server, "bob");
    let line = "x".repeat(4000);
    let mut left = Vec::new();
    for count in 0.. {
        assert!(count < 20_000, "the outbox is not bounded");
        left.extend(bob.ask(&line));
        if left.len() == 2 {
            break;
        }
    }
    left.sort();
    assert_eq!(left, ["* ann left (read too slowly)", "* ike left (read too slowly)"]);
    let received = ann.rest();
    assert_eq!(received.last().unwrap(), "* you read too slowly, closing");
    // The first two lines are bob's join and his new name. Ike may have been cut before ann.
    let said = received[2..received.len() - 1].iter().filter(|received| !received.starts_with("* ike left"));
    assert!(said.clone().count() > 0 && said.into_iter().all(|received| *received == format!("bob: {line}")));
    assert_eq!(ike.rest().last().unwrap(), "ERROR :Closing link: SendQ exceeded: you read too slowly");
}

#[test]
fn a_member_who_reads_gets_everything_even_with_a_small_outbox() {
    for (max_outbox, length, count) in [(4, 250, 20), (8, 3000, 5), (16, 4000, 5), (16, 1, 600)] {
        let attempt = || {
            let server = serve_with(Limits { max_outbox: max_outbox * 1024, ..limits() }, options());
            let mut ann = ChatClient::person(&server, "ann");
            let mut bob = ChatClient::person(&server, "bob");
            bob.client.send(format!("{}\n", "x".repeat(length)).repeat(count));
            receives(&mut ann, "bob: x", count)
        };
        assert!(succeeds(attempt), "{count} lines of {length} bytes, {max_outbox} KiB");
    }
}

#[test]
fn long_lists_do_not_overflow_the_outbox_of_a_member_who_reads() {
    const MEMBERS: usize = 40;
    const ROOMS: usize = 20;
    let rooms: Vec<String> = (0..ROOMS).map(|number| format!("#r{number:02}")).collect();
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("m{number:02}")).collect();
    let attempt = || {
        let server = serve_with(Limits { max_outbox: 16 * 1024, ..limits() }, options());
        let mut members: Vec<ChatClient> = names.iter().map(|name| ChatClient::irc(&server, name)).collect();
        members[0].send_line(&format!("JOIN {}", rooms.join(",")));
        rooms.iter().for_each(|room| members[0].send_line(&format!("TOPIC {room} :{}", "x".repeat(300))));
        let mut all_received = receives(&mut members[0], " TOPIC ", ROOMS);
        for member in &mut members[1..] {
            member.send_line(&format!("JOIN {}", rooms.join(",")));
            all_received = all_received && receives(member, " 366 ", ROOMS);
        }
        for (place, member) in members.iter_mut().enumerate() {
            all_received = all_received && receives(member, " JOIN ", (MEMBERS - 1 - place) * ROOMS);
        }
        members[0].send_line(&format!("KICK #r00 {} :{}", names[1..].join(","), "x".repeat(300)));
        all_received = all_received && receives(&mut members[0], " KICK ", MEMBERS - 1);
        for (place, member) in members.iter_mut().enumerate().skip(1) {
            all_received = all_received && receives(member, " KICK ", place);
        }
        members[0].send_line("JOIN 0");
        all_received = all_received && receives(&mut members[0], " PART ", ROOMS);
        all_received && members[1..].iter_mut().all(|member| receives(member, " PART ", ROOMS - 1))
    };
    assert!(succeeds(attempt));
}

/// Whether one of ten attempts succeeds. An attempt can fail by chance: a thread that is preempted while it sends to a member
/// makes everything else for that member wait, and a small outbox overflows.
fn succeeds(mut attempt: impl FnMut() -> bool) -> bool {
    (0..10).any(|_| attempt())
}

/// Whether a member receives `count` lines with this text before anybody is cut.
fn receives(member: &mut ChatClient, text: &str, count: usize) -> bool {
    let received = std::iter::from_fn(|| member.next()).take_while(|line| !line.contains("read too slowly"));
    received.filter(|line| line.contains(text)).take(count).count() == count
}

#[test]
fn messages_of_a_member_who_does_not_read_are_delivered_at_once() {
    let server = serve();
    let mut ann = ChatClient::person(&server, "ann");
    let mut bob = ChatClient::person(&server, "bob");
    let mut slow = ChatClient::irc_in_lobby(&server, "slow");
    SockRef::from(&slow.client.stream).set_recv_buffer_size(4096).unwrap();
    ann.received();
    // Fills the buffers of the kernel, so that the replies have to wait.
    let line = "x".repeat(4000);
    for _ in 0..40 {
        let received = bob.ask(&format!("/msg slow {line}"));
        assert!(received.iter().all(|line| line.contains("joined")));
    }
    let start = Instant::now();
    slow.client.send("PRIVMSG #lobby :first\r\nPING x\r\nPRIVMSG #lobby :second\r\nNAMES #lobby\r\n");
    assert_eq!([ann.line(), ann.line()], ["slow: first", "slow: second"]);
    let took = start.elapsed();
    assert!(took < limits().write_timeout / 2, "{took:?}");
}

#[test]
fn all_members_see_messages_in_the_same_order() {
    const COUNT: usize = 400;
    // Senders don't read while they send, so everything must fit into their outboxes.
    let server = serve_with(Limits { max_outbox: 4 << 20, ..limits() }, options());
    let mut listeners = [
        ChatClient::person(&server, "listener1"),
        ChatClient::irc_in_lobby(&server, "listener2"),
        ChatClient::person(&server, "listener3"),
        ChatClient::irc_in_lobby(&server, "listener4"),
    ];
    let senders: Vec<ChatClient> = (0..6)
        .map(|number| {
            let name = format!("sender{number}");
            if number % 2 == 0 { ChatClient::person(&server, &name) } else { ChatClient::irc_in_lobby(&server, &name) }
        })
        .collect();
    listeners.iter_mut().for_each(|listener| drop(listener.received()));
    let sending: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(number, mut sender)| {
            thread::spawn(move || {
                // Each sender sends batches of another size.
                for batch in (0..COUNT).collect::<Vec<_>>().chunks(1 + number) {
                    let start = if number % 2 == 0 { "" } else { "PRIVMSG #lobby :" };
                    let lines: Vec<String> =
                        batch.iter().map(|count| format!("{start}said {number} {count}\r\n")).collect();
                    sender.client.send(lines.concat());
                }
                sender.received();
                sender
            })
        })
        .collect();
    let received: Vec<Vec<String>> = thread::scope(|scope| {
        let receiving: Vec<_> = listeners
            .iter_mut()
            .map(|listener| {
                scope.spawn(|| {
                    let said = (0..6 * COUNT).map(|_| listener.line());
                    said.map(|line| line[line.find("said").unwrap()..].to_owned()).collect()
                })
            })
            .collect();
        receiving.into_iter().map(|receiving| receiving.join().unwrap()).collect()
    });
    sending.into_iter().for_each(|sending| drop(sending.join().unwrap()));
    let mut next = [0; 6];
    for line in &received[0] {
        let sender: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(*line, format!("said {sender} {}", next[sender]));
        next[sender] += 1;
    }
    assert!(received.iter().all(|others| *others == received[0]), "not the same order");
}
