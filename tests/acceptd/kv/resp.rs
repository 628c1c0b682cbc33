//! RESP2 and RESP3, as Redis's client libraries use them.

use acceptd::handler::kv::{KvOptions, KvProtocol};

use crate::support::eventually;
use crate::support::kv::{RespReply, TestEngine, bulk, request, words};

crate::for_each_engine! {
    replies_in_resp2
    with_only_resp_lines_are_answered_in_resp
    with_only_text_arrays_are_read_as_lines
    hello_selects_the_version_and_describes_the_server
    nil_is_encoded_in_the_selected_version
    maps_sets_and_verbatim_strings_have_their_own_types_in_resp3
    scan_returns_every_key_exactly_once
    client_list_shows_ids_and_names
    a_client_can_be_killed
    client_reply_switches_replies_off_and_skips_them
    reset_restores_the_initial_state
    quit_replies_and_closes
    command_describes_every_command
    config_get_shows_settings
    info_has_the_fields_that_clients_need
    errors_are_the_same_as_in_redis
}

crate::for_memory! {
    used_memory_follows_what_is_stored
}

fn replies_in_resp2(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (line, reply) in [
        ("PING", "+PONG\r\n"),
        ("PING hello", "$5\r\nhello\r\n"),
        ("ECHO hello", "$5\r\nhello\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("GET a", "$1\r\n1\r\n"),
        ("INCR a", ":2\r\n"),
        ("APPEND a 34", ":3\r\n"),
        ("GETRANGE a -2 -1", "$2\r\n34\r\n"),
        ("MGET a b", "*2\r\n$3\r\n234\r\n$-1\r\n"),
        ("GETSET a new", "$3\r\n234\r\n"),
        ("SET a x NX", "$-1\r\n"),
        ("SET a x XX GET", "$3\r\nnew\r\n"),
        ("SETRANGE b 2 x", ":3\r\n"),
        ("GET b", "$3\r\n\0\0x\r\n"),
        ("EXISTS a b c", ":2\r\n"),
        ("RENAME a c", "+OK\r\n"),
        ("TYPE a", "+none\r\n"),
        ("TYPE c", "+string\r\n"),
        ("COPY c d", ":1\r\n"),
        ("KEYS d", "*1\r\n$1\r\nd\r\n"),
        ("DEL a b c d", ":3\r\n"),
        ("DBSIZE", ":0\r\n"),
        ("KEYS *", "*0\r\n"),
        ("RANDOMKEY", "$-1\r\n"),
        ("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n"),
    ] {
        client.send(words(line));
        client.expect(reply);
    }
    client.send("PING\r\n");
    client.expect("+PONG\r\n");
}

fn with_only_resp_lines_are_answered_in_resp(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { protocol: KvProtocol::Resp, ..KvOptions::default() });
    let mut client = server.connect();
    client.send("SET a \"b c\"\r\nGET a\nGET b\r\nINCR n\r\nMGET a b\r\n\r\n");
    client.expect("+OK\r\n$3\r\nb c\r\n$-1\r\n:1\r\n*2\r\n$3\r\nb c\r\n$-1\r\n");
    client.send(words("GET a"));
    client.expect("$3\r\nb c\r\n");
    client.send("HELP\r\n");
    client.expect("-ERR unknown command 'HELP', with args beginning with: \r\n");
    client.send("SET a \"b\r\nPING\r\n");
    assert_eq!(client.rest(), "-ERR Protocol error: unbalanced quotes in request\r\n");
}

fn with_only_text_arrays_are_read_as_lines(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { protocol: KvProtocol::Text, ..KvOptions::default() });
    let reply = server.connect().talk("*1\r\n$4\r\nPING\r\n");
    let errors = "ERROR unknown command '*1', try HELP\r\nERROR unknown command '$4', try HELP\r\n";
    assert_eq!(reply, format!("{errors}+PONG\r\n"));
}

fn hello_selects_the_version_and_describes_the_server(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let id = client.ask("CLIENT ID").number();
    let description = |version: i64| {
        let fields: [(&str, RespReply); 7] = [
            ("server", "redis".into()),
            ("version", "7.0.15".into()),
            ("proto", version.into()),
            ("id", id.into()),
            ("mode", "standalone".into()),
            ("role", "master".into()),
            ("modules", RespReply::Array(vec![])),
        ];
        fields.map(|(name, value)| (RespReply::from(name), value)).to_vec()
    };
    let in_resp2 = RespReply::Array(description(2).into_iter().flat_map(|(name, value)| [name, value]).collect());
    assert_eq!(client.ask("HELLO"), in_resp2);
    assert_eq!(client.ask("HELLO 3"), RespReply::Map(description(3)));
    assert_eq!(client.ask("HELLO"), RespReply::Map(description(3)), "the version stays");
    assert_eq!(client.ask("HELLO 2"), in_resp2);
    for version in ["1", "4"] {
        assert_eq!(client.ask(&format!("HELLO {version}")).text(), "NOPROTO unsupported protocol version");
    }
    assert_eq!(client.ask("HELLO x").text(), "ERR Protocol version is not an integer or out of range");
    assert_eq!(client.ask("HELLO 3 NONSENSE").text(), "ERR Syntax error in HELLO option 'NONSENSE'");
    assert_eq!(client.ask("GET a"), RespReply::Nil2, "failed HELLOs change nothing");
    assert_eq!(client.ask("HELLO 3 SETNAME me"), RespReply::Map(description(3)));
    assert_eq!(client.ask("CLIENT GETNAME"), "me".into());
}

fn nil_is_encoded_in_the_selected_version(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (version, nil, nil_array) in [("2", "$-1\r\n", "*-1\r\n"), ("3", "_\r\n", "_\r\n")] {
        client.ask(&format!("HELLO {version}"));
        client.send(words("GET nope"));
        client.expect(nil);
        client.send(words("MGET nope nope"));
        client.expect(format!("*2\r\n{nil}{nil}"));
        client.send(words("CLIENT GETNAME"));
        client.expect(nil);
        // The reply to a transaction that was not executed is nil in place of an array.
        assert_eq!(client.ask("WATCH w").text(), "OK");
        assert_eq!(server.connect().ask("INCR w"), RespReply::Integer(version.parse::<i64>().unwrap() - 1));
        assert_eq!(client.ask("MULTI").text(), "OK");
        client.send(words("EXEC"));
        client.expect(nil_array);
    }
}

fn maps_sets_and_verbatim_strings_have_their_own_types_in_resp3(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    assert!(matches!(client.ask("INFO"), RespReply::Bulk(_)));
    assert_eq!(client.ask("CONFIG GET databases"), RespReply::Array(vec!["databases".into(), "1".into()]));
    assert!(matches!(&client.ask("COMMAND INFO get").elements()[0].elements()[2], RespReply::Array(_)));
    client.ask("HELLO 3");
    assert!(matches!(client.ask("INFO"), RespReply::Verbatim(_)));
    assert!(matches!(client.ask("LOLWUT"), RespReply::Verbatim(_)));
    assert!(matches!(client.ask("CLIENT LIST"), RespReply::Verbatim(_)));
    assert_eq!(client.ask("CONFIG GET databases"), RespReply::Map(vec![("databases".into(), "1".into())]));
    let flags = RespReply::Set(vec![RespReply::Simple("readonly".into())]);
    assert_eq!(client.ask("COMMAND INFO get").elements()[0].elements()[2], flags);
    assert!(matches!(client.ask("COMMAND DOCS get"), RespReply::Map(_)));
}

fn scan_returns_every_key_exactly_once(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let mut keys: Vec<RespReply> = (0..500).map(|n| format!("key:{n}").as_str().into()).collect();
    for n in 0..500 {
        client.send(words(&format!("SET key:{n} x")));
    }
    keys.iter().for_each(|_| client.expect("+OK\r\n"));
    keys.sort();
    for options in ["", " COUNT 1", " COUNT 7", " COUNT 1000", " MATCH key:*", " TYPE string"] {
        let (mut found, mut cursor, mut rounds) = (Vec::new(), "0".to_owned(), 0);
        loop {
            let reply = client.ask(&format!("SCAN {cursor}{options}"));
            cursor = reply.elements()[0].text().to_owned();
            found.extend_from_slice(reply.elements()[1].elements());
            rounds += 1;
            assert!(rounds <= 600, "the scan does not end");
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        assert_eq!(found, keys, "each key once, with {options:?}");
    }
    assert_eq!(client.ask("SCAN 0 COUNT 1000 MATCH key:49?").elements()[1].elements().len(), 10);
    assert_eq!(client.ask("SCAN 0 COUNT 1000 TYPE list").elements()[1].elements(), []);
    assert_eq!(client.ask("SCAN x").text(), "ERR invalid cursor");
}

fn client_list_shows_ids_and_names(engine: TestEngine) {
    let server = engine.serve();
    let (mut one, mut other) = (server.connect(), server.connect());
    let (id, other_id) = (one.ask("CLIENT ID").number(), other.ask("CLIENT ID").number());
    assert_ne!(id, other_id);
    assert_eq!(one.ask("CLIENT ID").number(), id);
    assert_eq!(one.ask("CLIENT SETNAME me").text(), "OK");
    assert_eq!(one.ask("CLIENT GETNAME"), "me".into());
    assert_eq!(one.ask("CLIENT SETINFO LIB-NAME redis-x").text(), "OK");
    assert_eq!(one.ask("CLIENT SETINFO LIB-VER 1.2").text(), "OK");
    one.send(request(&["CLIENT", "SETNAME", "two words"]));
    assert_eq!(one.reply().text(), "ERR Client names cannot contain spaces, newlines or special characters.");
    one.send(request(&["CLIENT", "SETINFO", "LIB-NAME", "a\nid=7"]));
    assert!(one.reply().text().starts_with("ERR lib-name cannot contain"));

    let address = one.stream.local_addr().unwrap();
    let info = one.ask("CLIENT INFO").text().to_owned();
    for field in [format!("id={id} "), format!(" addr={address} "), " name=me ".into(), " db=0 ".into()] {
        assert!(info.contains(&field), "{field:?} in {info}");
    }
    assert!(info.contains(" lib-name=redis-x lib-ver=1.2 ") && info.ends_with('\n'), "{info}");
    let list = other.ask("CLIENT LIST").text().to_owned();
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains(&format!("addr={address} ")), "{list}");
    let list = other.ask(&format!("CLIENT LIST ID {other_id}")).text().to_owned();
    assert!(list.lines().count() == 1 && list.starts_with(&format!("id={other_id} ")), "{list}");
    assert_eq!(other.ask("CLIENT LIST TYPE pubsub").text(), "");
    drop(one);
    eventually("the client is removed from the list", || other.ask("CLIENT LIST").text().lines().count() == 1);
}

fn a_client_can_be_killed(engine: TestEngine) {
    let server = engine.serve();
    let mut killer = server.connect();
    let mut victim = server.connect();
    let id = victim.ask("CLIENT ID").number();
    assert_eq!(killer.ask(&format!("CLIENT KILL ID {id}")).number(), 1);
    assert_eq!(victim.rest_or_reset(), b"");
    let mut victim = server.connect();
    victim.ask("PING");
    let address = victim.stream.local_addr().unwrap();
    assert_eq!(killer.ask(&format!("CLIENT KILL {address}")).text(), "OK");
    assert_eq!(victim.rest_or_reset(), b"");
    eventually("both clients are removed", || killer.ask("CLIENT LIST").text().lines().count() == 1);
    assert_eq!(killer.ask(&format!("CLIENT KILL {address}")).text(), "ERR No such client");
    assert_eq!(killer.ask(&format!("CLIENT KILL ADDR {address}")).number(), 0);

    // A client does not kill itself unless SKIPME is no. Then it still gets the reply.
    let id = killer.ask("CLIENT ID").number();
    assert_eq!(killer.ask(&format!("CLIENT KILL ID {id}")).number(), 0);
    killer.send(words(&format!("CLIENT KILL ID {id} SKIPME no")));
    assert_eq!(killer.rest(), ":1\r\n");
}

fn client_reply_switches_replies_off_and_skips_them(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let lines = ["CLIENT REPLY SKIP", "SET a 1", "SET b 2", "CLIENT REPLY OFF", "SET c 3", "GET a", "NONSENSE"];
    lines.iter().for_each(|line| client.send(words(line)));
    client.expect("+OK\r\n");
    assert_eq!(client.ask("CLIENT REPLY ON").text(), "OK", "ON itself is answered");
    assert_eq!(
        client.ask("MGET a b c"),
        RespReply::Array(vec!["1".into(), "2".into(), "3".into()]),
        "all commands were executed"
    );
    client.send(words("CLIENT REPLY SKIP"));
    client.send(words("NONSENSE"));
    assert_eq!(client.ask("PING").text(), "PONG", "an error is skipped too");
    client.send(words("CLIENT REPLY OFF"));
    client.send(words("CLIENT REPLY SKIP"));
    client.send(words("PING"));
    assert_eq!(client.ask("CLIENT REPLY ON").text(), "OK", "SKIP does not end OFF");
    assert_eq!(client.ask("CLIENT REPLY MAYBE").text(), "ERR syntax error");
}

fn reset_restores_the_initial_state(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { password: Some(b"secret".to_vec()), ..KvOptions::default() });
    let mut client = server.connect();
    client.ask("HELLO 3 AUTH default secret SETNAME me");
    assert_eq!(client.ask("WATCH a").text(), "OK");
    assert_eq!(client.ask("MULTI").text(), "OK");
    assert_eq!(client.ask("SET a 1").text(), "QUEUED");
    assert_eq!(client.ask("RESET"), RespReply::Simple("RESET".into()));
    assert_eq!(client.ask("GET a").text(), "NOAUTH Authentication required.");
    assert_eq!(client.ask("AUTH secret").text(), "OK");
    assert_eq!(client.ask("GET a"), RespReply::Nil2, "the reply is RESP2, and the transaction was not executed");
    assert_eq!(client.ask("CLIENT GETNAME"), RespReply::Nil2);
    assert_eq!(client.ask("EXEC").text(), "ERR EXEC without MULTI");
    client.send(words("CLIENT REPLY OFF"));
    assert_eq!(client.ask("RESET").text(), "RESET");
}

fn quit_replies_and_closes(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.send([words("QUIT"), words("SET a 1")].concat());
    assert_eq!(client.rest(), "+OK\r\n");
    assert_eq!(server.connect().ask("GET a"), RespReply::Nil2, "nothing is executed after it");
}

fn command_describes_every_command(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let count = client.ask("COMMAND COUNT").number() as usize;
    let (names, all) = (client.ask("COMMAND LIST"), client.ask("COMMAND"));
    assert_eq!((names.elements().len(), all.elements().len()), (count, count));
    for (command, name) in all.elements().iter().zip(names.elements()) {
        assert_eq!(&command.elements()[0], name);
        assert_eq!(command.elements().len(), 10);
    }
    let reply = client.ask("COMMAND INFO get nonsense mset rename ping");
    let RespReply::Array(infos) = reply else { panic!("not an array") };
    let [get, nonsense, mset, rename, ping] = infos.as_slice() else { panic!("not five replies: {infos:?}") };
    assert_eq!(*nonsense, RespReply::Nil2);
    // The arity, the positions of the first and last key, and the step between keys: clients of a cluster need these.
    for (command, arity, keys) in
        [(get, 2, [1, 1, 1]), (mset, -3, [1, -1, 2]), (rename, 3, [1, 2, 1]), (ping, -1, [0; 3])]
    {
        assert_eq!(command.elements()[1].number(), arity, "{command:?}");
        assert_eq!(command.elements()[3..6], keys.map(RespReply::Integer), "{command:?}");
    }
    assert!(mset.elements()[2].elements().contains(&RespReply::Simple("write".into())));
    let RespReply::Array(docs) = client.ask("COMMAND DOCS get nonsense") else { panic!("not an array") };
    assert_eq!(docs[0], "get".into());
    assert_eq!(docs.len(), 2, "unknown commands are left out");
    assert_eq!(docs[1].elements()[..2], ["summary".into(), "get a value".into()]);
}

fn config_get_shows_settings(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { max_value: 1234, max_memory: 99_999_999, ..KvOptions::default() });
    let mut client = server.connect();
    let pairs = |names: &[&str]| RespReply::Array(names.iter().map(|name| RespReply::from(*name)).collect());
    assert_eq!(client.ask("CONFIG GET maxmemory"), pairs(&["maxmemory", "99999999"]));
    assert_eq!(client.ask("CONFIG GET PROTO-*"), pairs(&["proto-max-bulk-len", "1234"]));
    assert_eq!(client.ask("CONFIG GET save nonsense databases"), pairs(&["databases", "1", "save", ""]));
    assert_eq!(client.ask("CONFIG GET nonsense"), pairs(&[]));
    assert!(client.ask("CONFIG SET maxmemory 1").text().starts_with("ERR "));
    assert_eq!(client.ask("CONFIG GET maxmemory"), pairs(&["maxmemory", "99999999"]));
}

fn info_has_the_fields_that_clients_need(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let info = client.ask("INFO").text().to_owned();
    for field in "redis_version acceptd_version redis_mode process_id uptime_in_seconds connected_clients maxclients used_memory \
                  maxmemory loading expired_keys rejected_connections role connected_slaves"
        .split_whitespace()
    {
        assert!(info.lines().any(|line| line.starts_with(&format!("{field}:"))), "{field} in {info}");
    }
    assert!(info.contains("loading:0\r\n"), "clients would wait if it were 1");
    assert_eq!(client.info("connected_clients"), 1);
    let _another = server.connect().ask("SET a 1");
    client.ask("SET b 1 EX 1000");
    assert_eq!(client.info("total_connections_received"), 2);
    assert!(client.ask("INFO keyspace").text().contains("db0:keys=2,expires=1,"));
    let memory = client.ask("INFO memory").text().to_owned();
    assert!(memory.starts_with("# Memory\r\n") && !memory.contains("redis_version"), "{memory}");
}

fn used_memory_follows_what_is_stored(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    // Sets and deletes the key once, because the table keeps its capacity.
    client.send([words("SET c 1"), words("DEL c")].concat());
    client.expect("+OK\r\n:1\r\n");
    let before = client.info("used_memory");
    client.send(request(&[b"SET", &b"c"[..], &[b'x'; 100_000]]));
    client.expect("+OK\r\n");
    let grown = client.info("used_memory") - before;
    assert!((100_000..110_000).contains(&grown), "{grown}");
    client.ask("DEL c");
    assert_eq!(client.info("used_memory"), before);
}

fn errors_are_the_same_as_in_redis(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.send([words("SET text abc"), words("SET long x"), words("SET number 9223372036854775807")].concat());
    client.expect("+OK\r\n+OK\r\n+OK\r\n");
    for (line, error) in [
        ("FOO a b", "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "),
        ("HELP", "ERR unknown command 'HELP', with args beginning with: "),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("MSET a", "ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("INCR text", "ERR value is not an integer or out of range"),
        ("INCR number", "ERR increment or decrement would overflow"),
        ("INCRBYFLOAT text 1", "ERR value is not a valid float"),
        ("SET a b PX", "ERR syntax error"),
        ("SET a b NX XX", "ERR syntax error"),
        ("SET a b EX 1 PX 1", "ERR syntax error"),
        ("SET a b EX 0", "ERR invalid expire time in 'set' command"),
        ("SETEX a 0 b", "ERR invalid expire time in 'setex' command"),
        ("RENAME nope a", "ERR no such key"),
        ("SETRANGE a -1 b", "ERR offset is out of range"),
        ("SETRANGE a 536870912 b", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("EXPIRE text x", "ERR value is not an integer or out of range"),
        ("EXPIRE text 1 NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("SELECT 7", "ERR DB index is out of range"),
        (
            "AUTH x",
            "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                    your configuration is correct?",
        ),
        ("EXEC", "ERR EXEC without MULTI"),
        ("DISCARD", "ERR DISCARD without MULTI"),
    ] {
        assert_eq!(client.ask(line), RespReply::Error(error.into()), "{line}");
    }
    client.send(request(&["FOO\r\n+OK\r\n"]));
    assert!(matches!(client.reply(), RespReply::Error(_)), "the error is one reply, not two");
    client.send(request(&["GET", "text"]));
    client.expect(bulk("abc"));
}
