//! Several clients that use the same keys at the same time.

use std::collections::BTreeSet;
use std::thread;

use crate::support::Client;
use crate::support::kv::{RespReply, TestEngine, words};

crate::for_each_engine! {
    no_increment_is_lost_and_none_is_counted_twice
    keys_that_are_set_together_are_seen_together
    of_several_clients_only_one_succeeds_with_setnx
    the_order_of_keys_depends_on_a_random_seed
}

fn no_increment_is_lost_and_none_is_counted_twice(engine: TestEngine) {
    const CLIENTS: usize = 8;
    const EACH: usize = 2000;
    let server = engine.serve();
    let addr = server.addr;
    let clients = (0..CLIENTS).map(|n| {
        thread::spawn(move || {
            let mut client = Client::connect(addr);
            let mut seen = Vec::new();
            // Half of the clients send one request at a time, the others pipelines of 20.
            let pipeline = [1, 20][n % 2];
            for _ in 0..EACH / pipeline {
                client.send(words("INCR n").repeat(pipeline));
                seen.extend((0..pipeline).map(|_| client.reply().number()));
            }
            assert!(seen.is_sorted(), "each client sees the number grow");
            seen
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut seen: Vec<i64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..=(CLIENTS * EACH) as i64), "each number once");
    assert_eq!(server.connect().ask("GET n"), (CLIENTS * EACH).to_string().as_str().into());
}

fn keys_that_are_set_together_are_seen_together(engine: TestEngine) {
    const ROUNDS: usize = 2000;
    let server = engine.serve();
    let addr = server.addr;
    // So many keys that they are not all in the same shard.
    let keys: Vec<String> = (0..8).map(|n| format!("key:{n}")).collect();
    let set = |value: String| {
        words(&format!("MSET {}", keys.iter().map(|key| format!("{key} {value}")).collect::<Vec<_>>().join(" ")))
    };
    let mut backwards = keys.clone();
    backwards.reverse();
    let readers: Vec<_> = [keys.join(" "), backwards.join(" ")]
        .into_iter()
        .map(|keys| {
            thread::spawn(move || {
                let (mut reader, mut changes, mut last) = (Client::connect(addr), 0, RespReply::Nil2);
                loop {
                    let reply = reader.ask(&format!("MGET {keys}"));
                    let first = &reply.elements()[0];
                    assert!(reply.elements().iter().all(|other| other == first), "torn: {reply:?}");
                    if *first == "end".into() {
                        return changes;
                    }
                    changes += usize::from(*first != last);
                    last = first.clone();
                }
            })
        })
        .collect();
    let mut writer = server.connect();
    for round in 0..ROUNDS {
        writer.send(set(round.to_string()));
        writer.expect("+OK\r\n");
    }
    writer.send(set("end".to_owned()));
    let changes: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(changes > 10, "the readers saw only {changes} changes, so they did not read during the writes");
}

fn of_several_clients_only_one_succeeds_with_setnx(engine: TestEngine) {
    let server = engine.serve();
    let addr = server.addr;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(addr);
                (0..300).map(|key| client.ask(&format!("SETNX lock:{key} 1")).number()).sum::<i64>()
            })
        })
        .collect();
    assert_eq!(clients.into_iter().map(|client| client.join().unwrap()).sum::<i64>(), 300);
}

/// All keys, in the order in which SCAN shows them.
fn scanned(client: &mut Client) -> Vec<RespReply> {
    let reply = client.ask("SCAN 0 COUNT 1000");
    assert_eq!(reply.elements()[0], "0".into());
    reply.elements()[1].elements().to_vec()
}

fn the_order_of_keys_depends_on_a_random_seed(engine: TestEngine) {
    let fill = |client: &mut Client| {
        for key in 0..100 {
            client.ask(&format!("SET key:{key} x"));
        }
        scanned(client)
    };
    let (one, other) = (engine.serve(), engine.serve());
    let (mut one, mut other) = (one.connect(), other.connect());
    let (first, second) = (fill(&mut one), fill(&mut other));
    assert_eq!(first, scanned(&mut one), "the order of a server stays the same");
    assert_ne!(first, second, "another server has another order, from another seed");
    let sorted = |keys: Vec<RespReply>| keys.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(sorted(first), sorted(second));
}
