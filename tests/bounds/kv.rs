//! The memory of the key-value store depends on its configuration, not on the behaviour of its clients.

use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use crate::support::daemon::{Daemon, acceptd};
use crate::support::kv::{TestEngine, bulk, request, words};
use crate::support::{Client, PATIENCE, eventually};

crate::for_each_engine! {
    endless_requests_with_unread_replies_take_no_memory
    a_thousand_unread_large_values_take_the_memory_of_one_reply
    clients_that_never_read_take_a_batch_of_replies_each_and_end_at_the_write_timeout
    announced_lengths_that_are_never_sent_take_no_memory
    a_client_that_was_busy_frees_its_memory_once_it_is_idle
    a_steady_reader_gets_all_replies_however_long_they_take
}

/// How much the memory of the program may vary without a cause, in KiB.
const NOISE: usize = 2048;

/// The command line of the program with a store of this engine.
fn command(engine: TestEngine, more: &[&str]) -> Command {
    let mut command = acceptd(&["--handler", "kv"]);
    command.args((engine.arguments)()).args(more);
    command
}

fn start(engine: TestEngine, more: &[&str]) -> Daemon {
    Daemon::spawn(command(engine, more).arg("127.0.0.1:0"))
}

/// Sets a value and reads it once, so that later measurements do not include the memory for that.
fn set(daemon: &Daemon, key: &str, length: usize) {
    let value = vec![b'v'; length];
    let mut client = daemon.connect();
    client.send(request(&[b"SET", key.as_bytes(), &value]));
    client.expect("+OK\r\n");
    client.send(request(&["GET", key]));
    client.expect(bulk(&value));
}

/// Sends until the server stops reading or `limit` bytes are sent. Returns the number of bytes.
fn send_until_stopped(client: &Client, chunk: &[u8], limit: usize) -> usize {
    let mut sent = 0;
    while sent < limit && (&client.stream).write_all(chunk).is_ok() {
        sent += chunk.len();
    }
    sent
}

fn endless_requests_with_unread_replies_take_no_memory(engine: TestEngine) {
    let _alone = alone();
    for (what, requests) in [
        ("in RESP", words("GET k").repeat(4096)),
        ("in text", b"GET k\n".repeat(4096)),
        ("writes", words("INCR n").repeat(4096)),
        ("errors", words("NONSENSE a b c").repeat(4096)),
        ("lists", words("MGET k k k k k k k k").repeat(4096)),
    ] {
        let daemon = start(engine, &["--write-timeout", "500ms"]);
        set(&daemon, "k", 1024);
        let before = daemon.status("VmHWM");
        let client = daemon.connect();
        let sent = send_until_stopped(&client, &requests, 100 << 20);
        assert!(
            sent < 100 << 20,
            "{what}: the server has read 100 MiB of requests although the client reads no replies"
        );
        let grown = daemon.status("VmHWM") - before;
        println!("{what}: {sent} bytes sent, {grown} KiB grown");
        assert!(grown < NOISE, "{what}: {grown} KiB");
        assert_eq!(daemon.connect().talk("GET nope\n"), "NOT_FOUND\n");
    }
}

fn a_thousand_unread_large_values_take_the_memory_of_one_reply(engine: TestEngine) {
    const LENGTH: usize = 8 << 20;
    let _alone = alone();
    let daemon = start(engine, &["--write-timeout", "500ms"]);
    set(&daemon, "k", LENGTH);
    let before = daemon.status("VmHWM");
    let mut client = daemon.connect();
    client.send(words("GET k").repeat(1000));
    // The start of the reply shows that the server has begun to reply.
    client.expect(format!("${LENGTH}\r\n"));
    eventually("it is cut", || is_only_client(&daemon));
    let grown = daemon.status("VmHWM") - before;
    println!("{grown} KiB grown");
    assert!(grown < LENGTH / 1024 + NOISE, "{grown} KiB for one reply of {} KiB", LENGTH / 1024);
    assert_eq!(daemon.connect().talk("GET nope\n"), "NOT_FOUND\n");
}

/// Whether there is no client besides the one that asks.
fn is_only_client(daemon: &Daemon) -> bool {
    daemon.connect().ask("CLIENT LIST").text().lines().count() == 1
}

fn clients_that_never_read_take_a_batch_of_replies_each_and_end_at_the_write_timeout(engine: TestEngine) {
    const CLIENTS: usize = 50;
    let _alone = alone();
    let daemon = start(engine, &["--write-timeout", "1s"]);
    set(&daemon, "k", 1024);
    let before = daemon.status("VmHWM");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    let requests = words("GET k").repeat(1024);
    let senders: Vec<_> = clients
        .iter()
        .map(|client| {
            let client = Client::from_stream(client.stream.try_clone().unwrap());
            let requests = requests.clone();
            thread::spawn(move || send_until_stopped(&client, &requests, 100 << 20))
        })
        .collect();
    for sender in senders {
        assert!(sender.join().unwrap() < 100 << 20);
    }
    let each = (daemon.status("VmHWM") - before) / CLIENTS;
    println!("{each} KiB for each");
    // The limit is for an optimized build. Without optimization, stack frames are larger.
    let bound = if cfg!(debug_assertions) { 96 } else { 64 };
    assert!(each < bound, "{each} KiB for each");
    eventually("they are cut", || is_only_client(&daemon));
}

fn announced_lengths_that_are_never_sent_take_no_memory(engine: TestEngine) {
    const CLIENTS: usize = 50;
    let _alone = alone();
    let daemon = start(engine, &["--max-value", "1GiB"]);
    set(&daemon, "k", 1024);
    // VmSize counts address space, even if it is never touched.
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("PING").text(), "PONG"));
    let before = daemon.status("VmSize");
    for client in &mut clients {
        client.send("*1048576\r\n$1073741824\r\nx");
    }
    assert_eq!(daemon.connect().talk("GET nope\n"), "NOT_FOUND\n");
    let grown = daemon.status("VmSize") - before;
    println!("{grown} KiB");
    assert!(grown < 4 * 1024, "{grown} KiB");
}

fn a_client_that_was_busy_frees_its_memory_once_it_is_idle(engine: TestEngine) {
    const CLIENTS: usize = 16;
    const LENGTH: usize = 4 << 20;
    let _alone = alone();
    // By default, each of glibc's arenas keeps up to twice the largest block that was ever freed, here 16 MiB. That
    // would hide what this test measures.
    let tunables = "glibc.malloc.trim_threshold=131072:glibc.malloc.mmap_threshold=131072";
    let daemon = Daemon::spawn(command(engine, &[]).arg("127.0.0.1:0").env("GLIBC_TUNABLES", tunables));
    set(&daemon, "k", LENGTH);
    let idle = daemon.status("VmRSS");
    let value = vec![b'w'; LENGTH];
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        client.send(request(&[b"SET", &b"k"[..], &value]));
        client.expect("+OK\r\n");
        client.send(words("GET k"));
        client.expect(bulk(&value));
    }
    let mut resident = 0;
    eventually("the buffers are freed", || {
        resident = daemon.status("VmRSS");
        resident < idle + CLIENTS * 256
    });
    println!("{} KiB more than before", resident.saturating_sub(idle));
    for client in &mut clients {
        assert_eq!(client.ask("PING").text(), "PONG");
    }
}

fn a_steady_reader_gets_all_replies_however_long_they_take(engine: TestEngine) {
    const LENGTH: usize = 1 << 20;
    const COUNT: usize = 60;
    let _alone = alone();
    let timeout = Duration::from_millis(400);
    let daemon = start(engine, &["--write-timeout", "400ms"]);
    set(&daemon, "k", LENGTH);
    let mut client = daemon.connect();
    client.send(words("GET k").repeat(COUNT));
    // Reading all replies takes several times as long as the write timeout.
    let (start, pause) = (Instant::now(), timeout / 20);
    let mut reply = vec![0; bulk(vec![b'v'; LENGTH]).len()];
    for n in 0..COUNT {
        (&client.stream).read_exact(&mut reply).unwrap_or_else(|error| panic!("{error} after {n} of {COUNT} replies"));
        let next = start + pause * (n as u32 + 1);
        while Instant::now() < next {
            thread::park_timeout(next - Instant::now());
        }
    }
    assert!(start.elapsed() > timeout * 2 && start.elapsed() < PATIENCE);
    assert_eq!(client.ask("PING").text(), "PONG");
}
