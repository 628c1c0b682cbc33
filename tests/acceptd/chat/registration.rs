//! Registration of IRC clients, the welcome, and how clients leave.

use std::time::Duration;

use acceptd::Limits;
use acceptd::handler::chat::ChatOptions;

use crate::support::chat::{ChatClient, limits, numerics, options, serve, serve_with};

#[test]
fn nick_and_user_in_either_order_register_and_pass_is_allowed() {
    let server = serve();
    for lines in [
        &["NICK a1", "USER me 0 * :Me"][..],
        &["USER me 0 * :Me", "NICK a2"],
        &["PASS secret", "NICK a3", "USER me 0 * :Me"],
        &["nick a4", "user me 0 * Me"],
    ] {
        let mut client = ChatClient::unregistered(&server);
        let (last, first) = lines.split_last().unwrap();
        for line in first {
            assert!(client.ask(line).is_empty(), "{line}");
        }
        let welcome = client.ask(last);
        assert_eq!(numerics(&welcome), [1, 2, 3, 4, 5, 5, 251, 254, 255, 375, 372, 376], "{lines:?}");
    }
}

#[test]
fn the_welcome_uses_the_nickname() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    let welcome = client.ask("NICK Alice\r\nUSER a 0 * :A");
    assert!(welcome.iter().all(|line| line.starts_with(":acceptd ") && line.contains(" Alice ")), "{welcome:?}");
    assert_eq!(welcome[0], ":acceptd 001 Alice :Welcome to the chat, Alice");
}

#[test]
fn other_commands_are_refused_before_registration() {
    let server = serve();
    let mut unregistered = ChatClient::unregistered(&server);
    assert!(unregistered.ask("NICK alice").is_empty());
    for line in ["JOIN #lobby", "PRIVMSG alice :hello", "LIST", "WHO", "MOTD", "NONSENSE", "TIME"] {
        assert_eq!(numerics(&unregistered.ask(line)), [451], "{line}");
    }
    assert!(!unregistered.ask("USER a 0 * :A").is_empty());
    assert_eq!(numerics(&unregistered.ask("USER b 0 * :B")), [462], "USER works only once");
    assert!(unregistered.ask("WHOIS alice")[0].contains(" ~a chat * :A"));
}

#[test]
fn missing_parameters_are_reported() {
    let server = serve();
    let mut unregistered = ChatClient::unregistered(&server);
    unregistered.ask("PASS x");
    assert_eq!(unregistered.ask_one("NICK"), ":acceptd 431 * :No nickname given");
    for line in ["USER", "USER a", "USER a 0 *", "USER a 0 * :"] {
        assert_eq!(unregistered.ask_one(line), ":acceptd 461 * USER :Not enough parameters", "{line}");
    }
    assert!(unregistered.ask_one("PING").contains(" 461 "));
}

#[test]
fn a_malformed_or_taken_nickname_is_refused_in_any_case() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    alice.received();
    for wrong in ["1!", "a:b", "bób", "#a", "*", "a.b", "abcdefghijklmnopqrstu"] {
        assert_eq!(numerics(&bob.ask(&format!("NICK {wrong}"))), [432], "{wrong}");
    }
    for taken in ["alice", "ALICE"] {
        let refused = format!(":acceptd 433 bob {taken} :Nickname is already in use");
        assert_eq!(bob.ask_one(&format!("NICK {taken}")), refused);
    }
    let mut unregistered = ChatClient::unregistered(&server);
    assert_eq!(numerics(&unregistered.ask("NICK Alice\r\nUSER a 0 * :A")), [433]);
    assert_eq!(numerics(&unregistered.ask("NICK eve"))[0], 1, "another nickname is accepted");
    assert!(alice.received().is_empty());
}

#[test]
fn the_first_client_to_register_gets_the_nickname() {
    let server = serve();
    let mut first = ChatClient::unregistered(&server);
    let mut second = ChatClient::unregistered(&server);
    assert!(first.ask("NICK alice").is_empty());
    assert!(second.ask("NICK alice").is_empty());
    assert_eq!(numerics(&second.ask("USER a 0 * :A"))[0], 1);
    assert_eq!(first.ask("USER a 0 * :A"), [":acceptd 433 * alice :Nickname is already in use"]);
    assert_eq!(numerics(&first.ask("NICK alice2"))[0], 1);
}

#[test]
fn a_nickname_change_is_announced_once_to_the_member_and_the_room() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    alice.ask("JOIN #two");
    bob.ask("JOIN #two");
    alice.received();
    assert_eq!(bob.ask("NICK Bob"), [":bob!~bob@chat NICK Bob"], "a member can change the case of its nickname");
    assert_eq!(alice.received(), [":bob!~bob@chat NICK Bob"]);
    assert!(bob.ask("NICK Bob").is_empty(), "nothing changed");
    assert!(alice.received().is_empty());
    assert_eq!(bob.ask("NICK robert"), [":Bob!~bob@chat NICK robert"]);
    alice.received();
    assert!(numerics(&alice.ask("PRIVMSG bob :there?")).contains(&401));
    assert!(alice.ask("PRIVMSG robert :there?").is_empty());
    assert_eq!(bob.received(), [":alice!~alice@chat PRIVMSG robert :there?"]);
}

#[test]
fn capabilities_suspend_registration_until_their_end() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    assert_eq!(client.ask("CAP LS 302"), [":acceptd CAP * LS :echo-message server-time"]);
    assert!(client.ask("NICK alice\r\nUSER a 0 * :A").is_empty());
    assert_eq!(client.ask("CAP REQ :server-time"), [":acceptd CAP alice ACK :server-time"]);
    assert_eq!(client.ask("CAP REQ :echo-message nonsense"), [":acceptd CAP alice NAK :echo-message nonsense"]);
    assert_eq!(client.ask("CAP LIST"), [":acceptd CAP alice LIST :server-time"], "a request is all or nothing");
    assert_eq!(client.ask("CAP REQ :echo-message -server-time"), [":acceptd CAP alice ACK :echo-message -server-time"]);
    assert_eq!(client.ask("CAP LIST"), [":acceptd CAP alice LIST :echo-message"]);
    assert_eq!(numerics(&client.ask("CAP NONSENSE")), [410]);
    assert_eq!(numerics(&client.ask("CAP END"))[0], 1);
    assert!(client.ask("CAP END").is_empty());
    assert_eq!(
        client.ask("CAP LS"),
        [":acceptd CAP alice LS :echo-message server-time"],
        "a registered client may ask too"
    );
}

#[test]
fn a_request_for_capabilities_alone_suspends_registration_too() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    client.ask("CAP REQ :echo-message");
    assert!(client.ask("NICK alice\r\nUSER a 0 * :A").is_empty());
    assert_eq!(numerics(&client.ask("CAP END"))[0], 1);
}

#[test]
fn echo_message_returns_messages_and_server_time_dates_them() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    assert!(alice.ask("PRIVMSG #lobby :one").is_empty());
    alice.ask("CAP REQ :echo-message");
    assert_eq!(alice.ask("PRIVMSG #lobby :two"), [":alice!~alice@chat PRIVMSG #lobby :two"]);
    assert_eq!(alice.ask("NOTICE #lobby :two"), [":alice!~alice@chat NOTICE #lobby :two"]);
    let mut bob = ChatClient::irc(&server, "bob");
    assert_eq!(alice.ask("PRIVMSG bob :three"), [":alice!~alice@chat PRIVMSG bob :three"]);
    alice.ask("CAP REQ :server-time");
    bob.ask("JOIN #lobby");
    bob.ask("PRIVMSG #lobby :four");
    let received = alice.received();
    assert_eq!(received.len(), 2);
    for (line, expected) in received.iter().zip(["JOIN #lobby", "PRIVMSG #lobby :four"]) {
        let (tag, rest) = line.split_once(' ').unwrap();
        let time: jiff::Timestamp = tag.strip_prefix("@time=").unwrap().parse().unwrap();
        assert!((jiff::Timestamp::now() - time).total(jiff::Unit::Second).unwrap().abs() < 60.0, "{tag}");
        assert_eq!(rest, format!(":bob!~bob@chat {expected}"));
    }
    alice.ask("CAP REQ :-server-time -echo-message");
    bob.ask("PRIVMSG #lobby :five");
    assert_eq!(alice.ask("PRIVMSG #lobby :six"), [":bob!~bob@chat PRIVMSG #lobby :five"]);
}

#[test]
fn lines_work_byte_by_byte_all_at_once_with_empty_lines_and_with_bare_lf() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    for byte in b"NICK alice\r\nUSER a 0 * :A\r\nPING 1\r\n" {
        client.client.send([*byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.received().last().unwrap(), ":acceptd PONG acceptd :1");
    client.client.send("\r\n\n  \r\nPING 2\nPING 3\r\n\r\nPI");
    client.client.send("NG 4\r");
    client.client.send("\n");
    let pongs: Vec<String> = (2..=4).map(|number| format!(":acceptd PONG acceptd :{number}")).collect();
    assert_eq!(client.received(), pongs);
    assert_eq!(
        client.ask("@tag=x;y :source PING :a b"),
        [":acceptd PONG acceptd :a b"],
        "tags and a source are ignored"
    );
    assert!(client.ask("PONG whatever").is_empty());
}

#[test]
fn a_line_of_512_bytes_is_accepted_and_a_longer_one_is_refused() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    alice.received();
    let start = "PRIVMSG #lobby :";
    let text = "x".repeat(512 - 2 - start.len());
    assert!(bob.ask(&format!("{start}{text}")).is_empty());
    // With its source, the message is longer than a line, so it is split.
    let received = alice.received();
    let parts: Vec<&str> =
        received.iter().map(|line| line.strip_prefix(":bob!~bob@chat PRIVMSG #lobby :").unwrap()).collect();
    assert_eq!(parts.concat(), text);
    for more in [1, 2, 100, 100_000] {
        let line = format!("{start}{text}{}", "y".repeat(more));
        assert_eq!(bob.ask_one(&line), ":acceptd 417 bob :That line is longer than 512 bytes", "{more}");
    }
    assert!(alice.received().is_empty());
}

#[test]
fn a_line_that_is_not_utf_8_is_refused_with_its_command() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for (line, command) in [
        (&b"PRIVMSG #lobby :caf\xe9\r\n"[..], "PRIVMSG"),
        (b"TOPIC #lobby :caf\xe9\r\n", "TOPIC"),
        (b"PING caf\xe9\r\n", "PING"),
        (b"CAF\xe9 x\r\n", "*"),
    ] {
        alice.client.send(line);
        assert_eq!(
            alice.received(),
            [format!(":acceptd FAIL {command} INVALID_UTF8 :That was not UTF-8, and was ignored")]
        );
    }
    alice.client.send(b"QUIT :caf\xe9\r\n");
    assert_eq!(alice.rest(), ["ERROR :Closing link: caf\u{fffd}"]);
}

#[test]
fn a_registration_that_is_not_utf_8_continues() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    client.client.send(b"PASS \xe9\r\nNICK Ren\xe9\r\n");
    assert_eq!(numerics(&client.received()), [432], "the client can choose another nickname");
    client.client.send(b"NICK rene\r\nUSER Ren\xe9 0 * :Ren\xe9 de Tours\r\n");
    let received = client.received();
    assert!(received[0].starts_with(":acceptd WARN USER INVALID_UTF8 :"), "{received:?}");
    assert_eq!(numerics(&received[1..])[0], 1);
    assert!(client.ask("WHOIS rene")[0].ends_with(" ~Ren chat * :Ren\u{fffd} de Tours"));
    let mut first = ChatClient::unregistered(&server);
    first.client.send(b"USER u 0 * :Ren\xe9\r\nNICK ada\r\n");
    assert!(numerics(&first.received()).contains(&1), "it may be the first line");
}

#[test]
fn an_unknown_command_gets_numeric_421() {
    let server = serve();
    let mut alice = ChatClient::irc(&server, "alice");
    assert_eq!(alice.ask_one("frobnicate now"), ":acceptd 421 alice FROBNICATE :Unknown command");
    assert_eq!(numerics(&alice.ask(&"x".repeat(500))), [421]);
}

#[test]
fn motd_lusers_version_and_time_are_answered() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    assert_eq!(numerics(&alice.ask("MOTD")), [375, 372, 376]);
    let mut bob = ChatClient::person(&server, "bob");
    bob.send_line("/quit");
    bob.rest();
    alice.eventually_receives(":bob!~guest1@chat QUIT :");
    let lusers = alice.ask("LUSERS");
    assert_eq!(numerics(&lusers), [251, 254, 255]);
    assert_eq!(lusers[0], ":acceptd 251 alice :There are 1 users on 1 server");
    assert_eq!(lusers[1], ":acceptd 254 alice 1 :channels formed");
    assert_eq!(numerics(&alice.ask("VERSION")), [351, 5, 5]);
    let time = alice.ask_one("TIME");
    let time = time.strip_prefix(":acceptd 391 alice acceptd :").unwrap().replace(" UTC", "Z");
    time.parse::<jiff::Timestamp>().unwrap();
}

#[test]
fn quit_is_answered_with_error_and_announced_once() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for (line, reason) in [("QUIT :see you", "see you"), ("QUIT", "quit")] {
        let mut bob = ChatClient::irc_in_lobby(&server, "bob");
        alice.ask("JOIN #two");
        bob.ask("JOIN #two");
        alice.received();
        bob.send_line(line);
        assert_eq!(bob.rest(), [format!("ERROR :Closing link: {reason}")]);
        alice.eventually_receives(&format!(":bob!~bob@chat QUIT :{reason}"));
        assert!(alice.received().is_empty());
    }
    let mut unregistered = ChatClient::unregistered(&server);
    unregistered.send_line("NICK eve\r\nQUIT");
    assert_eq!(unregistered.rest(), ["ERROR :Closing link: quit"]);
    assert!(alice.received().is_empty(), "an unregistered client is never announced");
}

#[test]
fn a_silent_client_is_pinged_and_closed_if_it_does_not_answer() {
    let server = serve_with(limits(), ChatOptions { ping: Duration::from_millis(300), ..options() });
    let mut alice = ChatClient::person(&server, "alice");
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    for _ in 0..3 {
        assert_eq!(bob.line(), "PING :acceptd");
        bob.send_line("PONG :acceptd");
    }
    assert_eq!(bob.line(), "PING :acceptd");
    assert_eq!(bob.rest(), ["ERROR :Closing link: ping timeout"]);
    alice.eventually_receives("* bob left (ping timeout)");
}

#[test]
fn pings_can_be_disabled() {
    let server = serve_with(limits(), ChatOptions { ping: Duration::MAX, ..options() });
    let mut bob = ChatClient::irc_in_lobby(&server, "bob");
    assert_eq!(bob.ask_one("PING x"), ":acceptd PONG acceptd :x");
}

#[test]
fn a_client_that_does_not_register_in_time_is_closed_however_busy_it_is() {
    let limits = Limits { request_timeout: Duration::from_millis(600), ..limits() };
    let server = serve_with(limits, ChatOptions { ping: Duration::from_secs(60), ..options() });
    let mut silent = ChatClient::unregistered(&server);
    silent.send_line("NICK alice");
    assert_eq!(silent.rest(), ["ERROR :Closing link: registration timeout"]);
    let mut busy = ChatClient::unregistered(&server);
    busy.send_line("CAP LS");
    let mut received = Vec::new();
    crate::support::eventually("it is closed", || {
        busy.client.try_send("PING x\r\n");
        received.extend(busy.next());
        received.last().unwrap().starts_with("ERROR")
    });
    assert_eq!(received.last().unwrap(), "ERROR :Closing link: registration timeout");
    ChatClient::irc(&server, "alice");
}
