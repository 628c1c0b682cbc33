//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use crate::support::eventually;
use crate::support::kv::{RespReply, TestEngine, bulk, words};

crate::for_each_engine! {
    exec_executes_the_queued_commands_and_replies_to_each
    a_command_that_fails_in_exec_does_not_stop_the_others
    an_error_while_queueing_aborts_the_transaction
    discard_drops_the_queued_commands_and_the_watches
    other_clients_see_all_of_a_transaction_or_nothing
    a_modified_watched_key_aborts_the_transaction
    an_unmodified_watched_key_does_not_abort_the_transaction
    a_watched_key_that_expires_aborts_the_transaction
    removing_a_key_that_was_watched_after_its_expiry_does_not_abort_the_transaction
}

fn exec_executes_the_queued_commands_and_replies_to_each(engine: TestEngine) {
    let server = engine.serve();
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(client.ask("MULTI").text(), "OK");
    for line in ["SET a 1", "INCR a", "GET nope", "PING", "MGET a nope"] {
        assert_eq!(client.ask(line), RespReply::Simple("QUEUED".into()));
    }
    assert_eq!(other.ask("EXISTS a").number(), 0, "nothing is executed before EXEC");
    client.send(words("EXEC"));
    client.expect("*5\r\n+OK\r\n:2\r\n$-1\r\n+PONG\r\n*2\r\n$1\r\n2\r\n$-1\r\n");
    assert_eq!(client.ask("MULTI").text(), "OK");
    assert_eq!(client.ask("MULTI").text(), "ERR MULTI calls can not be nested");
    assert_eq!(client.ask("EXEC"), RespReply::Array(vec![]), "a nested MULTI does not abort the transaction");
}

fn a_command_that_fails_in_exec_does_not_stop_the_others(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for line in ["MULTI", "SET a text", "INCR a", "SET b 1"] {
        client.ask(line);
    }
    let RespReply::Array(replies) = client.ask("EXEC") else { panic!("not an array") };
    assert_eq!(replies[1], RespReply::Error("ERR value is not an integer or out of range".into()));
    assert_eq!(client.ask("MGET a b"), RespReply::Array(vec!["text".into(), "1".into()]));
}

fn an_error_while_queueing_aborts_the_transaction(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for wrong in ["NONSENSE", "GET"] {
        assert_eq!(client.ask("MULTI").text(), "OK");
        assert_eq!(client.ask("SET a 1").text(), "QUEUED");
        assert!(matches!(client.ask(wrong), RespReply::Error(_)));
        assert_eq!(client.ask("SET b 1").text(), "QUEUED");
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(client.ask("EXEC"), RespReply::Error(aborted.into()));
        assert_eq!(client.ask("EXISTS a b").number(), 0);
    }
    assert_eq!(client.ask("MULTI").text(), "OK");
    assert_eq!(client.ask("SET a 1").text(), "QUEUED");
    assert_eq!(
        client.ask("EXEC"),
        RespReply::Array(vec![RespReply::Simple("OK".into())]),
        "the next transaction is not affected"
    );
}

fn discard_drops_the_queued_commands_and_the_watches(engine: TestEngine) {
    let server = engine.serve();
    let (mut client, mut other) = (server.connect(), server.connect());
    for line in ["WATCH a", "MULTI", "SET a 1"] {
        client.ask(line);
    }
    assert_eq!(client.ask("DISCARD").text(), "OK");
    assert_eq!(client.ask("EXISTS a").number(), 0);
    other.ask("SET a 2");
    client.ask("MULTI");
    assert_eq!(client.ask("EXEC"), RespReply::Array(vec![]), "DISCARD also ends the watch");
}

fn other_clients_see_all_of_a_transaction_or_nothing(engine: TestEngine) {
    let server = engine.serve();
    let mut writer = server.connect();
    let (addr, rounds) = (server.addr, 300);
    let reader = std::thread::spawn(move || {
        let mut reader = crate::support::Client::connect(addr);
        loop {
            let reply = reader.ask("MGET a b c d");
            let first = &reply.elements()[0];
            assert!(reply.elements().iter().all(|other| other == first), "torn: {reply:?}");
            if *first == rounds.to_string().as_str().into() {
                return;
            }
        }
    });
    for _ in 0..rounds {
        writer.send(["MULTI", "INCR a", "INCR b", "INCR c", "INCR d", "EXEC"].map(words).concat());
        (0..5).for_each(|_| drop(writer.reply()));
        assert_eq!(writer.reply().elements().len(), 4);
    }
    reader.join().unwrap();
}

fn a_modified_watched_key_aborts_the_transaction(engine: TestEngine) {
    let server = engine.serve();
    let (mut client, mut other) = (server.connect(), server.connect());
    for write in [
        "SET a 2",
        "SET a 1",
        "DEL a",
        "INCR a",
        "APPEND a x",
        "EXPIRE a 100",
        "RENAME a c",
        "RENAME b a",
        "COPY b a REPLACE",
        "MSET z 1 a 1",
        "GETDEL a",
        "FLUSHALL",
        "SETRANGE a 0 x",
    ] {
        client.ask("MSET a 1 b 1");
        assert_eq!(client.ask("WATCH nope a").text(), "OK");
        assert!(!matches!(other.ask(write), RespReply::Error(_)), "{write}");
        assert_eq!(client.ask("MULTI").text(), "OK");
        assert_eq!(client.ask("SET executed 1").text(), "QUEUED");
        assert_eq!(client.ask("EXEC"), RespReply::Nil2, "{write}");
        assert_eq!(client.ask("EXISTS executed").number(), 0, "{write}");
        client.ask("MULTI");
        assert_eq!(client.ask("EXEC"), RespReply::Array(vec![]), "EXEC ends the watch: {write}");
    }
    // The client's own writes count too, and so does a key that is created.
    client.ask("WATCH mine");
    client.ask("SET mine 1");
    client.ask("MULTI");
    assert_eq!(client.ask("EXEC"), RespReply::Nil2);
}

fn an_unmodified_watched_key_does_not_abort_the_transaction(engine: TestEngine) {
    let server = engine.serve();
    let (mut client, mut other) = (server.connect(), server.connect());
    client.ask("SET a 1");
    for harmless in ["GET a", "SET b 1", "SETNX a 2", "SET a 2 NX", "TTL a", "PERSIST a", "SET nope 1 XX", "GETEX a"] {
        assert_eq!(client.ask("WATCH a").text(), "OK");
        other.ask(harmless);
        client.ask("MULTI");
        client.ask("GET a");
        assert_eq!(client.ask("EXEC"), RespReply::Array(vec!["1".into()]), "{harmless}");
    }
    client.ask("WATCH a");
    other.ask("SET a 2");
    assert_eq!(client.ask("UNWATCH").text(), "OK");
    client.ask("MULTI");
    assert_eq!(client.ask("EXEC"), RespReply::Array(vec![]));
    client.ask("MULTI");
    assert_eq!(client.ask("WATCH a").text(), "ERR WATCH inside MULTI is not allowed");
    // A client that disconnects no longer watches anything.
    other.ask("WATCH a");
    drop(other);
    client.ask("DISCARD");
    client.send(words("GET a"));
    client.expect(bulk("2"));
}

fn a_watched_key_that_expires_aborts_the_transaction(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.ask("SET a 1 PX 30");
    client.ask("WATCH a");
    eventually("it has expired", || client.ask("EXISTS a").number() == 0);
    client.ask("MULTI");
    client.ask("SET executed 1");
    assert_eq!(client.ask("EXEC"), RespReply::Nil2);
}

fn removing_a_key_that_was_watched_after_its_expiry_does_not_abort_the_transaction(engine: TestEngine) {
    const KEYS: usize = 20_000;
    let server = engine.serve();
    let mut client = server.connect();
    // So many keys that removing them takes several rounds: some are still stored when they are watched after their
    // expiry.
    let expires_at = client.ask("TIME").elements()[0].text().parse::<u64>().unwrap() * 1000 + 1000;
    for part in 0..KEYS / 1000 {
        let keys = part * 1000..(part + 1) * 1000;
        client.send(keys.clone().flat_map(|n| words(&format!("SET {n} x PXAT {expires_at}"))).collect::<Vec<u8>>());
        keys.for_each(|_| client.expect("+OK\r\n"));
    }
    let watched: Vec<String> = (0..KEYS).step_by(10).map(|n| n.to_string()).collect();
    let exists = words(&format!("EXISTS {}", watched.join(" ")));
    let watch = words(&format!("WATCH {}", watched.join(" ")));
    eventually("they have expired", || {
        client.send(&exists);
        client.reply().number() == 0
    });
    client.send(&watch);
    assert_eq!(client.reply().text(), "OK");
    let mut other = server.connect();
    eventually("they are removed", || other.ask("DBSIZE").number() == 0);
    client.ask("MULTI");
    client.ask("SET executed 1");
    assert_eq!(client.ask("EXEC"), RespReply::Array(vec![RespReply::Simple("OK".into())]));
}
