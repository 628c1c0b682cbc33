//! Which dialect a client speaks: its first whole line decides, whenever it comes.

use std::time::{Duration, Instant};

use acceptd::Limits;
use acceptd::handler::chat::{Options, Protocol};

use crate::support::TestServer;
use crate::support::chat::{Member, limits, numerics, options, serve, serve_with};

/// Longer than the server waits before it greets a silent client.
const GREETING: Duration = Duration::from_secs(1);

fn serve_only(protocol: Protocol) -> TestServer {
    serve_with(limits(), Options { protocol, ..options() })
}

/// A client that was greeted as a person because it was silent. It reads lines of both dialects.
fn greeted(server: &TestServer) -> Member {
    let mut client = Member::guest(server);
    assert!(client.line().starts_with("* welcome, you are guest"));
    client
}

/// What the rest of a connection has, whatever its lines end with.
fn rest(mut client: Member) -> String {
    client.rest().join("\n")
}

#[test]
fn registration_is_irc_in_either_case() {
    let server = serve();
    for begin in ["CAP LS", "NICK a", "USER a 0 * :A", "PASS x", "cap ls", "nick b", "User b 0 * :B", "pass x"] {
        let mut client = Member::stranger(&server);
        client.say(begin);
        let heard = client.ask("NONSENSE");
        assert!(numerics(&heard).contains(&451), "{begin}: {heard:?}");
    }
}

#[test]
fn what_people_say_is_said_although_it_begins_with_a_word_of_irc() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
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
        let mut person = Member::guest(&server);
        person.say(line);
        assert!(person.line().starts_with("* welcome"), "{line}");
        person.hears();
        assert!(alice.hears().iter().any(|heard| heard.ends_with(&format!("PRIVMSG #lobby :{line}"))), "{line}");
    }
}

#[test]
fn text_piped_in_by_a_script_is_said_whole() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    server.connect().talk("User alice logged in\nbackup done\n");
    alice.hears_in_the_end("guest2: backup done");
    assert_eq!(alice.ask("/history").len(), 3, "a head, and two lines");
}

#[test]
fn the_first_line_may_come_in_pieces() {
    let server = serve();
    let mut client = Member::stranger(&server);
    for piece in ["\r", "\n", "N", "I", "CK al", "ice\r\n", "USER a 0 * ", ":A\r\n"] {
        client.client.send(piece);
        std::thread::yield_now();
    }
    assert!(client.line().starts_with(":acceptd 001 alice "));
}

#[test]
fn a_client_that_is_silent_for_a_second_is_greeted() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let start = Instant::now();
    let mut person = greeted(&server);
    assert!(start.elapsed() >= GREETING, "an IRC client has time to begin");
    assert_eq!(person.line(), "* what you type is said in your room; /help lists the commands");
    assert_eq!(person.line(), "* you are in lobby; 2 people are here");
    assert_eq!(alice.hears(), ["* guest2 joined"]);
    person.ask("hello");
    assert_eq!(alice.hears(), ["guest2: hello"]);
}

#[test]
fn a_client_that_was_greeted_may_register_still_and_nobody_hears_it() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut client = greeted(&server);
    (0..2).for_each(|_| drop(client.line()));
    client.client.send("\r\n\u{feff}PASS secret\r\nNICK bob\r\nUSER b 0 * :B\r\nJOIN #lobby\r\nQUIT :bye\r\n");
    let heard = rest(client);
    assert!(heard.contains(":acceptd 001 bob ") && heard.contains(":bob!~b@chat JOIN #lobby"), "{heard}");
    alice.hears_in_the_end("* bob left (bye)");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn telnet_negotiation_decides_nothing_and_delays_no_greeting() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut client = Member::guest(&server);
    client.client.send(b"\xff\xfb\x1f\xff\xfd\x03\xff\xf1");
    assert!(client.line().starts_with("* welcome, you are guest2"));
    client.client.send("NICK bob\r\nUSER b 0 * :B\r\nQUIT\r\n");
    assert!(rest(client).contains(":acceptd 001 bob "));
    alice.hears_in_the_end("* guest2 left (goes on in IRC)");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn others_hear_why_a_guest_has_gone_that_goes_on_in_irc() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut client = greeted(&server);
    client.client.send("NICK bob\r\n");
    alice.hears_in_the_end("* guest2 left (goes on in IRC)");
    client.client.send("USER b 0 * :B\r\nJOIN #lobby\r\n");
    alice.hears_in_the_end("* bob joined");
}

#[test]
fn a_client_in_the_middle_of_its_first_line_is_not_greeted() {
    let limits = Limits { request_timeout: GREETING * 2, ..limits() };
    let server = serve_with(limits, options());
    let mut alice = Member::person(&server, "alice");
    let mut client = Member::guest(&server);
    client.client.send("NIC");
    assert_eq!(client.rest(), ["* the request was not complete after 2s, closing"]);
    assert!(alice.hears().is_empty());
}

#[test]
fn a_person_who_has_said_something_stays_one() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut bob = Member::person(&server, "bob");
    alice.hears();
    assert!(bob.ask("NICK robert").is_empty());
    assert_eq!(alice.hears(), ["bob: NICK robert"]);
}

#[test]
fn text_alone_takes_registration_for_what_a_person_says() {
    let server = serve_only(Protocol::Text);
    let mut alice = Member::person(&server, "alice");
    let mut person = Member::guest(&server);
    person.ask("NICK bob");
    assert_eq!(alice.hears(), ["* guest2 joined", "guest2: NICK bob"]);
    greeted(&server);
}

#[test]
fn irc_alone_takes_everything_for_irc() {
    let limits = Limits { request_timeout: GREETING * 2, ..limits() };
    let server = serve_with(limits, Options { protocol: Protocol::Irc, ..options() });
    let mut client = Member::stranger(&server);
    assert_eq!(numerics(&client.ask("hello everybody")), [451]);
    assert_eq!(numerics(&client.ask("NICK bob\r\nUSER b 0 * :B"))[0], 1);
    let mut long = Member::stranger(&server);
    assert_eq!(numerics(&long.ask(&"x".repeat(600))), [417]);
    let silent = Member::stranger(&server);
    assert_eq!(rest(silent), "ERROR :Closing link: registration timeout", "it is not greeted");
    let mut web = server.connect();
    web.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nNICK eve\r\nUSER e 0 * :E\r\n");
    crate::support::http_response(&web.rest());
}

#[test]
fn a_first_line_of_irc_is_no_longer_than_others() {
    let server = serve();
    let mut client = Member::stranger(&server);
    assert_eq!(numerics(&client.ask(&format!("USER a 0 * :{}", "x".repeat(600)))), [417]);
    assert_eq!(numerics(&client.ask("NICK alice\r\nUSER a 0 * :A"))[0], 1);
}

#[test]
fn who_leaves_without_a_word_has_never_been_there() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    for _ in 0..3 {
        drop(server.connect());
        let mut half_closed = server.connect();
        half_closed.end_output();
        assert_eq!(half_closed.rest(), "");
        server.connect().talk("\r\n\r\n");
        server.connect().talk("half a line");
    }
    let mut bob = Member::guest(&server);
    assert_eq!(bob.line(), "* welcome, you are guest2; 2 people are here");
    bob.hears();
    assert_eq!(alice.hears(), ["* guest2 joined"]);
}
