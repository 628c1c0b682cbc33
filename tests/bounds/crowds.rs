//! Many clients: connected at once, connecting at the same instant, and one after the other.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

use crate::alone;
use crate::support::daemon::Daemon;
use crate::support::machine::{at_most, skip};
use crate::support::{Client, eventually};

/// Raises the limit on descriptors and returns whether it is above `needed`. This process holds the clients' ends of all
/// connections, so it needs as many descriptors as the server.
#[must_use]
pub(crate) fn raise_descriptors(needed: u64) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let has_enough = maximum.is_none_or(|limit| limit > needed);
    if !has_enough {
        skip(&format!("a test with {needed} descriptors"), "raise the hard limit on them (ulimit -Hn)");
    }
    has_enough
}

/// The `n`th address of the loopback network, so that ports do not run out.
pub(crate) fn source(n: u32) -> SocketAddr {
    let [_, _, high, low] = (n / 1000).to_be_bytes();
    SocketAddr::from(([127, 2, high, low + 1], 0))
}

fn connect_from(n: u32, addr: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&source(n).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    Client::from_stream(socket.into())
}

#[test]
fn ten_thousand_clients_are_served_at_once_in_15_kb_each_and_drained_in_a_second() {
    const CLIENTS: u32 = 10_000;
    let _alone = alone();
    if !raise_descriptors(u64::from(CLIENTS) + 200) {
        return;
    }
    let mut daemon = Daemon::start(&["-m", "10000"]);
    connect_from(0, daemon.addr).talk("warm up");
    let before = daemon.status("VmRSS");

    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| connect_from(n, daemon.addr)).collect();
    for round in ["first", "second"] {
        for client in &mut clients {
            client.send(round);
        }
        for client in &mut clients {
            client.expect(round);
        }
    }
    assert!(daemon.status("Threads") >= CLIENTS as usize, "each has a thread of its own");
    let bytes = (daemon.status("VmRSS") - before) * 1024 / CLIENTS as usize;
    println!("{bytes} bytes resident for each idle client");
    assert!(bytes <= 15_000, "{bytes} bytes for each idle client");

    let start = Instant::now();
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.wait();
    let took = start.elapsed();
    println!("ended after {took:?}");
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("drained 10000, cut 0"), "{log}");
    assert!(took < at_most(Duration::from_secs(1)), "ended after {took:?}");
}

/// Connects `count` clients at the same instant. Each sends a byte as soon as it can. Returns the time until the last one
/// has its echo.
fn burst(addr: SocketAddr, count: u32) -> Duration {
    let sockets: Vec<Socket> = (0..count)
        .map(|n| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&source(n).into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let start = Instant::now();
    for socket in &sockets {
        let _ = socket.connect(&addr.into());
    }
    let mut waiting: Vec<(TcpStream, PollFlags)> = sockets.into_iter().map(|s| (s.into(), PollFlags::OUT)).collect();
    while !waiting.is_empty() {
        assert!(start.elapsed() < crate::support::PATIENCE, "{} were not answered", waiting.len());
        let mut fds: Vec<PollFd<'_>> = waiting.iter().map(|(stream, flags)| PollFd::new(stream, *flags)).collect();
        poll(&mut fds, None).unwrap();
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        waiting.retain_mut(|(stream, flags)| {
            if !ready.next().unwrap() {
                return true;
            }
            if *flags == PollFlags::OUT {
                stream.write_all(b"x").unwrap();
                *flags = PollFlags::IN;
                return true;
            }
            let mut answer = [0; 1];
            match stream.read(&mut answer) {
                Ok(1) => {
                    assert_eq!(&answer, b"x");
                    false
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => true,
                other => panic!("{other:?} instead of an answer"),
            }
        });
    }
    start.elapsed()
}

#[test]
fn two_thousand_simultaneous_clients_are_answered_in_half_a_second() {
    let _alone = alone();
    if !raise_descriptors(2_200) {
        return;
    }
    let daemon = Daemon::start(&["-m", "4000"]);
    // A lost handshake costs at least a second.
    let mut times: Vec<Duration> = (0..5).map(|_| burst(daemon.addr, 2_000)).collect();
    times.sort();
    println!("answered after {times:?}");
    assert!(times[times.len() / 2] < at_most(Duration::from_millis(500)), "{times:?}");
}

/// Runs one client. `n` selects how the connection ends.
fn run_short_client(n: u32, addr: SocketAddr) {
    let mut client = connect_from(n, addr);
    let reset = |client: &Client| SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    match n % 10 {
        0 => assert_eq!(client.talk("ECHO a\n"), "a\n"),
        1 => {
            client.send("QUIT\n");
            assert_eq!(client.rest(), "BYE\n");
        }
        2 => reset(&client),
        3 => {
            client.send("ECHO a\nECHO b\n");
            reset(&client);
        }
        4 => client.send("ECHO unread\n"),
        5 => assert!(client.talk("half a li").starts_with("ERROR")),
        6 => {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(client.rest().starts_with("HTTP/1.1 400 "));
        }
        7 => {
            client.try_send(vec![b'x'; 2_000]);
            assert!(client.rest().starts_with("ERROR"));
        }
        8 => {
            client.send("HELP\nHELP\nHELP\n");
            client.line();
        }
        _ => {}
    }
}

fn run_short_clients(count: u32, addr: SocketAddr) {
    let crowd =
        (0..4).map(|part| thread::spawn(move || (part..count).step_by(4).for_each(|n| run_short_client(n, addr))));
    crowd.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_hundred_thousand_clients_leak_no_memory_threads_or_descriptors() {
    let _alone = alone();
    let daemon = Daemon::start(&["-qq", "--handler", "line", "--max-line", "1000"]);
    // Parked threads end after a while. The first thousands of clients fill the allocator's pools.
    let resources_after = |threads: usize| {
        eventually(format!("{threads} threads are left"), || daemon.status("Threads") <= threads);
        (daemon.descriptors(), daemon.status("VmRSS"))
    };
    let threads = daemon.status("Threads");
    run_short_clients(20_000, daemon.addr);
    let before = resources_after(threads);
    run_short_clients(100_000, daemon.addr);
    let after = resources_after(threads);
    println!("(descriptors, KiB): {before:?}, then {after:?}");
    assert_eq!(after.0, before.0, "descriptors");
    // 20 bytes per client: less than any object that could leak, and more than the allocator's fluctuation.
    assert!(after.1 < before.1 + 2000, "{} KiB, then {} KiB", before.1, after.1);
    assert_eq!(daemon.connect().talk("ECHO a\n"), "a\n");
}

#[test]
fn ten_thousand_resets_during_a_reply_log_nothing_above_debug() {
    let _alone = alone();
    let mut daemon = Daemon::start(&["--handler", "line"]);
    let request = "ECHO 0123456789abcdef0123456789abcdef\n".repeat(1000);
    let crowd = (0..4).map(|part: u32| {
        let (addr, request) = (daemon.addr, request.clone());
        thread::spawn(move || {
            for n in (part..10_000).step_by(4) {
                let mut client = connect_from(n, addr);
                client.send(&request);
                client.expect("0");
                SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        })
    });
    crowd.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("in all 10000 served, 0 refused, 0 panicked"), "{log}");
    assert_eq!(log.lines().count(), 3, "nothing but the start, the drain and the summary: {log}");
}
