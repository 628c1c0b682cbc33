//! Many clients: at once, at the same instant, and one after the other.

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

/// This process holds the clients' ends, so it needs as many descriptors as the server. Whether it may have them.
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
    Client::of(socket.into())
}

#[test]
fn ten_thousand_clients_are_served_at_once_in_15_kb_each_and_sent_home_in_a_second() {
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

/// Connects all at the same instant, sends a byte each as soon as that is possible, and waits until the last has it
/// back.
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
fn two_thousand_clients_of_the_same_instant_are_answered_in_half_a_second() {
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

/// One client of each kind of ending.
fn come_and_go(n: u32, addr: SocketAddr) {
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

fn come_and_go_all(count: u32, addr: SocketAddr) {
    let crowd = (0..4).map(|part| thread::spawn(move || (part..count).step_by(4).for_each(|n| come_and_go(n, addr))));
    crowd.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn nothing_is_left_of_a_hundred_thousand_clients() {
    let _alone = alone();
    let daemon = Daemon::start(&["-qq", "--handler", "line", "--max-line", "1000"]);
    // Parked threads end after a while; the first thousands fill the allocator's pools.
    let settled = |threads: usize| {
        eventually(format!("{threads} threads are left"), || daemon.status("Threads") <= threads);
        (daemon.descriptors(), daemon.status("VmRSS"))
    };
    let threads = daemon.status("Threads");
    come_and_go_all(20_000, daemon.addr);
    let before = settled(threads);
    come_and_go_all(100_000, daemon.addr);
    let after = settled(threads);
    println!("(descriptors, KiB): {before:?}, then {after:?}");
    assert_eq!(after.0, before.0, "descriptors");
    // 20 bytes for each client: less than anything that could be forgotten, and more than the allocator's moods.
    assert!(after.1 < before.1 + 2000, "{} KiB, then {} KiB", before.1, after.1);
    assert_eq!(daemon.connect().talk("ECHO a\n"), "a\n");
}

#[test]
fn ten_thousand_resets_in_the_middle_of_a_reply_are_nothing_above_debug() {
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
