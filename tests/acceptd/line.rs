//! The line protocol over a socket. `commands.rs` tests the reply of each command.

use std::time::{Duration, Instant};

use acceptd::{Limits, Line};
use proptest::prelude::*;

use crate::echo::{pieces, splits};
use crate::support::telnet::{self, NEGOTIATION};
use crate::support::{PATIENCE, TestServer, http_response, logged};

#[test]
fn every_line_gets_a_reply() {
    let server = TestServer::start(Line::default());
    let mut client = server.connect();
    for (line, reply) in [("ECHO hello", "hello"), ("upper abc", "ABC"), ("COUNT", "lines=3 bytes=27")] {
        client.send(format!("{line}\n"));
        assert_eq!(client.line(), reply);
    }
    client.send("frobnicate now\n");
    assert_eq!(client.line(), "ERROR unknown command \"frobnicate\", try HELP");
    client.send("WHOAMI\n");
    assert_eq!(client.line(), format!("{} connection=1", client.stream.local_addr().unwrap()));
    client.send("QUIT\n");
    assert_eq!(client.rest(), "BYE\n");
}

#[test]
fn the_reply_has_the_line_end_of_the_line() {
    telnet::the_reply_has_the_line_end_of_the_line(&TestServer::start(Line::default()));
}

#[test]
fn an_empty_line_gets_no_reply() {
    let server = TestServer::start(Line::default());
    assert_eq!(server.connect().talk("\n\r\n\nECHO a\n\n\r\r\0"), "a\n");
    assert_eq!(server.connect().talk("ECHO\nECHO a\n"), "\na\n", "an empty text is a reply");
}

#[test]
fn a_line_that_is_not_text_is_an_error_and_the_connection_stays_open() {
    let server = TestServer::start(Line::default());
    assert_eq!(server.connect().talk(b"ECHO \xc3\nECHO a\n"), "ERROR invalid UTF-8\na\n");
    assert_eq!(
        server.connect().talk(b"ECHO \xff\xff\nECHO a\n"),
        "ERROR invalid UTF-8\na\n",
        "IAC IAC is the byte 255"
    );
    let reply = "ERROR control character U+0000 (NUL), send plain text\na\n";
    assert_eq!(server.connect().talk(b"ECHO \0\nECHO a\n"), reply);
    assert!(server.connect().talk(b"ECHO \x1b[2J\n").starts_with("ERROR control character U+001B"));
}

#[test]
fn no_byte_value_brings_the_server_down() {
    let server = TestServer::start(Line::default());
    for byte in 0..=255_u8 {
        let mut client = server.connect();
        client.send([byte, byte, b'\n', b'\n']);
        client.send("ECHO still here\n");
        client.end_output();
        let replies = client.rest();
        assert!(replies.ends_with("still here\n"), "{byte}: {replies}");
    }
    assert_eq!(server.stop().stats.panicked, 0);
}

#[test]
fn telnet_negotiation_is_ignored() {
    let server = TestServer::start(Line::default());
    let mut client = server.connect();
    client.send([NEGOTIATION, b"ECHO hi\r\n"].concat());
    client.expect("hi\r\n");
    client.send(b"EC\xff\xf1HO there\r\n");
    client.expect("there\r\n");
}

#[test]
fn telnet_commands_are_answered_at_once_even_within_a_line() {
    telnet::commands_are_answered_at_once(&mut TestServer::start(Line::default()).connect());
}

#[test]
fn telnet_commands_between_lines_do_not_begin_a_request() {
    telnet::commands_between_lines_do_not_begin_a_request(Line::default());
    let farewell = telnet::farewell_after(Line::default(), telnet::NOP);
    assert_eq!(farewell, "ERROR nothing was sent for 50ms, closing\r\n");
    let farewell = telnet::farewell_after(Line::default(), b"ECHO");
    assert_eq!(farewell, "ERROR the request was not complete after 1ms, closing\r\n");
}

#[test]
fn telnet_commands_within_a_line_do_not_extend_its_deadline() {
    let request_timeout = Duration::from_millis(100);
    let server = TestServer::with(Limits { request_timeout, ..Limits::default() }, Line::default());
    let mut client = server.connect();
    let start = Instant::now();
    client.send("ECHO");
    loop {
        // At the pace of a person who keeps pressing a key.
        std::thread::park_timeout(Duration::from_millis(20));
        client.try_send(b"\xff\xf6");
        match client.line().as_str() {
            "[yes]" => assert!(start.elapsed() < PATIENCE, "the deadline is extended"),
            reply => break assert_eq!(reply, "ERROR the request was not complete after 100ms, closing"),
        }
    }
}

#[test]
fn erased_characters_are_not_part_of_the_line() {
    telnet::erased_characters_are_not_part_of_the_line(&TestServer::start(Line::default()));
}

#[test]
fn a_byte_order_mark_is_skipped_only_at_the_very_start() {
    telnet::a_byte_order_mark_is_skipped_only_at_the_very_start(&TestServer::start(Line::default()));
}

#[test]
fn http_is_closed_before_a_second_line_runs() {
    let server = TestServer::start(Line::default());
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "PRI", "get", "PROPFIND", "ECHO", "M-SEARCH"] {
        let mut client = server.connect();
        client.send(format!("{method} / HTTP/1.1\r\nAccept: */*\r\nHost: localhost\r\n\r\nECHO pwned\r\n"));
        assert!(http_response(&client.rest()).contains("It takes lines"), "{method}");
    }
    let mut client = server.connect();
    client.send("host: localhost\nECHO pwned\n");
    assert!(http_response(&client.rest()).contains("It takes lines"));
    let peer = client.stream.local_addr().unwrap().to_string();
    assert_eq!(logged(&[&peer, "HTTP"]).len(), 1, "logged once");
}

#[test]
fn a_tls_hello_gets_an_alert_before_its_line_is_complete() {
    telnet::tls_gets_an_alert(&mut TestServer::start(Line::default()).connect());
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    let server = TestServer::with(Limits { max_line: 100, ..Limits::default() }, Line::default());
    let longest = format!("ECHO {}", "x".repeat(94));
    assert_eq!(server.connect().talk(format!("{longest}\n")).len(), 95);
    let mut client = server.connect();
    client.send(format!("ECHO a\n{longest}x\nECHO b\n"));
    assert_eq!(client.rest(), "a\nERROR the request is longer than 100 bytes, closing\r\n");
}

#[test]
fn an_unfinished_last_line_is_not_executed_and_its_client_gets_an_error() {
    let server = TestServer::start(Line::default());
    let reply = server.connect().talk("ECHO a\nECHO b");
    assert_eq!(reply, "a\nERROR the last request was not complete and was not carried out\r\n");
}

#[test]
fn a_library_user_can_supply_the_reply_function() {
    let server = TestServer::start(Line::new(|line: &str| format!("<{line}>")));
    assert_eq!(server.connect().talk("HELP\r\nb\n"), "<HELP>\r\n<b>\n");
}

#[test]
fn without_protocol_detection_http_and_tls_are_ordinary_lines() {
    let handler = Line::new(|line: &str| format!("<{line}>")).without_protocol_detection();
    let server = TestServer::with(Limits { max_line: 100, ..Limits::default() }, handler);
    assert_eq!(
        server.connect().talk("GET / HTTP/1.1\nHost: localhost\nlast\n"),
        "<GET / HTTP/1.1>\n<Host: localhost>\n<last>\n"
    );
    let reply = server.connect().talk(b"\x16\x03\x01\nlast\n");
    assert_eq!(reply, "ERROR control character U+0016 (synchronous idle, Ctrl-V), send plain text\n<last>\n");
    let mut client = server.connect();
    client.send(format!("GET /{}", "a".repeat(100)));
    assert_eq!(client.rest(), "ERROR the request is longer than 100 bytes, closing\r\n");
}

#[test]
fn every_line_of_a_reply_has_a_line_end() {
    let server = TestServer::start(Line::new(|_: &str| "one\ntwo"));
    assert_eq!(server.connect().talk("x\r\n"), "one\r\ntwo\r\n");
}

/// Commands, arbitrary bytes, and what telnet and HTTP clients send.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => "(ECHO|echo|UPPER|Lower|REVERSE|COUNT|HELP|QUIT|nonsense)[ -~]{0,40}(\n|\r\n|\r\0|\r)"
            .prop_map(String::into_bytes),
        2 => prop::collection::vec(prop::sample::select(b"\r\n\0\x08\x7f\xff\xff\xf1\xf6\xf7\xf8\xfd\x06\xef\xbb\xbf".to_vec()), 0..12),
        3 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(b"\xff\xfa\x1f\x00\x0a\xff\xf0".to_vec()),
        1 => Just(b"\xff\xfb\x0a".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => prop::collection::vec(Just(b'x'), 120..200),
        1 => Just(b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

#[test]
fn the_replies_are_the_same_however_the_stream_is_split() {
    let server = TestServer::with(Limits { max_line: 128, ..Limits::default() }, Line::default());
    proptest!(ProptestConfig::with_cases(192), |((bytes, places) in splits(streams()))| {
        let whole = server.connect().talk_in_pieces(&[&bytes]);
        let split = server.connect().talk_in_pieces(&pieces(&bytes, &places));
        prop_assert_eq!(whole, split);
    });
}

#[test]
fn a_telnet_command_behind_a_line_that_is_too_long_is_not_answered() {
    let server = TestServer::with(Limits { max_line: 128, ..Limits::default() }, Line::default());
    let stream = [&[b'x'; 130][..], b"\xff\xf6\n"].concat();
    assert_eq!(server.connect().talk(&stream), "ERROR the request is longer than 128 bytes, closing\r\n");
}

#[test]
fn the_replies_are_the_same_byte_by_byte() {
    let server = TestServer::with(Limits { max_line: 128, ..Limits::default() }, Line::default());
    proptest!(ProptestConfig::with_cases(16), |(bytes in streams())| {
        let whole = server.connect().talk_in_pieces(&[&bytes]);
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(whole, server.connect().talk_in_pieces(&bytewise));
    });
}

#[test]
fn http_with_a_url_longer_than_a_line_is_answered_in_http() {
    let server = TestServer::with(Limits { max_line: 128, ..Limits::default() }, Line::default());
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\nECHO a\r\n", "a".repeat(1000));
    for pieces in [1000, 10] {
        let mut client = server.connect();
        request.as_bytes().chunks(pieces).for_each(|piece| client.try_send(piece));
        let received = client.rest();
        assert!(received.starts_with("HTTP/1.1 400 ") && !received.contains("ERROR"), "{received}");
    }
}
