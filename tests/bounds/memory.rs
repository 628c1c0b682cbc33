//! The limits bound the memory, whatever clients do.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::alone;
use crate::support::daemon::Daemon;
use crate::support::{Client, eventually};

/// How much the program's memory varies without any leak, in KiB.
const NOISE: usize = 512;

/// A program that has served a client, and its peak resident memory in KiB.
fn warmed_up(arguments: &[&str]) -> (Daemon, usize) {
    let daemon = Daemon::start(arguments);
    daemon.connect().talk("ECHO warm up\n");
    let before = daemon.status("VmHWM");
    (daemon, before)
}

/// Sends until a write fails or `limit` bytes are sent. Returns how many bytes were sent.
fn send_until_stopped(client: &Client, chunk: &[u8], limit: usize) -> usize {
    let mut sent = 0;
    while sent < limit && (&client.stream).write_all(chunk).is_ok() {
        sent += chunk.len();
    }
    sent
}

#[test]
fn an_endless_line_is_rejected_with_an_error_and_uses_no_memory() {
    let _alone = alone();
    let (daemon, before) = warmed_up(&["--handler", "line"]);
    let mut client = daemon.connect();
    let mut reader = Client::from_stream(client.stream.try_clone().unwrap());
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
fn endless_requests_with_unread_replies_use_no_memory() {
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
fn clients_that_never_read_use_less_than_64_kib_each_and_are_cut_by_the_write_timeout() {
    const CLIENTS: usize = 100;
    let _alone = alone();
    let (daemon, before) = warmed_up(&["--write-timeout", "2s"]);
    let threads = daemon.status("Threads");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    let senders: Vec<_> = clients
        .iter()
        .map(|client| {
            let client = Client::from_stream(client.stream.try_clone().unwrap());
            thread::spawn(move || send_until_stopped(&client, &[b'x'; 1 << 16], 100 << 20))
        })
        .collect();
    for sender in senders {
        assert!(sender.join().unwrap() < 100 << 20);
    }
    let each = (daemon.status("VmHWM") - before) / CLIENTS;
    println!("{each} KiB for each");
    assert!(each < 64, "{each} KiB for each");
    eventually("their threads have ended", || daemon.status("Threads") <= threads);
}

#[test]
fn the_large_buffer_of_a_busy_client_is_freed_once_it_is_idle() {
    const CLIENTS: usize = 8;
    let _alone = alone();
    let (daemon, _) = warmed_up(&[]);
    let idle = daemon.status("VmRSS");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    for client in &clients {
        let sender = Client::from_stream(client.stream.try_clone().unwrap());
        let sender = thread::spawn(move || send_until_stopped(&sender, &[b'x'; 1 << 20], 300 << 20));
        std::io::copy(&mut (&client.stream).take(300 << 20), &mut std::io::sink()).unwrap();
        assert_eq!(sender.join().unwrap(), 300 << 20);
    }
    assert!(daemon.status("VmHWM") > idle + 1024, "the server used large buffers");
    // Each client had a buffer of 1 MiB. The allocator keeps some freed memory per arena, not per client.
    eventually("the buffers are freed", || daemon.status("VmRSS") < idle + CLIENTS * 640);
    for mut client in clients {
        client.send("still here");
        client.expect("still here");
        client.stream.shutdown(Shutdown::Both).unwrap();
    }
}

#[test]
fn an_incomplete_line_uses_no_more_memory_than_its_limit() {
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
    // The line's buffer, the smaller buffer that it grew from, and the stack.
    assert!(each < 64 + 32 + 16, "{each} KiB for each");
}

#[test]
fn a_line_with_an_unread_reply_uses_the_memory_of_the_line_and_its_reply() {
    const CLIENTS: usize = 12;
    let _alone = alone();
    let (daemon, _) = warmed_up(&["--handler", "line", "--write-timeout", "1h"]);
    // The largest possible reply to a line: every two bytes become six.
    let line = format!("UPPER {}\n", "\u{390}".repeat(32_000));
    let before = daemon.status("VmRSS");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        // The write times out when the kernel's buffers are full and the server waits.
        client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        send_until_stopped(client, line.as_bytes(), 100 << 20);
    }
    let each = (daemon.status("VmRSS") - before) / CLIENTS;
    println!("{each} KiB for each");
    // A line of 64 KiB, its reply of three times that, and the stack.
    assert!(each < 64 + 192 + 48, "{each} KiB for each");
}

#[test]
fn a_large_line_limit_reserves_no_memory() {
    let _alone = alone();
    let daemon = Daemon::start(&["--handler", "line", "--max-line", "1GiB"]);
    let mut clients: Vec<Client> = (0..50).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        client.send("ECHO warm up\n");
        client.expect("warm up\n");
    }
    // Reserved address space, touched or not.
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
