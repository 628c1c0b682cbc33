//! Programs of other protocols get an error, and members never learn of them. Nor do members ever see a registration, whatever
//! precedes it and however it is split.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::echo::{pieces, splits};
use crate::support::chat::{ChatClient, serve};
use crate::support::{TestServer, logged};

/// The reply to a client that sends these bytes. Checks that `listener` receives nothing.
fn reply_to(server: &TestServer, listener: &mut ChatClient, bytes: &[u8]) -> String {
    let mut client = server.connect();
    client.try_send(bytes);
    let reply = client.rest();
    assert!(listener.received().is_empty(), "{:?}", bytes.escape_ascii().to_string());
    reply
}

#[test]
fn other_protocols_are_answered_and_closed_without_an_announcement() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for (bytes, expected) in [
        (&b"WEBIRC hunter2 gw host.example 192.0.2.7\r\nCAP LS 302\r\nNICK a\r\n"[..], "ERROR :"),
        (b"webirc hunter2 gw host.example 192.0.2.7\r\n", "ERROR :"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 50000 17010\r\nNICK a\r\n", "ERROR :"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", "* that line is not plain text"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "This port does not speak SSH."),
        (b"EHLO x\r\nMAIL FROM:<a@b>\r\n", "554 "),
        (b"HELO x\r\n", "554 "),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", "RTSP/1.0 400 "),
        (b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n", "SIP/2.0 400 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "),
        (b"GET / \r\n", "HTTP/1.1 400 "),
        (b"SOURCE /live ICE/1.0\r\nAuthorization: Basic SECRET\r\n", "ERROR "),
        (b"REQMOD icap://x/y ICAP/1.0\r\nAuthorization: Basic SECRET\r\n", "ERROR "),
        (b"a001 LOGIN bob SECRET\r\n", "ERROR "),
        (b"AUTHINFO USER bob\r\n", "ERROR "),
        (b"webirc SECRET\r\n", "ERROR :"),
        (b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "-ERR "),
        (b"CLIENT libcurl 8.5.0\r\nDEFINE ! word\r\n", "ERROR "),
        (b"\0\0\0\xa4\xffSMBr", "* that line is not plain text"),
        (b"\x01default\n", "* that line is not plain text"),
        (b"caf\xe9\n", "* that line is not plain text"),
    ] {
        let received = reply_to(&server, &mut alice, bytes);
        assert!(received.starts_with(expected), "{received:?}");
    }
}

#[test]
fn http_with_a_long_url_is_answered_and_its_headers_never_reach_a_room() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    let request = format!("GET /{} HTTP/1.1\r\nAuthorization: Basic SECRET\r\nHost: x\r\n\r\n", "a".repeat(5000));
    let received = reply_to(&server, &mut alice, request.as_bytes());
    assert!(received.starts_with("HTTP/1.1 400 "), "{received:?}");
}

#[test]
fn the_log_names_the_protocol() {
    let server = serve();
    let mut client = server.connect();
    let peer = client.stream.local_addr().unwrap().to_string();
    client.send("SSH-2.0-OpenSSH_9.2\r\n");
    client.rest();
    crate::support::eventually("the log says so", || logged(&["closed", &peer, "SSH spoken to a chat"]).len() == 1);
}

#[test]
fn tls_hellos_get_an_alert_and_are_never_announced() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    for number in 0..40_u8 {
        // The beginning of curl's ClientHello, then arbitrary bytes that contain a line end.
        let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        hello.extend((0..32).map(|place| number.wrapping_mul(37).wrapping_add(place)));
        hello.extend(b"\n\x01\x02\n");
        let length = if number % 2 == 0 { hello.len() } else { 5 };
        let alert = reply_to(&server, &mut alice, &hello[..length]);
        assert!(alert.starts_with("\x15\x03\x01\x00\x02\x02"), "{alert:?}");
    }
}

#[test]
fn a_port_scan_is_never_announced() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    for _ in 0..20 {
        drop(server.connect());
        server.connect().talk("\r\n\r\n");
    }
    assert!(alice.received().is_empty());
}

#[test]
fn first_commands_of_irc_programs_get_irc_replies_and_never_reach_a_room() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for (line, number) in [
        ("AUTHENTICATE PLAIN", 451),
        ("STARTTLS", 451),
        ("PROTOCTL NOQUIT", 451),
        ("SERVER irc.example 1 :a server", 451),
        ("JOIN #lobby", 451),
        ("PRIVMSG NickServ :IDENTIFY secret", 451),
        ("OPER admin secret", 451),
        ("CAP", 410),
        ("NICK", 431),
        ("USER", 461),
    ] {
        for prefix in ["", "@a=b;c ", ":source "] {
            let mut client = server.connect();
            let received = client.talk(format!("{prefix}{line}\r\n"));
            assert!(received.contains(&format!(":acceptd {number} * ")), "{line}: {received}");
            assert!(alice.received().is_empty(), "{line}");
        }
    }
    assert_eq!(server.connect().talk("PING x\r\n"), ":acceptd PONG acceptd :x\r\n");
    assert!(alice.received().is_empty());
}

/// Registrations with secrets in their lines, after what may precede them: blank lines, byte order marks, telnet negotiation,
/// a gateway's header.
fn registrations() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop_oneof![
        2 => Just(&b""[..]),
        1 => Just(&b"\r\n"[..]),
        1 => Just(&b" \n\t\r\n"[..]),
        1 => Just(&b"\xef\xbb\xbf"[..]),
        1 => Just(&b"\r\n\xef\xbb\xbf"[..]),
        1 => Just(&b"\xff\xfb\x1f\xff\xfd\x03"[..]),
        1 => Just(&b"\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0"[..]),
        1 => Just(&b"WEBIRC secret gw host.example 192.0.2.7\r\n"[..]),
        1 => Just(&b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n"[..]),
        1 => Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0csecretsecre"[..]),
    ];
    let line = prop_oneof![
        Just("PASS secret"),
        Just("PASS :secret word"),
        Just("NICK secret"),
        Just("USER secret 0 * :secret"),
        Just("CAP REQ :secret"),
        Just("CAP LS 302"),
        Just("AUTHENTICATE secret"),
    ];
    let source = prop_oneof![3 => Just(""), 1 => Just("@a=b "), 1 => Just(":source ")];
    let cased = (source, line, any::<bool>()).prop_map(|(source, line, is_lower)| {
        let line = format!("{source}{line}");
        if is_lower { line.to_lowercase() } else { line }
    });
    let end = prop_oneof![Just("\r\n"), Just("\n")];
    (prop::collection::vec(prefix, 0..3), prop::collection::vec((cased, end), 1..5)).prop_map(|(prefixes, lines)| {
        let lines = lines.into_iter().map(|(line, end)| line + end);
        [prefixes.concat(), lines.collect::<String>().into_bytes()].concat()
    })
}

#[test]
fn a_registration_never_reaches_a_room_however_it_is_split() {
    let server = serve();
    let alice = RefCell::new(ChatClient::person(&server, "alice"));
    proptest!(ProptestConfig::with_cases(300), |((bytes, places) in splits(registrations()))| {
        server.connect().talk_in_pieces(&pieces(&bytes, &places));
        let received = alice.borrow_mut().received();
        prop_assert!(!received.iter().any(|line| line.contains("secret") || line.contains(": ")), "{:?}", received);
    });
    assert_eq!(alice.borrow_mut().ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn a_registration_never_reaches_a_room_however_late_it_arrives() {
    let server = serve();
    let mut alice = ChatClient::person(&server, "alice");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let streams: Vec<Vec<u8>> = (0..40).map(|_| registrations().new_tree(&mut runner).unwrap().current()).collect();
    let mut clients: Vec<ChatClient> = streams.iter().map(|_| ChatClient::guest(&server)).collect();
    for (client, stream) in clients.iter_mut().zip(&streams) {
        while !client.line().starts_with("* you are in lobby") {}
        client.client.try_send(stream);
        let _ = client.client.stream.shutdown(std::net::Shutdown::Write);
    }
    clients.into_iter().for_each(|mut client| drop(client.client.rest()));
    crate::support::eventually("all have left", || alice.ask("/who")[0] == "* 1 person is in lobby:");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}
