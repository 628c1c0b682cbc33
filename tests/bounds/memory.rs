//! Memory is bounded by what is configured, never by what a client does.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::alone;
use crate::support::daemon::Daemon;
use crate::support::{Client, eventually};

/// How far the program's memory may go up and down by itself, in KiB.
const NOISE: usize = 512;

fn warmed_up(arguments: &[&str]) -> (Daemon, usize) {
    let daemon = Daemon::start(arguments);
    daemon.connect().talk("ECHO warm up\n");
    // The most that was ever resident.
    let before = daemon.status("VmHWM");
    (daemon, before)
}

/// Sends for as long as it is let, up to `limit` bytes; how many went.
fn send_until_stopped(client: &Client, chunk: &[u8], limit: usize) -> usize {
    let mut sent = 0;
    while sent < limit && (&client.stream).write_all(chunk).is_ok() {
        sent += chunk.len();
    }
    sent
}

#[test]
fn a_line_without_end_is_cut_off_with_a_word_and_costs_no_memory() {
    let _alone = alone();
    let (daemon, before) = warmed_up(&["--handler", "line"]);
    let mut client = daemon.connect();
    let mut reader = Client::of(client.stream.try_clone().unwrap());
    let reply = thread::spawn(move || reader.line());
    let sent = send_until_stopped(&client, &[b'x'; 1 << 20], 1 << 30);
    assert!(sent < 1 << 30, "the server has taken a line of 1 GiB");
    assert_eq!(reply.join().unwrap(), "ERROR the request is longer than 65536 bytes, closing");
    assert!(client.stream.read(&mut [0]).is_err() || client.stream.read(&mut [0]).unwrap() == 0);
    let grown = daemon.status("VmHWM") - before;
    println!("{sent} bytes sent, {grown} KiB grown");
    assert!(grown < NOISE, "{grown} KiB");
}

#[test]
fn requests_without_end_whose_replies_are_never_read_cost_no_memory() {
    let _alone = alone();
    let (daemon, before) = warmed_up(&["--handler", "line", "--write-timeout", "1s"]);
    let client = daemon.connect();
    let sent = send_until_stopped(&client, &b"ECHO 0123456789\n".repeat(4096), 100 << 20);
    assert!(sent < 100 << 20, "the server has taken 100 MiB of requests although nobody reads the replies");
    let grown = daemon.status("VmHWM") - before;
    println!("{sent} bytes sent, {grown} KiB grown");
    assert!(grown < NOISE, "{grown} KiB");
    assert_eq!(daemon.connect().talk("ECHO a\n"), "a\n");
}

#[test]
fn clients_that_never_read_cost_less_than_64_kib_each_and_are_gone_within_the_write_timeout() {
    const CLIENTS: usize = 100;
    let _alone = alone();
    let (daemon, before) = warmed_up(&["--write-timeout", "2s"]);
    let threads = daemon.status("Threads");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    let senders: Vec<_> = clients
        .iter()
        .map(|client| {
            let client = Client::of(client.stream.try_clone().unwrap());
            thread::spawn(move || send_until_stopped(&client, &[b'x'; 1 << 16], 100 << 20))
        })
        .collect();
    for sender in senders {
        assert!(sender.join().unwrap() < 100 << 20);
    }
    let each = (daemon.status("VmHWM") - before) / CLIENTS;
    println!("{each} KiB for each");
    assert!(each < 64, "{each} KiB for each");
    eventually("their threads are free, and end", || daemon.status("Threads") <= threads);
}

#[test]
fn a_client_that_was_busy_costs_no_more_than_any_other_once_it_is_idle() {
    const CLIENTS: usize = 8;
    let _alone = alone();
    let (daemon, _) = warmed_up(&[]);
    let idle = daemon.status("VmRSS");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    for client in &clients {
        let sender = Client::of(client.stream.try_clone().unwrap());
        let sender = thread::spawn(move || send_until_stopped(&sender, &[b'x'; 1 << 20], 300 << 20));
        std::io::copy(&mut (&client.stream).take(300 << 20), &mut std::io::sink()).unwrap();
        assert_eq!(sender.join().unwrap(), 300 << 20);
    }
    assert!(daemon.status("VmHWM") > idle + 1024, "the flow was worth a large buffer");
    // Each had a buffer of 1 MiB. The allocator keeps some of what it gets back, per arena and not per client.
    eventually("the buffers are given back", || daemon.status("VmRSS") < idle + CLIENTS * 640);
    for mut client in clients {
        client.send("still here");
        client.expect("still here");
        client.stream.shutdown(Shutdown::Both).unwrap();
    }
}

#[test]
fn a_line_that_is_not_complete_costs_no_more_than_its_limit() {
    const CLIENTS: usize = 50;
    let _alone = alone();
    let (daemon, before) = warmed_up(&["--handler", "line"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        client.send(vec![b'x'; 65_000]);
    }
    for client in &mut clients {
        client.send("\n");
        assert!(client.line().starts_with("ERROR unknown command"));
    }
    let each = (daemon.status("VmHWM") - before) / CLIENTS;
    println!("{each} KiB for each");
    // The line, what it grew from, and the stack.
    assert!(each < 64 + 32 + 16, "{each} KiB for each");
}

#[test]
fn a_line_whose_reply_is_not_read_costs_the_line_and_its_reply() {
    const CLIENTS: usize = 12;
    let _alone = alone();
    let (daemon, _) = warmed_up(&["--handler", "line", "--write-timeout", "1h"]);
    // The greatest reply to a line there is: each two bytes become six.
    let line = format!("UPPER {}\n", "\u{390}".repeat(32_000));
    let before = daemon.status("VmRSS");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        // Until the kernel's buffers are full, and the server waits.
        client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        send_until_stopped(client, line.as_bytes(), 100 << 20);
    }
    let each = (daemon.status("VmRSS") - before) / CLIENTS;
    println!("{each} KiB for each");
    // A line of 64 KiB, its reply of three times that, and the stack.
    assert!(each < 64 + 192 + 48, "{each} KiB for each");
}

#[test]
fn a_limit_that_is_large_reserves_nothing() {
    let _alone = alone();
    let daemon = Daemon::start(&["--handler", "line", "--max-line", "1GiB"]);
    let mut clients: Vec<Client> = (0..50).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        client.send("ECHO warm up\n");
        client.expect("warm up\n");
    }
    // Address space, whether it is touched or not.
    let before = daemon.status("VmSize");
    for client in &mut clients {
        client.send("ECHO the limit is large, ");
    }
    daemon.connect().talk("ECHO a\n");
    for client in &mut clients {
        client.send("and this is not\n");
        client.expect("the limit is large, and this is not\n");
    }
    let grown = daemon.status("VmSize") - before;
    assert!(grown < 4 * 1024, "{grown} KiB");
}
