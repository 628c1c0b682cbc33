//! Expiry times: setting, reading and clearing them, and the removal of expired keys.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::eventually;
use crate::support::kv::{RespReply, TestEngine, request, words};

crate::for_each_engine! {
    a_key_exists_to_the_millisecond_until_its_expiry_time
    an_expired_key_is_invisible_to_every_command
    every_command_that_takes_an_expiry_time_sets_it
    writes_clear_or_keep_the_expiry_time_as_in_redis
    conditions_decide_whether_the_expiry_time_changes
    an_expiry_time_in_the_past_deletes_the_key_at_once
    expired_keys_are_removed_without_being_read
}

crate::for_memory! {
    expired_keys_free_their_memory_without_being_read
    other_clients_are_served_while_200_000_keys_expire
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn a_key_exists_to_the_millisecond_until_its_expiry_time(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for round in 0..5 {
        let before = now();
        client.ask("SET a 1 PX 250");
        let after = now();
        let expires_at = client.ask("PEXPIRETIME a").number();
        assert!((before + 250..=after + 250).contains(&expires_at), "round {round}: {expires_at}");
        loop {
            // The server uses the same clock, and has read it between these two.
            let before = now();
            let value = client.ask("GET a");
            let after = now();
            if value == RespReply::Nil2 {
                assert!(after >= expires_at, "round {round}: gone at {after}, before {expires_at}");
                break;
            }
            assert!(before < expires_at, "round {round}: still there at {before}, after {expires_at}");
        }
    }
}

fn an_expired_key_is_invisible_to_every_command(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.ask("SET b 1");
    // All keys expire at the same time. Each is used by one command only, so no command finds a key that another has
    // removed.
    let commands = [
        ("GET k0", RespReply::Nil2),
        ("EXISTS k1", 0.into()),
        ("DEL k2", 0.into()),
        ("STRLEN k3", 0.into()),
        ("TTL k4", (-2).into()),
        ("PEXPIRETIME k5", (-2).into()),
        ("PERSIST k6", 0.into()),
        ("EXPIRE k7 100", 0.into()),
        ("SET k8 2 XX", RespReply::Nil2),
        ("SETNX k9 2", 1.into()),
        ("INCR k10", 1.into()),
        ("APPEND k11 x", 1.into()),
        ("GETSET k12 2", RespReply::Nil2),
        ("RENAME k13 x", RespReply::Error("ERR no such key".into())),
        ("COPY k14 x", 0.into()),
        ("RENAMENX b k15", 1.into()),
        ("TYPE k16", RespReply::Simple("none".into())),
        ("GETDEL k17", RespReply::Nil2),
        ("SETRANGE k18 1 x", 2.into()),
        ("TOUCH k19", 0.into()),
        ("KEYS k2?", RespReply::Array(vec![])),
    ];
    let expires_at = now() + 200;
    for key in 0..30 {
        assert_eq!(client.ask(&format!("SET k{key} 5 PXAT {expires_at}")).text(), "OK");
    }
    while now() <= expires_at {
        std::thread::yield_now();
    }
    client.send(commands.iter().flat_map(|(line, _)| words(line)).collect::<Vec<u8>>());
    for (line, reply) in commands {
        assert_eq!(client.reply(), reply, "{line}");
    }
}

fn every_command_that_takes_an_expiry_time_sets_it(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let (seconds, at) = (1000, now() / 1000 + 1000);
    for line in [
        format!("SET a 1 EX {seconds}"),
        format!("SET a 1 PX {seconds}000"),
        format!("SET a 1 EXAT {at}"),
        format!("SET a 1 PXAT {at}000"),
        format!("SETEX a {seconds} 1"),
        format!("PSETEX a {seconds}000 1"),
        format!("EXPIRE a {seconds}"),
        format!("PEXPIRE a {seconds}000"),
        format!("EXPIREAT a {at}"),
        format!("PEXPIREAT a {at}000"),
        format!("GETEX a EX {seconds}"),
        format!("GETEX a PX {seconds}000"),
        format!("GETEX a EXAT {at}"),
        format!("GETEX a PXAT {at}000"),
    ] {
        client.ask("SET a 1");
        assert_eq!(client.ask("TTL a").number(), -1);
        assert!(!matches!(client.ask(&line), RespReply::Error(_)), "{line}");
        let millis = client.ask("PEXPIRETIME a").number();
        assert!((at * 1000..at * 1000 + 20_000).contains(&millis), "{line}: {millis}");
        let left = client.ask("PTTL a").number();
        assert!((950_000..=1_000_000).contains(&left), "{line}: {left}");
        assert!((950..=1000).contains(&client.ask("TTL a").number()), "{line}");
        assert!((at..at + 20).contains(&client.ask("EXPIRETIME a").number()), "{line}");
        assert_eq!(client.ask("PERSIST a").number(), 1);
        assert_eq!(client.ask("PTTL a").number(), -1);
        assert_eq!(client.ask("PERSIST a").number(), 0);
    }
}

fn writes_clear_or_keep_the_expiry_time_as_in_redis(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (line, keeps) in [
        ("SET a 2", false),
        ("SET a 2 KEEPTTL", true),
        ("GETSET a 2", false),
        ("MSET a 2", false),
        ("GETEX a PERSIST", false),
        ("INCR a", true),
        ("APPEND a 2", true),
        ("SETRANGE a 0 2", true),
        ("INCRBYFLOAT a 2", true),
        ("GETEX a", true),
        ("SETNX a 2", true),
    ] {
        client.ask("SET a 1 EX 1000");
        client.ask(line);
        assert_eq!(client.ask("TTL a").number() > 0, keeps, "{line}");
    }
    client.ask("SET a 1 EX 1000");
    client.ask("SET b 1");
    client.ask("RENAME a b");
    assert!(client.ask("TTL b").number() > 0, "RENAME keeps the expiry time");
    client.ask("COPY b c");
    assert!(client.ask("TTL c").number() > 0);
}

fn conditions_decide_whether_the_expiry_time_changes(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for (first, line, changed) in [
        ("SET a 1", "EXPIRE a 100 NX", 1),
        ("SET a 1 EX 50", "EXPIRE a 100 NX", 0),
        ("SET a 1", "EXPIRE a 100 XX", 0),
        ("SET a 1 EX 50", "EXPIRE a 100 XX", 1),
        ("SET a 1", "EXPIRE a 100 GT", 0),
        ("SET a 1 EX 50", "EXPIRE a 100 GT", 1),
        ("SET a 1 EX 200", "EXPIRE a 100 GT", 0),
        ("SET a 1", "EXPIRE a 100 LT", 1),
        ("SET a 1 EX 50", "EXPIRE a 100 LT", 0),
        ("SET a 1 EX 200", "PEXPIRE a 100000 LT", 1),
        ("DEL a", "EXPIRE a 100", 0),
    ] {
        client.ask(first);
        assert_eq!(client.ask(line).number(), changed, "{first}, {line}");
        assert_eq!((60..=100).contains(&client.ask("TTL a").number()), changed == 1, "{first}, {line}");
    }
}

fn an_expiry_time_in_the_past_deletes_the_key_at_once(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    for line in ["EXPIRE a 0", "EXPIRE a -5", "PEXPIREAT a 1", "EXPIREAT a 1", "GETEX a PXAT 1", "SET a 2 PXAT 1"] {
        client.ask("SET a 1");
        assert!(!matches!(client.ask(line), RespReply::Error(_)), "{line}");
        assert_eq!(client.ask("EXISTS a").number(), 0, "{line}");
        assert_eq!(client.ask("DBSIZE").number(), 0, "{line}");
    }
}

fn expired_keys_are_removed_without_being_read(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.ask("SET stays 1");
    client.ask("SET later 1 EX 1000");
    for key in 0..300 {
        client.send(words(&format!("SET k{key} v PX 3000")));
    }
    (0..300).for_each(|_| client.expect("+OK\r\n"));
    eventually("they are removed", || client.info("expired_keys") == 300);
    assert_eq!(client.ask("DBSIZE").number(), 2);
    assert_eq!(client.ask("MGET stays later"), RespReply::Array(vec!["1".into(), "1".into()]));
}

fn expired_keys_free_their_memory_without_being_read(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    client.ask("SET stays 1");
    client.ask("SET later 1 EX 1000");
    let (used, expired) = (client.info("used_memory"), client.info("expired_keys"));
    let expires_at = now() + 300;
    let value = "v".repeat(1000);
    for key in 0..500 {
        client.send(request(&["SET", &format!("k{key}"), &value, "PXAT", &expires_at.to_string()]));
    }
    (0..500).for_each(|_| client.expect("+OK\r\n"));
    if now() < expires_at {
        assert!(client.info("used_memory") > used + 500 * 1000);
    }
    eventually("they are removed", || client.ask("DBSIZE").number() == 2);
    // Usually within a second; a busy machine may take longer.
    assert!(now() < expires_at + 5000, "removed {} ms after they had expired", now() - expires_at);
    // Hash tables keep some of their capacity.
    assert!(client.info("used_memory") < used + 50_000, "{} bytes, then {}", used, client.info("used_memory"));
    assert_eq!(client.info("expired_keys") - expired, 500);
    assert_eq!(client.ask("MGET stays later"), RespReply::Array(vec!["1".into(), "1".into()]));
}

fn other_clients_are_served_while_200_000_keys_expire(engine: TestEngine) {
    const KEYS: usize = 200_000;
    let server = engine.serve();
    let mut client = server.connect();
    let mut other = server.connect();
    client.ask("SET plain 1");
    let expires_at = now() + 60_000;
    let mut sending = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for part in 0..KEYS / 1000 {
            let keys = part * 1000..(part + 1) * 1000;
            let requests: Vec<u8> = keys.flat_map(|n| words(&format!("SET key:{n} x PXAT {expires_at}"))).collect();
            std::io::Write::write_all(&mut sending, &requests).unwrap();
        }
    });
    (0..KEYS / 1000).for_each(|_| client.expect("+OK\r\n".repeat(1000)));
    sender.join().unwrap();
    assert_eq!(client.ask("DBSIZE").number(), KEYS as i64 + 1);
    // All keys expire at the same time.
    let at = now() + 400;
    for part in 0..KEYS / 1000 {
        let keys = part * 1000..(part + 1) * 1000;
        client.send(keys.flat_map(|n| words(&format!("PEXPIREAT key:{n} {at}"))).collect::<Vec<u8>>());
        client.expect(":1\r\n".repeat(1000));
    }
    let mut slowest = std::time::Duration::ZERO;
    loop {
        let start = std::time::Instant::now();
        assert_eq!(other.ask("PING").text(), "PONG");
        assert_eq!(other.ask("GET plain"), "1".into());
        slowest = slowest.max(start.elapsed());
        if client.ask("DBSIZE").number() == 1 {
            break;
        }
        assert!(now() < at + 20_000, "they are removed");
    }
    println!("the slowest PING and GET took {slowest:?}");
    assert!(slowest < std::time::Duration::from_secs(2), "{slowest:?}");
}
