//! Messages between IRC users, and queries about users.

use crate::support::chat::{ChatClient, numerics, serve};

#[test]
fn messages_that_cannot_be_delivered_get_the_right_numeric() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::irc(&server, "bob");
    bob.ask("JOIN #two");
    for (line, expected) in [
        ("PRIVMSG", 411),
        ("PRIVMSG bob", 412),
        ("PRIVMSG bob :", 412),
        ("PRIVMSG nobody :hello", 401),
        ("PRIVMSG n!o!b :hello", 401),
        ("PRIVMSG #nowhere :hello", 403),
        ("PRIVMSG #n!o :hello", 403),
        ("PRIVMSG #two :hello", 404),
        ("PRIVMSG a,b,c,d,e :hello", 407),
        ("PRIVMSG bob :\u{1}VERSION\u{1}", 404),
        ("PRIVMSG #lobby :\u{1}DCC SEND x 1 2 3\u{1}", 404),
    ] {
        assert_eq!(numerics(&alice.ask(line)), [expected], "{line:?}");
        let notice = line.replace("PRIVMSG", "NOTICE");
        assert!(alice.ask(&notice).is_empty(), "to a notice nothing is answered: {notice:?}");
    }
    assert!(bob.received().is_empty());
    assert_eq!(numerics(&alice.ask("PRIVMSG nobody,bob,#two :hello")), [401, 404], "one numeric for each target");
    assert_eq!(bob.received(), [":alice!~alice@chat PRIVMSG bob :hello"]);
}

#[test]
fn messages_notices_and_actions_keep_their_kind() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    alice.ask("PRIVMSG #LOBBY :to all");
    alice.ask("NOTICE #lobby :to all, quietly");
    alice.ask("PRIVMSG BOB :to one");
    alice.ask("NOTICE bob :to one, quietly");
    alice.ask("PRIVMSG #lobby :\u{1}ACTION waves\u{1}");
    alice.ask("PRIVMSG bob :\u{1}action winks\u{1}");
    assert_eq!(
        bob.received(),
        [
            "PRIVMSG #lobby :to all",
            "NOTICE #lobby :to all, quietly",
            "PRIVMSG bob :to one",
            "NOTICE bob :to one, quietly",
            "PRIVMSG #lobby :\u{1}ACTION waves\u{1}",
            "PRIVMSG bob :\u{1}ACTION winks\u{1}",
        ]
        .map(|line| format!(":alice!~alice@chat {line}"))
    );
}

#[test]
fn a_message_to_oneself_arrives_after_the_earlier_replies() {
    let server = serve();
    let mut alice = ChatClient::irc(&server, "alice");
    assert_eq!(
        alice.ask("PING one\r\nPRIVMSG alice :two\r\nPING three"),
        [":acceptd PONG acceptd :one", ":alice!~alice@chat PRIVMSG alice :two", ":acceptd PONG acceptd :three"]
    );
    let mut bob = ChatClient::person(&server, "bob");
    assert_eq!(
        bob.ask("/me\n/msg bob two\n/me"),
        ["* what do you do? /me waves", "bob (private): two", "* what do you do? /me waves"]
    );
}

#[test]
fn senders_are_told_that_a_member_is_away() {
    let server = serve();
    let mut alice = ChatClient::irc(&server, "alice");
    let mut bob = ChatClient::irc(&server, "bob");
    assert_eq!(alice.ask_one("AWAY :out for  lunch"), ":acceptd 306 alice :You are marked as away");
    assert_eq!(bob.ask_one("PRIVMSG alice :hungry?"), ":acceptd 301 bob alice :out for  lunch");
    assert!(bob.ask("NOTICE alice :hungry?").is_empty());
    assert!(bob.ask("WHOIS alice").contains(&":acceptd 301 bob alice :out for  lunch".to_owned()));
    assert_eq!(alice.received().len(), 2, "away members still get messages");
    assert_eq!(alice.ask_one("AWAY"), ":acceptd 305 alice :You are no longer marked as away");
    assert!(bob.ask("PRIVMSG alice :there?").is_empty());
}

#[test]
fn who_and_whois_describe_members() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::person(&server, "bob");
    bob.ask("/away lunch");
    alice.received();
    assert_eq!(
        alice.ask("WHO #LOBBY"),
        [
            ":acceptd 352 alice #lobby ~alice chat acceptd alice H@ :0 alice in person",
            ":acceptd 352 alice #lobby ~guest1 chat acceptd bob G :0 guest1",
            ":acceptd 315 alice #LOBBY :End of WHO list"
        ]
    );
    assert_eq!(alice.ask("WHO alice")[0], ":acceptd 352 alice * ~alice chat acceptd alice H :0 alice in person");
    let mut carol = ChatClient::irc(&server, "carol");
    carol.ask("JOIN #lobby,#attic");
    let mut dave = ChatClient::irc(&server, "dave");
    dave.ask("JOIN #cellar");
    alice.ask("JOIN #attic");
    alice.received();
    let met = alice.ask("WHO *");
    let names = met.iter().filter_map(|line| line.split_once(" acceptd ")?.1.split(' ').next());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["alice", "bob", "carol"],
        "each member once, and only those who share a channel"
    );
    assert_eq!(numerics(&alice.ask("WHO #nowhere")), [315]);
    assert_eq!(numerics(&alice.ask("WHO nobody")), [315]);
    let whois = alice.ask("WHOIS ALICE");
    assert_eq!(numerics(&whois), [311, 319, 312, 317, 318]);
    assert_eq!(whois[0], ":acceptd 311 alice alice ~alice chat * :alice in person");
    assert_eq!(whois[1], ":acceptd 319 alice alice :@#lobby #attic");
    assert_eq!(numerics(&alice.ask("WHOIS bob")), [311, 319, 312, 301, 317, 318]);
    assert_eq!(numerics(&alice.ask("WHOIS acceptd bob")), [311, 319, 312, 301, 317, 318]);
    assert_eq!(numerics(&alice.ask("WHOIS nobody")), [401, 318]);
    assert_eq!(numerics(&alice.ask("WHOIS")), [431]);
}

#[test]
fn ison_and_userhost_list_members_who_are_online() {
    let server = serve();
    let mut alice = ChatClient::irc(&server, "alice");
    let mut bob = ChatClient::irc(&server, "bob");
    bob.ask("AWAY :lunch");
    assert_eq!(alice.ask_one("ISON BOB nobody alice"), ":acceptd 303 alice :bob alice");
    assert_eq!(alice.ask_one("ISON :bob alice"), ":acceptd 303 alice :bob alice");
    assert_eq!(alice.ask_one("ISON nobody"), ":acceptd 303 alice :");
    assert_eq!(alice.ask_one("USERHOST bob nobody alice"), ":acceptd 302 alice :bob=-~bob@chat alice=+~alice@chat");
    // The names that fit into the request do not all fit into the reply.
    let many = vec!["bob"; 126].join(" ");
    let reply = alice.ask_one(&format!("ISON {many}"));
    assert!(reply.ends_with(":bob bob") || reply.ends_with("bob bob bob"), "{reply}");
}
