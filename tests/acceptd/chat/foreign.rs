//! Programs of other protocols are told that they are wrong here, and nobody hears of them; nor does anybody hear a
//! registration, whatever comes before it and in whatever pieces.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::echo::{pieces, splits};
use crate::support::chat::{Member, serve};
use crate::support::{TestServer, logged};

/// What a client is told that sends this, and ends; nobody else hears of it.
fn told(server: &TestServer, listener: &mut Member, bytes: &[u8]) -> String {
    let mut client = server.connect();
    client.try_send(bytes);
    let told = client.rest();
    assert!(listener.hears().is_empty(), "{:?}", bytes.escape_ascii().to_string());
    told
}

#[test]
fn other_programs_are_answered_closed_and_announced_to_nobody() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
    for (bytes, expected) in [
        (&b"WEBIRC hunter2 gw host.example 192.0.2.7\r\nCAP LS 302\r\nNICK a\r\n"[..], "ERROR :"),
        (b"webirc hunter2 gw host.example 192.0.2.7\r\n", "ERROR :"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 50000 17010\r\nNICK a\r\n", "ERROR :"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", "* that line is not UTF-8 text"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "This port does not speak SSH."),
        (b"EHLO x\r\nMAIL FROM:<a@b>\r\n", "554 "),
        (b"HELO x\r\n", "554 "),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", "RTSP/1.0 400 "),
        (b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n", "SIP/2.0 400 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "),
        (b"GET / \r\n", "HTTP/1.1 400 "),
        (b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "-ERR "),
        (b"CLIENT libcurl 8.5.0\r\nDEFINE ! word\r\n", "ERROR "),
        (b"\0\0\0\xa4\xffSMBr", "* that line is not UTF-8 text"),
        (b"\x01default\n", "* that line is not UTF-8 text"),
        (b"caf\xe9\n", "* that line is not UTF-8 text"),
    ] {
        let heard = told(&server, &mut alice, bytes);
        assert!(heard.starts_with(expected), "{heard:?}");
    }
}

#[test]
fn the_log_says_what_was_spoken() {
    let server = serve();
    let mut client = server.connect();
    let peer = client.stream.local_addr().unwrap().to_string();
    client.send("SSH-2.0-OpenSSH_9.2\r\n");
    client.rest();
    crate::support::eventually("the log says so", || logged(&["closed", &peer, "SSH spoken to a chat"]).len() == 1);
}

#[test]
fn forty_tls_hellos_get_an_alert_and_nobody_hears_of_them() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    for number in 0..40_u8 {
        // The beginning of a hello of curl, and random bytes with a line end among them.
        let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        hello.extend((0..32).map(|place| number.wrapping_mul(37).wrapping_add(place)));
        hello.extend(b"\n\x01\x02\n");
        let length = if number % 2 == 0 { hello.len() } else { 5 };
        let alert = told(&server, &mut alice, &hello[..length]);
        assert!(alert.starts_with("\x15\x03\x01\x00\x02\x02"), "{alert:?}");
    }
}

#[test]
fn a_port_scan_is_heard_by_nobody() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    for _ in 0..20 {
        drop(server.connect());
        server.connect().talk("\r\n\r\n");
    }
    assert!(alice.hears().is_empty());
}

#[test]
fn what_irc_programs_say_first_is_answered_in_irc_and_never_said() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
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
        for front in ["", "@a=b;c ", ":source "] {
            let mut client = server.connect();
            let heard = client.talk(format!("{front}{line}\r\n"));
            assert!(heard.contains(&format!(":acceptd {number} * ")), "{line}: {heard}");
            assert!(alice.hears().is_empty(), "{line}");
        }
    }
    assert_eq!(server.connect().talk("PING x\r\n"), ":acceptd PONG acceptd :x\r\n");
    assert!(alice.hears().is_empty());
}

/// All that may come before a registration: blank lines, marks, telnet's negotiation, a gateway's announcement; and the
/// registration, whose every line has a secret.
fn registrations() -> impl Strategy<Value = Vec<u8>> {
    let front = prop_oneof![
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
    (prop::collection::vec(front, 0..3), prop::collection::vec((cased, end), 1..5)).prop_map(|(fronts, lines)| {
        let lines = lines.into_iter().map(|(line, end)| line + end);
        [fronts.concat(), lines.collect::<String>().into_bytes()].concat()
    })
}

#[test]
fn no_registration_is_ever_said_aloud_however_it_comes() {
    let server = serve();
    let alice = RefCell::new(Member::person(&server, "alice"));
    proptest!(ProptestConfig::with_cases(300), |((bytes, places) in splits(registrations()))| {
        server.connect().talk_freely(&pieces(&bytes, &places));
        let heard = alice.borrow_mut().hears();
        prop_assert!(!heard.iter().any(|line| line.contains("secret") || line.contains(": ")), "{:?}", heard);
    });
    assert_eq!(alice.borrow_mut().ask("/history"), ["* nothing was said here yet"]);
}

#[test]
fn no_registration_is_ever_said_aloud_however_late_it_comes() {
    let server = serve();
    let mut alice = Member::person(&server, "alice");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let streams: Vec<Vec<u8>> = (0..40).map(|_| registrations().new_tree(&mut runner).unwrap().current()).collect();
    let mut clients: Vec<Member> = streams.iter().map(|_| Member::guest(&server)).collect();
    for (client, stream) in clients.iter_mut().zip(&streams) {
        while !client.line().starts_with("* you are in lobby") {}
        client.client.try_send(stream);
        let _ = client.client.stream.shutdown(std::net::Shutdown::Write);
    }
    clients.into_iter().for_each(|mut client| drop(client.client.rest()));
    crate::support::eventually("all have left", || alice.ask("/who")[0] == "* 1 person is in lobby:");
    assert_eq!(alice.ask("/history"), ["* nothing was said here yet"]);
}
