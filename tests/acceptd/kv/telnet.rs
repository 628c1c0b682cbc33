//! Telnet commands, line ends and erased characters in the text dialect. In RESP these bytes have no special meaning.

use acceptd::handler::kv::{KvOptions, KvProtocol};

use crate::support::http_response;
use crate::support::kv::{TestEngine, bulk, request};
use crate::support::telnet::{self, BYTE_ORDER_MARK, NEGOTIATION, NOP};

crate::for_memory! {
    telnet_negotiation_affects_neither_the_first_command_nor_the_dialect
    telnet_commands_are_answered_at_once_even_within_a_line
    telnet_commands_between_lines_do_not_begin_a_request
    every_kind_of_line_end_is_accepted_and_the_reply_ends_the_same_way
    erased_characters_are_not_part_of_the_request
    a_byte_order_mark_at_the_very_start_is_dropped_once
    in_resp_no_byte_has_a_telnet_meaning
    the_rest_of_a_line_end_is_skipped_after_a_switch_to_resp
    the_length_of_a_line_is_limited_however_it_arrives
    the_first_byte_decides_the_dialect_of_the_farewell
    tls_gets_an_alert_at_once
    http_is_answered_as_http_however_it_is_split
    help_for_commands_shows_only_their_lines
}

fn telnet_negotiation_affects_neither_the_first_command_nor_the_dialect(engine: TestEngine) {
    let server = engine.serve();
    for opening in [NEGOTIATION, NOP, &[NEGOTIATION, BYTE_ORDER_MARK].concat(), b""] {
        for step in [1, 5, 1000] {
            let stream = [opening, b"SET a 'b c'\r\nGET a\r\n"].concat();
            let pieces: Vec<&[u8]> = stream.chunks(step).collect();
            assert_eq!(server.connect().talk_in_pieces(&pieces), "OK\r\nb c\r\n", "{opening:?}");
            let stream = [opening, &request(&["GET", "a"])].concat();
            let pieces: Vec<&[u8]> = stream.chunks(step).collect();
            assert_eq!(server.connect().talk_in_pieces(&pieces), "$3\r\nb c\r\n", "{opening:?}");
        }
    }
}

fn telnet_commands_are_answered_at_once_even_within_a_line(engine: TestEngine) {
    telnet::commands_are_answered_at_once(&mut engine.serve().connect());
}

fn telnet_commands_between_lines_do_not_begin_a_request(engine: TestEngine) {
    telnet::commands_between_lines_do_not_begin_a_request((engine.open)(KvOptions::default()));
}

fn every_kind_of_line_end_is_accepted_and_the_reply_ends_the_same_way(engine: TestEngine) {
    let server = engine.serve();
    telnet::the_reply_has_the_line_end_of_the_line(&server);
    assert_eq!(
        server.connect().talk_in_pieces(&[b"PING\r", b"\n", b"PING\r", b"\0", b"PING\n"]),
        "+PONG\r\n+PONG\r\n+PONG\n"
    );
}

fn erased_characters_are_not_part_of_the_request(engine: TestEngine) {
    telnet::erased_characters_are_not_part_of_the_line(&engine.serve());
}

fn a_byte_order_mark_at_the_very_start_is_dropped_once(engine: TestEngine) {
    let server = engine.serve();
    telnet::a_byte_order_mark_is_skipped_only_at_the_very_start(&server);
    assert_eq!(server.connect().talk([BYTE_ORDER_MARK, &request(&["PING"])[..]].concat()), "+PONG\r\n");
    // The first byte of this letter is also that of the mark.
    assert_eq!(server.connect().talk("\u{ff30}ING\n"), "ERROR unknown command '\u{ff30}ING', try HELP\n");
}

fn in_resp_no_byte_has_a_telnet_meaning(engine: TestEngine) {
    let server = engine.serve();
    let value: Vec<u8> =
        [&b"\xff\xf1\xff\xfd\x06\xff\xf6\r\0\r\x08\x7f\xef\xbb\xbf"[..], &(0..=255).collect::<Vec<u8>>()].concat();
    let mut client = server.connect();
    client.send([request(&[b"SET", &b"k"[..], &value]), request(&["GET", "k"])].concat());
    client.expect([&b"+OK\r\n"[..], &bulk(&value)].concat());
    // The same holds for Redis's inline commands.
    client.send(b"ECHO \xff\xf6\x08\n");
    client.expect(bulk(b"\xff\xf6\x08"));
}

fn the_rest_of_a_line_end_is_skipped_after_a_switch_to_resp(engine: TestEngine) {
    let server = engine.serve();
    for late in ["\n", "\0", ""] {
        let mut client = server.connect();
        client.send("HELLO 2\r");
        client.reply();
        client.send(late);
        client.send(request(&["PING"]));
        client.expect("+PONG\r\n");
    }
}

fn the_length_of_a_line_is_limited_however_it_arrives(engine: TestEngine) {
    let server = engine.serve();
    let error = "ERROR Protocol error: too big inline request\n";
    for end in ["\n", "\r\n", "\r", ""] {
        let mut client = server.connect();
        client.try_send(format!("ECHO {}{end}", "x".repeat(64 * 1024)));
        assert_eq!(client.rest().trim_end(), error.trim_end(), "{end:?}");
    }
    let longest = format!("ECHO {}\r\n", "x".repeat(64 * 1024 - 5));
    assert_eq!(server.connect().talk(&longest).len(), longest.len() - 5);
}

fn the_first_byte_decides_the_dialect_of_the_farewell(engine: TestEngine) {
    let why = "the last request was not complete and was not carried out";
    for (protocol, request, farewell) in [
        (KvProtocol::Auto, "SET a 1", format!("ERROR {why}\n")),
        (KvProtocol::Auto, "S", format!("ERROR {why}\n")),
        (KvProtocol::Text, "*1", format!("ERROR {why}\n")),
        (KvProtocol::Auto, "*1", format!("-ERR {why}\r\n")),
        (KvProtocol::Resp, "SET a 1", format!("-ERR {why}\r\n")),
    ] {
        let server = engine.serve_with(KvOptions { protocol, ..KvOptions::default() });
        assert_eq!(server.connect().talk(request), farewell, "{protocol:?} {request}");
    }
}

fn tls_gets_an_alert_at_once(engine: TestEngine) {
    for protocol in [KvProtocol::Auto, KvProtocol::Text, KvProtocol::Resp] {
        let server = engine.serve_with(KvOptions { protocol, ..KvOptions::default() });
        telnet::tls_gets_an_alert(&mut server.connect());
    }
}

fn http_is_answered_as_http_however_it_is_split(engine: TestEngine) {
    let server = engine.serve();
    for head in ["get /a http/1.1", "PRI * HTTP/2.0", "PROPFIND /x HTTP/1.1", "SET /x HTTP/1.1"] {
        let stream = format!("{head}\r\nAccept: */*\r\nHost: localhost\r\n\r\nSET pwned 1\r\n");
        for step in [1, 7, 1000] {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(step).collect();
            assert!(
                http_response(&server.connect().talk_in_pieces(&pieces)).contains("It is a key-value store"),
                "{head}"
            );
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\nSET pwned 1\r\n", "a".repeat(70_000));
    let pieces: Vec<&[u8]> = long.as_bytes().chunks(9_000).collect();
    let received = server.connect().talk_in_pieces(&pieces);
    assert!(http_response(&received).contains("It is a key-value store"), "{received}");
    assert_eq!(server.connect().talk("GET pwned\nSET page HTTP/1.1\nGET page\n"), "NOT_FOUND\nOK\nHTTP/1.1\n");
}

fn help_for_commands_shows_only_their_lines(engine: TestEngine) {
    let server = engine.serve();
    let all = server.connect().talk("HELP\n");
    let one = server.connect().talk("HELP set\n");
    assert!(one.starts_with("SET key value ") && one.lines().count() == 1, "{one}");
    let two = server.connect().talk("help GET Incr\n");
    let names = |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&two), ["GET", "INCR"]);
    assert!(all.lines().count() > 50);
    assert_eq!(server.connect().talk("HELP make\n"), "ERROR unknown command 'make', try HELP\n");
}
