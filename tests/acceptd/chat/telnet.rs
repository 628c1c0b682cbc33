//! Telnet, line ends and typing errors in the chat, in both of its dialects.

use crate::support::Client;
use crate::support::chat::{Member, serve};

/// What a telnet client of plink's opens with.
const NEGOTIATION: &[u8] =
    b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0";

/// Reads until these bytes have come.
fn expect_among(client: &mut Client, bytes: &[u8]) {
    let mut heard = Vec::new();
    while !heard.ends_with(bytes) {
        let mut byte = [0];
        std::io::Read::read_exact(&mut client.stream, &mut byte).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
        heard.extend_from_slice(&byte);
    }
}

/// Sends this as a person, and reads what an IRC client in the lobby hears of it.
fn heard_of(bytes: &[u8]) -> Vec<String> {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
    let mut person = server.connect();
    // Somebody has a name when they speak, and is heard before they are answered.
    person.send([b"/me is here\n/name bob\n", bytes, b"\n/who\n"].concat());
    expect_among(&mut person, b"people are in lobby:\n");
    let lines = alice.hears().into_iter();
    lines.filter_map(|line| line.split_once("PRIVMSG #lobby :").map(|(_, said)| said.to_owned())).skip(1).collect()
}

#[test]
fn telnet_gets_its_answers_at_once_even_amid_a_line() {
    let server = serve();
    let mut person = Member::person(&server, "ann");
    person.client.send(b"hel\xff\xf4\xff\xfd\x06");
    expect_among(&mut person.client, b"\xff\xfc\x06");
    person.client.send(b"\xff\xf6");
    expect_among(&mut person.client, b"[yes]\r\n");
    let mut irc = Member::irc(&server, "ike");
    irc.client.send(b"PING \xff\xfd\x06");
    expect_among(&mut irc.client, b"\xff\xfc\x06");
    irc.client.send(b"1\r\n");
    expect_among(&mut irc.client, b"PONG acceptd :1\r\n");
}

#[test]
fn every_end_of_a_line_ends_what_is_said() {
    assert_eq!(heard_of(b"one\r\0two\rthree\r\nfour\n"), ["one", "two", "three", "four"]);
    let server = serve();
    let mut irc = server.connect();
    irc.send(b"NICK ann\r\0USER a 0 * :A\rPING 1\r");
    expect_among(&mut irc, b"PONG acceptd :1\r\n");
}

#[test]
fn what_was_erased_while_it_was_typed_is_not_said() {
    let typed = b"helxo\x08\x08lo\r\nab\x7fc\r\nab\xff\xf7c\r\njunk\xff\xf8ok\r\n";
    assert_eq!(heard_of(typed), ["hello", "ac", "ac", "ok"]);
}

#[test]
fn negotiation_is_not_said_and_nor_is_a_byte_order_mark() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
    for opening in [NEGOTIATION, b"\xef\xbb\xbf", &[NEGOTIATION, b"\xef\xbb\xbf"].concat()] {
        let mut person = server.connect();
        person.send([opening, b"hello\n/quit\n"].concat());
        expect_among(&mut person, b"* goodbye\n");
        let heard = alice.hears();
        assert!(heard.iter().any(|line| line.ends_with("PRIVMSG #lobby :hello")), "{heard:?}");
    }
}

#[test]
fn a_line_that_was_too_long_and_is_erased_takes_no_other_with_it() {
    let long = [&[b'x'; 5000][..], b"\xff\xf8", b"short\n"].concat();
    assert_eq!(heard_of(&long), ["short"]);
}

#[test]
fn what_is_asked_while_lines_wait_is_answered_and_they_are_said_all_the_same() {
    let server = crate::support::chat::serve_with(
        crate::support::chat::limits(),
        acceptd::handler::chat::Options {
            rate: acceptd::handler::chat::Rate { per_second: 20, burst: 1 },
            ..crate::support::chat::options()
        },
    );
    let mut person = server.connect();
    person.send(b"/name ann\n/away\n/away\n/wh\xff\xf6");
    expect_among(&mut person, b"[yes]\r\n");
    person.send(b"\xff\xfd\x06o\n/quit\n");
    expect_among(&mut person, b"\xff\xfc\x06");
    expect_among(&mut person, b"* 1 person is in lobby:\n* ann\n* goodbye\n");
}
