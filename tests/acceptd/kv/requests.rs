//! Parsing of requests: split and pipelined input, arbitrary bytes, malformed requests and other protocols.

use acceptd::handler::kv::{KvOptions, KvProtocol};
use proptest::prelude::*;

use super::{quoted, unquoted};
use crate::echo::{pieces, splits};
use crate::support::kv::{RespReply, TestEngine, bulk, request, words};
use crate::support::{TestServer, http_response, logged, text};

crate::for_each_engine! {
    the_replies_are_the_same_wherever_a_stream_is_split_in_two
    the_replies_are_the_same_however_the_stream_is_split
    replies_before_authentication_are_the_same_however_the_stream_is_split
    a_line_may_be_64_kib_long_and_no_longer_however_it_is_split
    hostile_lengths_get_an_error_and_do_not_affect_other_clients
    an_empty_request_is_not_an_error
    a_flood_without_a_line_end_is_cut_off
    keys_and_values_of_any_bytes_survive_a_round_trip_in_resp
    keys_and_values_of_any_bytes_survive_a_round_trip_in_text
    no_byte_value_crashes_the_server
    a_client_that_ends_its_output_still_gets_all_replies
    an_incomplete_request_is_not_executed
    an_http_request_closes_the_connection_before_the_next_line_is_executed
}

/// Removes the connection's id from replies, because each connection has another one.
fn without_id(replies: &str) -> String {
    let mut out = replies.to_owned();
    // The replies are escaped as a whole if they are not UTF-8.
    for before in ["$2\r\nid\r\n:", "$2\\r\\nid\\r\\n:", "\r\nid\r\n", "\nid\n"] {
        let parts: Vec<&str> = out.split(before).collect();
        let without = |part: &&str| part.trim_start_matches(|character: char| character.is_ascii_digit()).to_owned();
        let rest: Vec<String> = parts.iter().skip(1).map(without).collect();
        out = [parts[0].to_owned()].into_iter().chain(rest).collect::<Vec<_>>().join(before);
    }
    out
}

/// The replies of an empty store to a stream in these pieces.
fn replies_of_empty_store(server: &TestServer, password: &str, pieces: &[&[u8]]) -> String {
    let mut admin = server.connect();
    admin.send(format!("AUTH {password}\nFLUSHALL\n"));
    admin.line();
    admin.expect("OK\n");
    without_id(&server.connect().talk_in_pieces(pieces))
}

fn the_replies_are_the_same_wherever_a_stream_is_split_in_two(engine: TestEngine) {
    let server = engine.serve();
    let lines =
        "SET a \"b c\"\r\n\r\nGET a\nMULTI\nINCR n\nGET nope\nEXEC\nset \"x\nNONSENSE\r\nMGET a n\nQUIT\nSET a 1\n";
    let mut resp = ["SET a x", "HELLO 3", "GET nope", "MULTI", "INCR n", "EXEC", "NONSENSE"].map(words).concat();
    resp.extend_from_slice(
        b"*0\r\nPING\r\n*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\nMGET a n\n*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    );
    for stream in [lines.as_bytes(), &resp] {
        let whole = replies_of_empty_store(&server, "", &[stream]);
        assert!(whole.ends_with("OK\n") || whole.ends_with("+OK\r\n"), "{whole}");
        for place in 0..=stream.len() {
            let (one, other) = stream.split_at(place);
            assert_eq!(replies_of_empty_store(&server, "", &[one, other]), whole, "split at {place}");
        }
        let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(replies_of_empty_store(&server, "", &bytewise), whole, "byte by byte");
    }
}

/// Commands whose replies depend only on the keys, which are few. Some commands are invalid.
fn commands() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let key = prop::sample::select(vec!["a", "b", "n", "k\r\n"]).prop_map(|key| key.as_bytes().to_vec());
    let value = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..30),
        1 => "-?[0-9]{1,5}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1000..5000),
    ];
    let fixed = |line: &'static str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let alone = "PING|MULTI|EXEC|DISCARD|UNWATCH|DBSIZE|NONSENSE|GET|HELLO 2|HELLO 3|CLIENT REPLY SKIP|CLIENT REPLY OFF|\
                 CLIENT REPLY ON|COMMAND COUNT|MGET a b n|WATCH a|MSET a 1 b 2|INCR n|INCR a|DECRBY n 7|HELLO 9";
    prop_oneof![
        3 => (key.clone(), value.clone()).prop_map(|(key, value)| vec![b"SET".to_vec(), key, value]),
        2 => (key.clone(), value).prop_map(|(key, value)| vec![b"append".to_vec(), key, value]),
        3 => key.clone().prop_map(|key| vec![b"GET".to_vec(), key]),
        1 => key.prop_map(|key| vec![b"DEL".to_vec(), key]),
        4 => prop::sample::select(alone.split('|').collect::<Vec<_>>()).prop_map(fixed),
    ]
}

/// Encodes a command as a line, with every word quoted.
fn line(words: &[Vec<u8>]) -> Vec<u8> {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    (words.join(" ") + "\n").into_bytes()
}

/// A stream in one of the dialects: mostly commands, with some invalid input in between.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let typed = b"\r\n\0\x08\x7f\xff\xff\xf1\xf6\xf7\xf8\xfd\x06\xef\xbb\xbf*PING".to_vec();
    let broken = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60),
        4 => prop::collection::vec(prop::sample::select(typed), 0..12),
        1 => prop::sample::select(vec!["PING\r", "HELLO 2\r", "HELLO 3\r\0"]).prop_map(|line| line.as_bytes().to_vec()),
        1 => Just(b"QUIT\r\n".to_vec()),
        1 => Just(b"*1\r\n$4\r\nQUIT\r\n".to_vec()),
        1 => Just(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n".to_vec()),
        1 => Just(b"*1\r\n$-5\r\n".to_vec()),
        1 => Just(b"*0\r\n*-7\r\n\r\n".to_vec()),
        1 => Just(b"set \"\"\"x\"\"\" y\r\n".to_vec()),
        1 => Just(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        1 => Just(b"*2\r\n$3\r\nGET\r\n$9\r\nunfinis".to_vec()),
    ];
    let in_resp = prop_oneof![20 => commands().prop_map(|words| request(&words)), 1 => broken.clone()];
    let in_text = prop_oneof![20 => commands().prop_map(|words| line(&words)), 1 => broken];
    prop_oneof![
        prop::collection::vec(in_resp, 0..16).prop_map(|parts| parts.concat()),
        prop::collection::vec(in_text, 0..16).prop_map(|parts| parts.concat()),
    ]
}

fn the_replies_are_the_same_however_the_stream_is_split(engine: TestEngine) {
    for protocol in [KvProtocol::Auto, KvProtocol::Resp] {
        let server = engine.serve_with(KvOptions { protocol, max_value: 4000, ..KvOptions::default() });
        // `replies_of_empty_store` sends lines in text, which get other replies with only RESP.
        let replies = |pieces: &[&[u8]]| {
            server.connect().ask("FLUSHALL");
            without_id(&server.connect().talk_in_pieces(pieces))
        };
        proptest!(ProptestConfig::with_cases(128), |((bytes, places) in splits(streams()))| {
            let whole = replies(&[&bytes]);
            prop_assert_eq!(replies(&pieces(&bytes, &places)), whole);
        });
    }
}

fn replies_before_authentication_are_the_same_however_the_stream_is_split(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { password: Some(b"secret".to_vec()), ..KvOptions::default() });
    let auth = prop_oneof![
        1 => Just(vec![b"AUTH".to_vec(), b"wrong".to_vec()]),
        2 => Just(vec![b"AUTH".to_vec(), b"secret".to_vec()]),
        1 => Just(b"HELLO 3 AUTH default secret".split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect()),
        1 => Just(vec![b"x".to_vec(); 11]),
        // Too long before authentication, but not after it.
        2 => Just(vec![b"SET".to_vec(), b"a".to_vec(), vec![b'v'; 20_000]]),
    ];
    let command = prop_oneof![2 => commands(), 1 => auth];
    let streams = (prop::collection::vec(command, 0..12), any::<bool>()).prop_map(|(commands, is_text)| {
        commands.iter().flat_map(|words| if is_text { line(words) } else { request(words) }).collect::<Vec<u8>>()
    });
    proptest!(ProptestConfig::with_cases(96), |((bytes, places) in splits(streams))| {
        let whole = replies_of_empty_store(&server, "secret", &[&bytes]);
        prop_assert_eq!(replies_of_empty_store(&server, "secret", &pieces(&bytes, &places)), whole);
    });
}

fn a_line_may_be_64_kib_long_and_no_longer_however_it_is_split(engine: TestEngine) {
    let server = engine.serve();
    let line = |length: usize| format!("SET a {}\n", "x".repeat(length - 6)).into_bytes();
    for (stream, expected) in [
        (line(60_000), "OK\n"),
        (line(70_000), "ERROR Protocol error: too big inline request\r\n"),
        ([b"PING\n", &line(120_000)[..]].concat(), "+PONG\nERROR Protocol error: too big inline request\n"),
        ([b"*", &[b'1'; 70_000][..], b"\r\n"].concat(), "-ERR Protocol error: too big mbulk count string\r\n"),
        ([b"*1\r\n$", &[b'1'; 70_000][..], b"\r\n"].concat(), "-ERR Protocol error: too big bulk count string\r\n"),
    ] {
        let end = stream.len() - 1;
        for pieces in [vec![&stream[..]], vec![&stream[..end], &stream[end..]], stream.chunks(1000).collect()] {
            assert_eq!(server.connect().talk_in_pieces(&pieces), expected, "{} pieces", pieces.len());
        }
    }
}

fn hostile_lengths_get_an_error_and_do_not_affect_other_clients(engine: TestEngine) {
    let server = engine.serve();
    let mut other = server.connect();
    // The cases of Redis's own tests (tests/unit/protocol.tcl), and similar ones.
    for (bytes, error) in [
        (&b"*3000000000\r\n"[..], "invalid multibulk length"),
        (b"*20000000\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*-99999999999999999999\r\n", "invalid multibulk length"),
        (b"*9223372036854775807\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*blabla\r\n", "invalid multibulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-1\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$8388609\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$18446744073709551615\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", "invalid bulk length"),
    ] {
        let mut client = server.connect();
        // The request that follows is not executed, and does not prevent the error from arriving.
        client.send([&words("SET before 1"), bytes, &words("SET after 1")].concat());
        assert_eq!(client.rest(), format!("+OK\r\n-ERR Protocol error: {error}\r\n"), "{}", text(bytes));
        assert_eq!(other.ask("MGET before after"), RespReply::Array(vec!["1".into(), RespReply::Nil2]));
    }
}

fn an_empty_request_is_not_an_error(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.send("*0\r\n*-1\r\n*-10\r\n\r\n\n*1\r\n$4\r\nPING\r\n");
    client.expect("+PONG\r\n");
    let mut client = server.connect();
    client.send(request(&[""]));
    assert_eq!(client.reply(), RespReply::Error("ERR unknown command '', with args beginning with: ".into()));
}

fn a_flood_without_a_line_end_is_cut_off(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { protocol: KvProtocol::Resp, ..KvOptions::default() });
    for (start, error) in [
        (&b"\0"[..], "too big inline request"),
        (b"*\0", "too big mbulk count string"),
        (b"*1\r\n$\0", "too big bulk count string"),
    ] {
        let mut client = server.connect();
        client.send(start);
        client.try_send(vec![b'x'; 300_000]);
        assert_eq!(client.rest(), format!("-ERR Protocol error: {error}\r\n"), "{}", text(start));
    }
}

fn keys_and_values_of_any_bytes_survive_a_round_trip_in_resp(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    let singles = (0..=255).map(|byte| vec![byte]);
    for bytes in singles.chain([all.clone(), all.repeat(40), Vec::new(), b"\r\n".to_vec(), b"$1\r\nx\r\n".to_vec()]) {
        client.send(request(&[b"SET", &bytes[..], &bytes]));
        client.expect("+OK\r\n");
        client.send(request(&[b"GET", &bytes[..]]));
        client.expect(bulk(&bytes));
        client.send(request(&[b"ECHO", &bytes[..]]));
        client.expect(bulk(&bytes));
    }
    assert_eq!(client.ask("DBSIZE").number(), 261);
    let mut keys: Vec<RespReply> = client.ask("KEYS *").elements().to_vec();
    keys.sort();
    let mut expected: Vec<RespReply> = (0..=255).map(|byte| RespReply::Bulk(vec![byte])).collect();
    expected
        .extend([all.clone(), all.repeat(40), vec![], b"\r\n".to_vec(), b"$1\r\nx\r\n".to_vec()].map(RespReply::Bulk));
    expected.sort();
    assert!(keys == expected, "KEYS shows each key unchanged");
    client.send(request(&[b"RENAME", &all[..], b"plain"]));
    client.expect("+OK\r\n");
    client.send(words("GET plain"));
    client.expect(bulk(&all));
}

fn keys_and_values_of_any_bytes_survive_a_round_trip_in_text(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    for bytes in (0..=255).map(|byte| vec![byte]).chain([all.clone(), Vec::new()]) {
        let word = quoted(&bytes);
        assert_eq!(client.type_line(&format!("SET {word} {word}")), "OK");
        assert_eq!(unquoted(&client.type_line(&format!("GET {word}"))), bytes);
        // Bytes without a meaning in the dialect need no quotes. Backspace and DEL erase.
        if !bytes.is_empty() && !bytes.iter().any(|byte| byte.is_ascii_whitespace() || b"\"'\x08\x7f".contains(byte)) {
            client.send([b"SET raw ", &bytes[..], b"\nGET raw\n"].concat());
            client.expect("OK\n");
            assert_eq!(unquoted(&client.line()), bytes);
        }
    }
    // A value that was set in text can be read in RESP.
    let mut other = server.connect();
    other.send(request(&[b"GET", &all[..]]));
    other.expect(bulk(&all));
}

fn no_byte_value_crashes_the_server(engine: TestEngine) {
    let server = engine.serve();
    for byte in 0..=255_u8 {
        for start in [&b""[..], b"*", b"*1\r\n$", b"*1\r\n$1\r\n", b"SET a \"\\", b"CLIENT "] {
            let mut client = server.connect();
            client.send([start, &[byte, byte, b'\r', b'\n', byte, b'\n']].concat());
            client.end_output();
            client.rest();
        }
    }
    assert_eq!(server.connect().talk("PING\n"), "+PONG\n");
    assert_eq!(server.stop().stats.panicked, 0);
}

fn a_client_that_ends_its_output_still_gets_all_replies(engine: TestEngine) {
    let server = engine.serve();
    assert_eq!(server.connect().talk("SET a 1\nGET a\n"), "OK\n1\n");
    assert_eq!(server.connect().talk(""), "");
    let value = "v".repeat(1000);
    let requests = ["SET k", "GET k"].map(words).concat();
    assert!(server.connect().talk(requests).contains("wrong number of arguments"));
    // More replies than one batch, and than the sockets can buffer.
    let count = 20_000;
    let mut client = server.connect();
    let mut sending = client.stream.try_clone().unwrap();
    let requests = [request(&["SET", "k", &value]), words("GET k").repeat(count)].concat();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(&mut sending, &requests).unwrap();
        sending.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let expected = [b"+OK\r\n".to_vec(), bulk(&value).repeat(count)].concat();
    assert!(client.rest().into_bytes() == expected, "all of {count} replies, and nothing else");
    sender.join().unwrap();
}

fn an_incomplete_request_is_not_executed(engine: TestEngine) {
    let server = engine.serve();
    for place in 1..words("SET a 2").len() {
        let replies = server.connect().talk([&words("SET a 1")[..], &words("SET a 2")[..place]].concat());
        let farewell = replies.strip_prefix("+OK\r\n").expect("the first is executed");
        assert_eq!(farewell, "-ERR the last request was not complete and was not carried out\r\n");
    }
    assert_eq!(server.connect().ask("GET a"), "1".into());
}

fn an_http_request_closes_the_connection_before_the_next_line_is_executed(engine: TestEngine) {
    for protocol in [KvProtocol::Auto, KvProtocol::Text, KvProtocol::Resp] {
        let server = engine.serve_with(KvOptions { protocol, ..KvOptions::default() });
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];
        let lines = methods.map(|method| format!("{method} / HTTP/1.1"));
        for first in lines.iter().map(String::as_str).chain(["Host: localhost", "host: localhost:17007", "HOST:x"]) {
            let mut client = server.connect();
            client.send(format!("{first}\r\nHost: localhost\r\n\r\nSET pwned 1\r\nFLUSHALL\r\n"));
            assert!(http_response(&client.rest()).contains("It is a key-value store"), "{first}");
        }
        // A request line that comes after another line.
        let mut client = server.connect();
        client.send("SET before 1\r\nPOST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET pwned 1\r\n");
        assert!(http_response(&client.rest()).contains("It is a key-value store"));
        let peer = client.stream.local_addr().unwrap().to_string();
        let found = server.connect().talk("GET before\r\nGET pwned\r\n");
        let is_text = protocol != KvProtocol::Resp;
        assert_eq!(found, if is_text { "1\r\nNOT_FOUND\r\n" } else { "$1\r\n1\r\n$-1\r\n" }, "{protocol:?}");
        assert_eq!(logged(&[&peer, "HTTP"]).len(), 1, "and logged once");
    }
}
