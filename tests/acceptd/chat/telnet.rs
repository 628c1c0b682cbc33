//! Telnet commands, line ends and erased characters, in both dialects.

use acceptd::handler::chat::{ChatOptions, MessageRate};

use crate::support::chat::{ChatClient, limits, options, serve, serve_with};
use crate::support::telnet::{BYTE_ORDER_MARK, NEGOTIATION};
use crate::support::{Client, PATIENCE};

/// Reads until these bytes arrive.
fn read_until(client: &mut Client, bytes: &[u8]) {
    let mut received = Vec::new();
    while !received.ends_with(bytes) {
        let mut byte = [0];
        std::io::Read::read_exact(&mut client.stream, &mut byte)
            .unwrap_or_else(|error| panic!("{error}: {received:?}"));
        received.extend_from_slice(&byte);
    }
}

/// Sends bytes as a person. Returns the messages that an IRC client in the lobby receives.
fn messages_from(bytes: &[u8]) -> Vec<String> {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let mut person = server.connect();
    // The first message makes the client a member. When `/who` is answered, all messages have been delivered.
    person.send([b"/me is here\n/name bob\n", bytes, b"\n/who\n"].concat());
    read_until(&mut person, b"people are in lobby:\n");
    let lines = alice.received().into_iter();
    lines.filter_map(|line| line.split_once("PRIVMSG #lobby :").map(|(_, said)| said.to_owned())).skip(1).collect()
}

#[test]
fn telnet_commands_are_answered_at_once_even_within_a_line() {
    let server = serve();
    let mut person = ChatClient::person(&server, "ann");
    person.client.send(b"hel\xff\xf4\xff\xfd\x06");
    read_until(&mut person.client, b"\xff\xfc\x06");
    person.client.send(b"\xff\xf6");
    read_until(&mut person.client, b"[yes]\r\n");
    let mut irc = ChatClient::irc(&server, "ike");
    irc.client.send(b"PING \xff\xfd\x06");
    read_until(&mut irc.client, b"\xff\xfc\x06");
    irc.client.send(b"1\r\n");
    read_until(&mut irc.client, b"PONG acceptd :1\r\n");
}

#[test]
fn every_kind_of_line_end_ends_a_message() {
    assert_eq!(messages_from(b"one\r\0two\rthree\r\nfour\n"), ["one", "two", "three", "four"]);
    let server = serve();
    let mut irc = server.connect();
    irc.send(b"NICK ann\r\0USER a 0 * :A\rPING 1\r");
    read_until(&mut irc, b"PONG acceptd :1\r\n");
}

#[test]
fn erased_characters_are_not_part_of_a_message() {
    let typed = b"helxo\x08\x08lo\r\nab\x7fc\r\nab\xff\xf7c\r\njunk\xff\xf8ok\r\n";
    assert_eq!(messages_from(typed), ["hello", "ac", "ac", "ok"]);
}

#[test]
fn negotiation_and_a_byte_order_mark_are_not_part_of_a_message() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for opening in [NEGOTIATION, BYTE_ORDER_MARK, &[NEGOTIATION, BYTE_ORDER_MARK].concat()] {
        let mut person = server.connect();
        person.send([opening, b"hello\n/quit\n"].concat());
        read_until(&mut person, b"* goodbye\n");
        let received = alice.received();
        assert!(received.iter().any(|line| line.ends_with("PRIVMSG #lobby :hello")), "{received:?}");
    }
}

#[test]
fn erasing_a_line_that_is_too_long_does_not_affect_the_next_line() {
    let long = [&[b'x'; 5000][..], b"\xff\xf8", b"short\n"].concat();
    assert_eq!(messages_from(&long), ["short"]);
}

#[test]
fn telnet_commands_are_answered_while_lines_are_queued() {
    let server = serve_with(limits(), ChatOptions { rate: MessageRate { per_second: 20, burst: 1 }, ..options() });
    let mut person = server.connect();
    person.send(b"/name ann\n/away\n/away\n/wh\xff\xf6");
    read_until(&mut person, b"[yes]\r\n");
    person.send(b"\xff\xfd\x06o\n/quit\n");
    read_until(&mut person, b"\xff\xfc\x06");
    read_until(&mut person, b"* 1 person is in lobby:\n* ann\n* goodbye\n");
}

#[test]
fn a_client_whose_first_bytes_are_not_a_line_is_still_greeted() {
    // A NOP in two pieces, across the second after which a client is greeted.
    let server = serve();
    let mut client = server.connect();
    client.send(b"\xff");
    client.stream.set_read_timeout(Some(std::time::Duration::from_millis(1300))).unwrap();
    let mut greeting = [0; 9];
    assert!(std::io::Read::read(&mut client.stream, &mut greeting).is_err(), "a line may have begun");
    client.send(b"\xf1");
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client.expect("* welcome");
}
