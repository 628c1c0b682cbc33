//! Channels: rooms as IRC clients see them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::support::chat::{ChatClient, numerics, serve};
use crate::support::{PATIENCE, TestServer};

/// The value of a token of RPL_ISUPPORT.
fn supported(member: &mut ChatClient, token: &str) -> String {
    let lines = member.ask("VERSION");
    let mut tokens = lines.iter().filter(|line| line.contains(" 005 ")).flat_map(|line| line.split(' '));
    let found = tokens.find(|word| word.split('=').next() == Some(token));
    let found = found.unwrap_or_else(|| panic!("{token} is not in {lines:?}"));
    found.split_once('=').map_or("", |(_, value)| value).to_owned()
}

fn number(member: &mut ChatClient, token: &str) -> usize {
    supported(member, token).parse().unwrap()
}

/// Two clients in `#lobby`. alice joined first.
fn alice_and_bob(server: &TestServer) -> (ChatClient, ChatClient) {
    let mut alice = ChatClient::irc_in_lobby(server, "alice");
    let bob = ChatClient::irc_in_lobby(server, "bob");
    alice.received();
    (alice, bob)
}

#[test]
fn the_lengths_in_isupport_are_exact() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let length = number(&mut alice, "NICKLEN");
    assert_eq!(numerics(&bob.ask(&format!("NICK {}", "n".repeat(length + 1)))), [432]);
    assert!(bob.ask_one(&format!("NICK {}", "n".repeat(length))).contains(" NICK nnn"));
    bob.ask("NICK bob");
    let length = number(&mut alice, "CHANNELLEN");
    assert_eq!(numerics(&bob.ask(&format!("JOIN #{}", "c".repeat(length)))), [403]);
    assert_eq!(numerics(&bob.ask(&format!("JOIN #{}", "c".repeat(length - 1)))), [353, 366]);
    let longest = |length: usize| ("t".repeat(length), "t".repeat(length + 1));
    let (fits, too_long) = longest(number(&mut alice, "TOPICLEN"));
    alice.received();
    alice.ask(&format!("TOPIC #lobby :{fits}"));
    assert!(bob.received()[0].ends_with(&format!("TOPIC #lobby :{fits}")));
    alice.ask(&format!("TOPIC #lobby :{too_long}"));
    assert!(bob.received()[0].ends_with(&format!("TOPIC #lobby :{fits}")));
    let (fits, too_long) = longest(number(&mut alice, "AWAYLEN"));
    alice.ask(&format!("AWAY :{too_long}"));
    assert_eq!(bob.ask_one("PRIVMSG alice :hello"), format!(":acceptd 301 bob alice :{fits}"));
    let (fits, too_long) = longest(number(&mut alice, "KICKLEN"));
    alice.ask(&format!("KICK #lobby bob :{too_long}"));
    assert_eq!(bob.received(), [format!(":alice!~alice@chat KICK #lobby bob :{fits}")]);
    assert_eq!(number(&mut alice, "LINELEN"), 512);
}

#[test]
fn the_other_tokens_in_isupport_are_true() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let limit: usize = supported(&mut alice, "CHANLIMIT").strip_prefix("#:").unwrap().parse().unwrap();
    for room in 2..=limit {
        assert_eq!(numerics(&bob.ask(&format!("JOIN #r{room}"))), [353, 366]);
    }
    assert_eq!(bob.ask_one("JOIN #more"), ":acceptd 405 bob #more :You are on too many channels");
    let limits = supported(&mut alice, "TARGMAX");
    let (names, limits) = limits.split_once(',').unwrap();
    assert_eq!(names, "NAMES:1");
    assert_eq!(numerics(&bob.ask("NAMES #lobby,#r2")), [353, 366], "only of the first one");
    for limit in limits.split(',') {
        let (command, count) = limit.split_once(':').unwrap();
        let count: usize = count.parse().unwrap();
        let targets = |count: usize| vec!["alice"; count].join(",");
        assert!(bob.ask(&format!("{command} {} :hello", targets(count))).is_empty());
        assert_eq!(alice.received().len(), count, "{command}");
        let reply = numerics(&bob.ask(&format!("{command} {} :hello", targets(count + 1))));
        assert_eq!(reply, if command == "NOTICE" { vec![] } else { vec![407] });
        alice.received();
    }
    assert_eq!(supported(&mut alice, "CASEMAPPING"), "ascii");
    assert_eq!(supported(&mut alice, "CHANTYPES"), "#");
    for other in ["&local", "+modeless", "lobby", "!safe"] {
        assert_eq!(numerics(&alice.ask(&format!("JOIN {other}"))), [403], "{other}");
    }
    assert_eq!(supported(&mut alice, "PREFIX"), "(o)@");
    assert_eq!(supported(&mut alice, "CHANMODES"), ",,,n");
    assert_eq!(supported(&mut alice, "UTF8ONLY"), "");
    assert_eq!(alice.ask("MODE #lobby")[0], ":acceptd 324 alice #lobby +n");
    let mut eve = ChatClient::irc(&server, "eve");
    assert_eq!(numerics(&eve.ask("PRIVMSG #lobby :from outside")), [404], "+n means no messages from outside");
}

#[test]
fn a_join_is_announced_and_answered_with_topic_and_names() {
    let server = serve();
    let mut alice = ChatClient::irc(&server, "alice");
    assert_eq!(
        alice.ask("JOIN #Lobby"),
        [
            ":alice!~alice@chat JOIN #Lobby",
            ":acceptd 353 alice = #Lobby :@alice",
            ":acceptd 366 alice #Lobby :End of NAMES list"
        ]
    );
    alice.ask("TOPIC #lobby :tea");
    let mut bob = ChatClient::irc(&server, "bob");
    let reply = bob.ask("JOIN #LOBBY");
    assert_eq!(reply[..2], [":bob!~bob@chat JOIN #Lobby", ":acceptd 332 bob #Lobby :tea"]);
    assert!(reply[2].starts_with(":acceptd 333 bob #Lobby alice "));
    assert_eq!(reply[3..], [":acceptd 353 bob = #Lobby :@alice bob", ":acceptd 366 bob #Lobby :End of NAMES list"]);
    assert_eq!(alice.received(), [":bob!~bob@chat JOIN #Lobby"]);
    assert!(bob.ask("JOIN #lobby").is_empty(), "a second join has no effect");
    assert!(alice.received().is_empty());
}

#[test]
fn join_takes_a_list_of_channels_and_zero_leaves_all() {
    let server = serve();
    let mut alice = ChatClient::irc(&server, "alice");
    assert_eq!(numerics(&alice.ask("JOIN #a,b,#c,#d!,,# key1,key2")), [353, 366, 403, 353, 366, 403, 403]);
    let rule = "A channel's name is # and 1 to 30 letters (a to z), digits, _ or -";
    assert_eq!(alice.ask_one("JOIN b"), format!(":acceptd 403 alice b :{rule}"));
    assert_eq!(alice.ask("JOIN 0"), [":alice!~alice@chat PART #a", ":alice!~alice@chat PART #c"]);
    assert!(alice.ask("JOIN 0").is_empty());
    assert_eq!(numerics(&alice.ask("JOIN")), [461]);
}

#[test]
fn a_part_is_announced_with_its_reason() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    assert_eq!(bob.ask("PART #LOBBY :see you"), [":bob!~bob@chat PART #lobby :see you"]);
    assert_eq!(alice.received(), [":bob!~bob@chat PART #lobby :see you"]);
    assert_eq!(numerics(&bob.ask("PART #lobby,#nowhere,x")), [442, 403, 403]);
    assert_eq!(numerics(&bob.ask("PART")), [461]);
    assert_eq!(alice.ask("PART #lobby"), [":alice!~alice@chat PART #lobby"]);
    assert_eq!(numerics(&alice.ask("PART #lobby")), [403], "an empty channel is deleted");
}

#[test]
fn a_topic_can_be_queried_set_and_removed() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut eve = ChatClient::irc(&server, "eve");
    assert_eq!(alice.ask_one("TOPIC #lobby"), ":acceptd 331 alice #lobby :No topic is set");
    assert_eq!(bob.ask("TOPIC #lobby :a  b"), [":bob!~bob@chat TOPIC #lobby :a  b"]);
    assert_eq!(alice.received(), [":bob!~bob@chat TOPIC #lobby :a  b"]);
    let reply = alice.ask("TOPIC #lobby");
    assert_eq!(reply[0], ":acceptd 332 alice #lobby :a  b");
    let time: i64 = reply[1].strip_prefix(":acceptd 333 alice #lobby bob ").unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - time).abs() < 60);
    assert_eq!(numerics(&eve.ask("TOPIC #lobby :x")), [442]);
    assert_eq!(numerics(&eve.ask("TOPIC #nowhere")), [403]);
    assert_eq!(numerics(&eve.ask("TOPIC nonsense :x")), [403]);
    assert_eq!(numerics(&eve.ask("TOPIC")), [461]);
    assert_eq!(bob.ask("TOPIC #lobby :"), [":bob!~bob@chat TOPIC #lobby :"]);
    assert_eq!(numerics(&eve.ask("TOPIC #lobby")), [331]);
}

#[test]
fn names_and_list_show_members_and_channels() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.ask("JOIN #two\r\nTOPIC #two :tea");
    assert_eq!(
        alice.ask("NAMES #LOBBY"),
        [":acceptd 353 alice = #lobby :@alice bob", ":acceptd 366 alice #lobby :End of NAMES list"]
    );
    assert_eq!(alice.ask("NAMES #nowhere"), [":acceptd 366 alice #nowhere :End of NAMES list"]);
    assert_eq!(alice.ask("NAMES nonsense"), [":acceptd 366 alice nonsense :End of NAMES list"]);
    assert_eq!(alice.ask("NAMES"), [":acceptd 366 alice * :End of NAMES list"]);
    assert_eq!(
        alice.ask("LIST"),
        [
            ":acceptd 321 alice Channel :Users Topic",
            ":acceptd 322 alice #lobby 2 :",
            ":acceptd 322 alice #two 1 :tea",
            ":acceptd 323 alice :End of LIST"
        ]
    );
    let listed = alice.ask("LIST #two,#nowhere,#LOBBY,#two,#two");
    assert_eq!(numerics(&listed), [321, 322, 322, 323], "each once, by name");
    assert_eq!(listed[1..3], [":acceptd 322 alice #lobby 2 :", ":acceptd 322 alice #two 1 :tea"]);
}

#[test]
fn names_are_in_order_with_joins_and_parts() {
    let server = serve();
    let mut first = ChatClient::irc(&server, "first");
    first.ask("JOIN #room");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..4 {
            let mut other = ChatClient::irc(&server, &format!("other{number}"));
            let (is_over, start) = (&is_over, Instant::now());
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                    other.ask("JOIN #room");
                    other.ask("PART #room");
                }
            });
        }
        let mut watcher = ChatClient::irc(&server, "watcher");
        for _ in 0..300 {
            watcher.send_line("JOIN #room");
            let (mut present, mut names) = (HashMap::new(), None);
            while names.is_none() {
                let line = watcher.line();
                let name = line[1..].split(['!', ' ']).next().unwrap().to_owned();
                match line.split(' ').nth(1).unwrap() {
                    "JOIN" => drop(present.insert(name, true)),
                    "PART" => drop(present.insert(name, false)),
                    "353" => names = Some(line),
                    _ => {}
                }
            }
            let line = names.unwrap();
            // The first member may have been cut, because it doesn't read. Then the next one is the operator.
            let names = line.split_once(" :").unwrap().1.split(' ');
            let names: Vec<&str> = names.map(|name| name.trim_start_matches('@')).collect();
            let wrong: Vec<_> =
                present.iter().filter(|(name, is_present)| names.contains(&name.as_str()) != **is_present).collect();
            is_over.store(!wrong.is_empty(), Ordering::Relaxed);
            assert!(wrong.is_empty(), "{wrong:?} was announced before {line}");
            watcher.ask("PART #room");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_long_names_list_takes_several_lines() {
    let server = serve();
    let mut members: Vec<ChatClient> =
        (10..70).map(|number| ChatClient::irc_in_lobby(&server, &format!("member-of-20-chars{number}"))).collect();
    let reply = members[0].ask("NAMES #lobby");
    let lines = reply.iter().filter(|line| line.contains(" 353 "));
    let names: Vec<&str> = lines.flat_map(|line| line.rsplit(':').next().unwrap().split(' ')).collect();
    assert_eq!(names.len(), 60);
    assert_eq!(names[0], "@member-of-20-chars10");
    assert_eq!(names[59], "member-of-20-chars69");
}

#[test]
fn only_the_operator_can_kick() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = ChatClient::irc_in_lobby(&server, "carol");
    [&mut alice, &mut bob].into_iter().for_each(|member| drop(member.received()));
    assert_eq!(bob.ask_one("KICK #lobby carol"), ":acceptd 482 bob #lobby :You are not the channel's operator");
    assert_eq!(alice.ask("KICK #lobby CAROL :enough"), [":alice!~alice@chat KICK #lobby carol :enough"]);
    assert_eq!(bob.received(), [":alice!~alice@chat KICK #lobby carol :enough"]);
    assert_eq!(carol.received(), [":alice!~alice@chat KICK #lobby carol :enough"]);
    assert_eq!(numerics(&carol.ask("PRIVMSG #lobby :but")), [404]);
    assert_eq!(numerics(&carol.ask("KICK #lobby alice")), [442]);
    assert_eq!(numerics(&alice.ask("KICK #lobby carol")), [441]);
    assert_eq!(numerics(&alice.ask("KICK #lobby nobody,n!")), [441, 441]);
    assert_eq!(numerics(&alice.ask("KICK #nowhere bob")), [403]);
    assert_eq!(numerics(&alice.ask("KICK x bob")), [403]);
    assert_eq!(numerics(&alice.ask("KICK #lobby")), [461]);
    carol.ask("JOIN #lobby");
    alice.received();
    bob.received();
    assert_eq!(alice.ask("KICK #lobby bob,carol").len(), 2, "several at once");
}

#[test]
fn when_the_operator_leaves_the_next_member_becomes_operator() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = ChatClient::irc_in_lobby(&server, "carol");
    bob.received();
    alice.ask("PART #lobby");
    let events = [":alice!~alice@chat PART #lobby", ":acceptd MODE #lobby +o bob"];
    assert_eq!(bob.received(), events);
    assert_eq!(carol.received(), events);
    alice.ask("JOIN #lobby");
    assert_eq!(numerics(&alice.ask("KICK #lobby bob")), [482], "a member who rejoins is last");
    carol.received();
    bob.send_line("QUIT :bye");
    bob.rest();
    carol.eventually_receives(":acceptd MODE #lobby +o carol");
    assert!(alice.ask("NAMES #lobby").contains(&":acceptd 353 alice = #lobby :@carol alice".to_owned()));
    assert_eq!(carol.ask("KICK #lobby alice"), [":carol!~carol@chat KICK #lobby alice :kicked"]);
}

#[test]
fn modes_can_be_queried_but_not_changed() {
    let server = serve();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let reply = bob.ask("MODE #LOBBY");
    assert_eq!(reply[0], ":acceptd 324 bob #lobby +n");
    assert!(reply[1].starts_with(":acceptd 329 bob #lobby "));
    assert_eq!(bob.ask_one("MODE #lobby b"), ":acceptd 368 bob #lobby :End of ban list");
    assert_eq!(numerics(&alice.ask("MODE #lobby +b bob!*@*")), [472]);
    assert_eq!(numerics(&alice.ask("MODE #lobby +o bob")), [472]);
    assert_eq!(numerics(&bob.ask("MODE #lobby +n")), [482]);
    assert_eq!(numerics(&alice.ask("MODE #nowhere")), [403]);
    assert_eq!(alice.ask_one("MODE alice"), ":acceptd 221 alice +i");
    assert_eq!(alice.ask_one("MODE alice +i"), ":acceptd 221 alice +i", "irssi sets it, and is told that it is set");
    assert_eq!(numerics(&alice.ask("MODE alice -i")), [501]);
    assert_eq!(numerics(&alice.ask("MODE bob")), [502]);
    assert_eq!(numerics(&alice.ask("MODE nobody")), [401]);
    assert_eq!(numerics(&alice.ask("MODE")), [461]);
    assert!(bob.received().is_empty());
}

#[test]
fn modes_of_several_channels_get_a_reply_each() {
    let server = serve();
    let (mut alice, _bob) = alice_and_bob(&server);
    alice.ask("JOIN #two");
    assert_eq!(numerics(&alice.ask("MODE #lobby,#two")), [324, 329, 324, 329]);
    assert_eq!(numerics(&alice.ask("MODE #lobby,#two b")), [368, 368]);
    assert_eq!(numerics(&alice.ask("MODE #nowhere,#two")), [403, 324, 329]);
}
