//! Detection of the dialect: a client's first complete line decides, whenever it arrives.

use std::time::{Duration, Instant};

use acceptd::Limits;
use acceptd::handler::chat::{ChatOptions, ChatProtocol};

use crate::support::TestServer;
use crate::support::chat::{ChatClient, limits, numerics, options, serve, serve_with};

/// How long the server waits before it greets a silent client.
const GREETING: Duration = Duration::from_secs(1);

fn serve_only(protocol: ChatProtocol) -> TestServer {
    serve_with(limits(), ChatOptions { protocol, ..options() })
}

/// A silent client that has become a guest. It reads lines of both dialects.
fn greeted(server: &TestServer) -> ChatClient {
    let mut client = ChatClient::guest(server);
    assert!(client.line().starts_with("* welcome, you are guest"));
    client
}

/// The remaining lines of a connection, whatever they end with.
fn rest(mut client: ChatClient) -> String {
    client.rest().join("\n")
}

#[test]
fn a_registration_in_either_case_starts_irc() {
    let server = serve();
    for begin in ["CAP LS", "NICK a", "USER a 0 * :A", "PASS x", "cap ls", "nick b", "User b 0 * :B", "pass x"] {
        let mut client = ChatClient::unregistered(&server);
        client.send_line(begin);
        let received = client.ask("NONSENSE");
        assert!(numerics(&received).contains(&451), "{begin}: {received:?}");
    }
}

#[test]
fn a_message_that_begins_with_an_irc_command_is_delivered() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for line in [
        "User alice logged in",
        "pass the salt",
        "Cap on the queue reached",
        "nick of time",
        "NICKY is here",
        "nick",
        "Captain",
        "user",
        "passport please",
        "N",
        "join us",
        "ping me",
    ] {
        let mut person = ChatClient::guest(&server);
        person.send_line(line);
        assert!(person.line().starts_with("* welcome"), "{line}");
        person.received();
        assert!(
            alice.received().iter().any(|received| received.ends_with(&format!("PRIVMSG #lobby :{line}"))),
            "{line}"
        );
    }
}

#[test]
fn text_piped_in_by_a_script_is_delivered_in_full() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    server.connect().talk("User alice logged in\nbackup done\n");
    alice.eventually_receives("guest2: backup done");
    assert_eq!(alice.ask("/history").len(), 3, "a heading and two lines");
}

#[test]
fn the_first_line_may_arrive_in_pieces() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    for piece in ["\r", "\n", "N", "I", "CK al", "ice\r\n", "USER a 0 * ", ":A\r\n"] {
        client.client.send(piece);
        std::thread::yield_now();
    }
    assert!(client.line().starts_with(":acceptd 001 alice "));
}

#[test]
fn a_client_that_is_silent_for_a_second_becomes_a_guest() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let start = Instant::now();
    let mut person = greeted(&server);
    assert!(start.elapsed() >= GREETING, "IRC clients have time to register");
    assert_eq!(person.line(), "* what you type is said in your room; /help lists the commands");
    assert_eq!(person.line(), "* you are in lobby; 2 people are here");
    assert_eq!(alice.received(), ["* guest2 joined"]);
    person.ask("hello");
    assert_eq!(alice.received(), ["guest2: hello"]);
}

#[test]
fn a_guest_can_still_register_in_irc_without_others_seeing_it() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut client = greeted(&server);
    (0..2).for_each(|_| drop(client.line()));
    client.client.send("\r\n\u{feff}PASS secret\r\nNICK bob\r\nUSER b 0 * :B\r\nJOIN #lobby\r\nQUIT :bye\r\n");
    let received = rest(client);
    assert!(received.contains(":acceptd 001 bob ") && received.contains(":bob!~b@chat JOIN #lobby"), "{received}");
    alice.eventually_receives("* bob left (bye)");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn telnet_negotiation_does_not_decide_the_dialect_or_delay_the_greeting() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut client = ChatClient::guest(&server);
    client.client.send(b"\xff\xfb\x1f\xff\xfd\x03\xff\xf1");
    assert!(client.line().starts_with("* welcome, you are guest2"));
    client.client.send("NICK bob\r\nUSER b 0 * :B\r\nQUIT\r\n");
    assert!(rest(client).contains(":acceptd 001 bob "));
    alice.eventually_receives("* guest2 left (goes on in IRC)");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn members_are_told_when_a_guest_switches_to_irc() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut client = greeted(&server);
    client.client.send("NICK bob\r\n");
    alice.eventually_receives("* guest2 left (goes on in IRC)");
    client.client.send("USER b 0 * :B\r\nJOIN #lobby\r\n");
    alice.eventually_receives("* bob joined");
}

#[test]
fn a_client_is_not_greeted_in_the_middle_of_its_first_line() {
    let limits = Limits { request_timeout: GREETING * 2, ..limits() };
    let server = serve_with(limits, options());
    let mut alice = ChatClient::person(&server, "alice");
    let mut client = ChatClient::guest(&server);
    client.client.send("NIC");
    assert_eq!(client.rest(), ["* the request was not complete after 2s, closing"]);
    assert!(alice.received().is_empty());
}

#[test]
fn the_dialect_does_not_change_after_the_first_line() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut bob = ChatClient::person(&server, "bob");
    alice.received();
    assert!(bob.ask("NICK robert").is_empty());
    assert_eq!(alice.received(), ["bob: NICK robert"]);
}

#[test]
fn with_protocol_text_a_registration_is_a_message() {
    let server = serve_only(ChatProtocol::Text);
    let mut alice = ChatClient::person(&server, "alice");
    let mut person = ChatClient::guest(&server);
    person.ask("NICK bob");
    assert_eq!(alice.received(), ["* guest2 joined", "guest2: NICK bob"]);
    greeted(&server);
}

#[test]
fn with_protocol_irc_every_line_is_irc() {
    let limits = Limits { request_timeout: GREETING * 2, ..limits() };
    let server = serve_with(limits, ChatOptions { protocol: ChatProtocol::Irc, ..options() });
    let mut client = ChatClient::unregistered(&server);
    assert_eq!(numerics(&client.ask("hello everybody")), [451]);
    assert_eq!(numerics(&client.ask("NICK bob\r\nUSER b 0 * :B"))[0], 1);
    let mut long = ChatClient::unregistered(&server);
    assert_eq!(numerics(&long.ask(&"x".repeat(600))), [417]);
    let silent = ChatClient::unregistered(&server);
    assert_eq!(rest(silent), "ERROR :Closing link: registration timeout", "it is not greeted");
    let mut web = server.connect();
    web.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nNICK eve\r\nUSER e 0 * :E\r\n");
    crate::support::http_response(&web.rest());
}

#[test]
fn the_first_irc_line_has_the_same_limit_as_others() {
    let server = serve();
    let mut client = ChatClient::unregistered(&server);
    assert_eq!(numerics(&client.ask(&format!("USER a 0 * :{}", "x".repeat(600)))), [417]);
    assert_eq!(numerics(&client.ask("NICK alice\r\nUSER a 0 * :A"))[0], 1);
}

#[test]
fn a_client_that_leaves_without_sending_anything_is_never_announced() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    for _ in 0..3 {
        drop(server.connect());
        let mut half_closed = server.connect();
        half_closed.end_output();
        assert_eq!(half_closed.rest(), "");
        server.connect().talk("\r\n\r\n");
        server.connect().talk("half a line");
    }
    let mut bob = ChatClient::guest(&server);
    assert_eq!(bob.line(), "* welcome, you are guest2; 2 people are here");
    bob.received();
    assert_eq!(alice.received(), ["* guest2 joined"]);
}
