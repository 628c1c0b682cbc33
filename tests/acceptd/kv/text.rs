//! The text dialect, as people use it with `nc`.

use proptest::prelude::*;

use super::{quoted, unquoted};
use crate::support::kv::{TestEngine, bulk, request};
use crate::support::{Client, text};

crate::for_each_engine! {
    an_empty_result_is_a_line_too
    each_line_gets_a_line_in_reply
    the_reply_ends_the_same_way_as_the_line
    an_empty_line_gets_no_reply
    words_are_quoted_as_in_redis_inline_commands
    numbers_are_digits_and_lists_a_line_for_each_element
    an_error_says_what_to_type_instead
    unbalanced_quotes_are_an_error_and_the_connection_stays_open
    a_value_that_looks_like_another_reply_is_quoted
    plain_text_of_any_language_is_shown_as_it_is
    every_value_is_one_unambiguous_line
    keys_shows_every_key_on_one_line
    help_lists_every_command_with_its_arguments
    a_transaction_can_be_typed_line_by_line
    hello_switches_a_text_client_to_resp
    an_incomplete_last_line_is_reported_and_not_executed
    a_star_after_the_first_byte_does_not_switch_to_resp
}

fn each_line_gets_a_line_in_reply(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (line, reply) in [
        ("GET greeting", "NOT_FOUND"),
        ("SET greeting hello", "OK"),
        ("GET greeting", "hello"),
        ("get greeting", "hello"),
        ("Set greeting moin", "OK"),
        ("GET greeting", "moin"),
        ("PING", "+PONG"),
        ("PING hello", "hello"),
        ("ECHO a", "a"),
        ("TYPE greeting", "string"),
        ("SELECT 0", "OK"),
        ("DEL greeting", "1"),
        ("GET greeting", "NOT_FOUND"),
    ] {
        assert_eq!(client.type_line(line), reply, "{line}");
    }
    client.send("QUIT\nSET greeting late\n");
    assert_eq!(client.rest(), "OK\n");
    assert_eq!(server.connect().talk("GET greeting\n"), "NOT_FOUND\n", "nothing is executed after QUIT");
}

fn the_reply_ends_the_same_way_as_the_line(engine: TestEngine) {
    let server = engine.serve();
    let replies = server.connect().talk("SET a 1\r\nGET a\nGET b\r\nMGET a b\r\nMGET a b\nNONSENSE\r\n");
    let error = "ERROR unknown command 'NONSENSE', try HELP\r\n";
    assert_eq!(replies, format!("OK\r\n1\nNOT_FOUND\r\n1\r\nNOT_FOUND\r\n1\nNOT_FOUND\n{error}"));
}

fn an_empty_line_gets_no_reply(engine: TestEngine) {
    let server = engine.serve();
    assert_eq!(server.connect().talk("\n\r\n  \nECHO a\n\n"), "a\n");
}

fn words_are_quoted_as_in_redis_inline_commands(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (line, reply) in [
        (r#"SET greeting "hello world""#, "OK"),
        ("GET greeting", "hello world"),
        (r"SET 'my key' 'it\'s \n'", "OK"),
        (r#"GET "my key""#, r"it's \n"),
        (r#"  SET   a    "\x00\xfF\n\"\\"   "#, "OK"),
        ("STRLEN a", "5"),
        ("GET a", r#""\x00\xff\n\"\\""#),
        (r#"SET "" ''"#, "OK"),
        (r#"GET """#, r#""""#),
    ] {
        assert_eq!(client.type_line(line), reply, "{line}");
    }
}

fn numbers_are_digits_and_lists_a_line_for_each_element(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    assert_eq!(client.type_line("INCR n"), "1");
    assert_eq!(client.type_line("DECRBY n 5"), "-4");
    assert_eq!(client.type_line("INCRBYFLOAT n 0.5"), "-3.5");
    assert_eq!(client.type_line("TTL n"), "-1");
    client.send("MSET a 1 b 'two words' c \"two\\nlines\"\nMGET a b nope c\n");
    client.expect("OK\n1\ntwo words\nNOT_FOUND\n\"two\\nlines\"\n");
    client.send("DEL n b c\nKEYS *\nSCAN 0\n");
    client.expect("3\na\n0\na\n");
    client.send("TIME\n");
    assert!(client.line().bytes().all(|byte| byte.is_ascii_digit()));
    assert!(client.line().bytes().all(|byte| byte.is_ascii_digit()));
}

fn an_error_says_what_to_type_instead(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (line, reply) in [
        ("frobnicate now", "ERROR unknown command 'frobnicate', try HELP"),
        ("GET", "ERROR wrong number of arguments for 'get' command; write GET key"),
        ("get a b", "ERROR wrong number of arguments for 'get' command; write GET key"),
        ("MSET a", "ERROR wrong number of arguments for 'mset' command; write MSET key value ..."),
        ("MSET a 1 b", "ERROR wrong number of arguments for 'mset' command; write MSET key value ..."),
        ("SET a b FOO", "ERROR syntax error; write SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time|KEEPTTL]"),
        ("SCAN 0 COUNT", "ERROR syntax error; write SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]"),
        ("SET a b EX soon", "ERROR value is not an integer or out of range"),
        ("EXEC", "ERROR EXEC without MULTI"),
        ("SELECT 1", "ERROR DB index is out of range"),
    ] {
        assert_eq!(client.type_line(line), reply, "{line}");
    }
    assert_eq!(client.type_line("SET a text"), "OK");
    assert_eq!(client.type_line("INCR a"), "ERROR value is not an integer or out of range");
    // An error that quotes a line end is still one line.
    assert_eq!(client.type_line(r#""no\r\nsuch" a"#), "ERROR unknown command 'no  such', try HELP");
    assert_eq!(client.type_line("ECHO a"), "a");
}

fn unbalanced_quotes_are_an_error_and_the_connection_stays_open(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for line in [r#"SET a "b"#, "SET a 'b", r#"SET a "b"c"#, r#"SET """a""" b"#] {
        let reply = client.type_line(line);
        assert!(reply.starts_with("ERROR unbalanced quotes"), "{line}: {reply}");
    }
    assert_eq!(client.type_line("GET a"), "NOT_FOUND");
}

/// The reply to GET in text, for a value that was set in RESP.
fn get_of(value: &[u8], setter: &mut Client, getter: &mut Client) -> String {
    setter.send(request(&[b"SET", &b"k"[..], value]));
    setter.expect("+OK\r\n");
    getter.type_line("GET k")
}

fn a_value_that_looks_like_another_reply_is_quoted(engine: TestEngine) {
    let server = engine.serve();
    let (mut setter, mut getter) = (server.connect(), server.connect());
    for value in [
        "NOT_FOUND",
        "OK",
        "ERROR",
        "ERROR no such thing",
        "",
        " ",
        "a ",
        " a",
        "a\nb",
        "a\r",
        "OK\nOK",
        "\"quoted\"",
        "\"",
        "\t",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        "\u{202e}backwards",
        "\u{2028}",
    ] {
        assert_eq!(get_of(value.as_bytes(), &mut setter, &mut getter), quoted(value.as_bytes()), "{value:?}");
    }
    assert_eq!(get_of(b"\xff\xfe", &mut setter, &mut getter), r#""\xff\xfe""#);
}

fn plain_text_of_any_language_is_shown_as_it_is(engine: TestEngine) {
    let server = engine.serve();
    let (mut setter, mut getter) = (server.connect(), server.connect());
    for value in
        ["hello world", "1", "it's", "a\"b", r"a\n", "Grüße", "日本語", "שלום", "👩‍👩‍👧", "NOT_FOUNDER", "ok", "ERRORS"]
    {
        assert_eq!(get_of(value.as_bytes(), &mut setter, &mut getter), value);
    }
}

/// Values of any bytes, and values that look like replies.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        2 => "[ -~]{0,20}".prop_map(String::into_bytes),
        1 => "\\PC{0,8}".prop_map(String::into_bytes),
        1 => prop::sample::select(vec!["OK", "NOT_FOUND", "ERROR", "ERROR x", "\"", "\\", "\r\n", "\n", " ", "\u{202e}"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn every_value_is_one_unambiguous_line(engine: TestEngine) {
    let server = engine.serve();
    proptest!(ProptestConfig::with_cases(1000), |(value in values())| {
        let (mut setter, mut getter) = (server.connect(), server.connect());
        let line = get_of(&value, &mut setter, &mut getter);
        // If the value took two lines, the second would be read as the reply to this.
        let next = getter.type_line("ECHO next");
        prop_assert_eq!(next, "next");
        prop_assert!(!line.is_empty() && line != "NOT_FOUND" && line != "OK" && !line.starts_with("ERROR "), "{}", line);
        prop_assert!(!line.chars().any(char::is_control), "{}", line);
        prop_assert_eq!(text(&unquoted(&line)), text(&value));
        // The quoted form can be typed as it is.
        if line.starts_with('"') {
            prop_assert_eq!(getter.type_line(&format!("SET again {line}")), "OK");
            setter.send(request(&["GET", "again"]));
            setter.expect(bulk(&value));
        }
    });
}

fn keys_shows_every_key_on_one_line(engine: TestEngine) {
    let server = engine.serve();
    proptest!(ProptestConfig::with_cases(200), |(keys in prop::collection::btree_set(values(), 1..6))| {
        let mut client = server.connect();
        server.connect().talk("FLUSHALL\n");
        for key in &keys {
            prop_assert_eq!(client.type_line(&format!("SET {} x", quoted(key))), "OK");
        }
        client.send("KEYS *\n");
        let mut got: Vec<Vec<u8>> = keys.iter().map(|_| unquoted(&client.line())).collect();
        prop_assert_eq!(client.type_line("ECHO next"), "next");
        got.sort();
        prop_assert_eq!(got, keys.into_iter().collect::<Vec<_>>());
    });
}

fn help_lists_every_command_with_its_arguments(engine: TestEngine) {
    let server = engine.serve();
    let help = server.connect().talk("HELP\n");
    let names = server.connect().talk("COMMAND LIST\n");
    for name in names.lines() {
        let name = name.to_uppercase();
        assert!(help.lines().any(|line| line.split(' ').next() == Some(&name)), "{name} is missing in {help}");
    }
    assert_eq!(help.lines().count(), names.lines().count(), "a line for each");
    assert_eq!(server.connect().talk("COMMAND COUNT\n"), format!("{}\n", names.lines().count()));
    for line in ["GET key ", "SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time|KEEPTTL] ", "DEL key ... "] {
        assert!(help.lines().any(|usage| usage.starts_with(line)), "{line} in {help}");
    }
    let promised = "GET SET SETNX SETEX PSETEX GETSET GETDEL GETEX MGET MSET MSETNX APPEND STRLEN GETRANGE SUBSTR SETRANGE \
                    INCR DECR INCRBY DECRBY INCRBYFLOAT DEL UNLINK EXISTS TYPE KEYS SCAN RANDOMKEY RENAME RENAMENX COPY \
                    TOUCH EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME PEXPIRETIME PERSIST DBSIZE FLUSHDB \
                    FLUSHALL MULTI EXEC DISCARD WATCH UNWATCH PING ECHO QUIT RESET SELECT AUTH HELLO CLIENT COMMAND \
                    CONFIG INFO TIME LOLWUT HELP";
    for name in promised.split_whitespace() {
        assert!(names.lines().any(|line| line.eq_ignore_ascii_case(name)), "{name}");
    }
}

fn a_transaction_can_be_typed_line_by_line(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.send("MULTI\nSET a 1\nINCR a\nGET nope\nMGET a nope\nEXEC\nGET a\n");
    client.expect("OK\nQUEUED\nQUEUED\nQUEUED\nQUEUED\nOK\n2\nNOT_FOUND\n2\nNOT_FOUND\n2\n");
    client.send("MULTI\nNONSENSE\nEXEC\n");
    client.expect("OK\nERROR unknown command 'NONSENSE', try HELP\n");
    assert!(client.line().starts_with("ERROR EXECABORT"));
    client.send("MULTI\nEXEC\nECHO next\n");
    client.expect("OK\nEMPTY\nnext\n");
}

fn hello_switches_a_text_client_to_resp(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    assert_eq!(client.type_line("SET a 1"), "OK");
    client.send("HELLO 3\n");
    client.reply();
    client.send("GET a\r\n");
    client.expect("$1\r\n1\r\n");
    client.send(request(&["GET", "b"]));
    client.expect("_\r\n");
    // The farewell is in RESP too.
    assert_eq!(client.talk("GET b"), "-ERR the last request was not complete and was not carried out\r\n");
}

fn an_incomplete_last_line_is_reported_and_not_executed(engine: TestEngine) {
    let server = engine.serve();
    let replies = server.connect().talk("SET a 1\nSET a 2");
    let farewell = replies.strip_prefix("OK\n").expect("the first line is executed");
    assert!(farewell.contains("the last request was not complete and was not carried out"), "{farewell}");
    assert_eq!(server.connect().talk("GET a\n"), "1\n");
}

fn a_star_after_the_first_byte_does_not_switch_to_resp(engine: TestEngine) {
    let server = engine.serve();
    let replies = server.connect().talk("PING\n*1\r\n$4\r\nPING\r\n");
    let unknown = |name: &str| format!("ERROR unknown command '{name}', try HELP\r\n");
    assert_eq!(replies, format!("+PONG\n{}{}+PONG\r\n", unknown("*1"), unknown("$4")));
}

fn an_empty_result_is_a_line_too(engine: TestEngine) {
    let server = engine.serve();
    for question in [
        "KEYS nope",
        "CONFIG GET nope",
        "COMMAND DOCS nope",
        "CLIENT LIST TYPE pubsub",
        "CLIENT LIST ID 99999",
        "INFO nope",
    ] {
        let mut client = server.connect();
        client.send(format!("{question}\n"));
        client.expect("EMPTY\n");
    }
}
