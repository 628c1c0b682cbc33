//! How the program reacts to signals, during startup, while serving and while draining.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::daemon::{Daemon, acceptd, status};
use crate::support::{Client, eventually};

#[test]
fn sigint_sigterm_and_sighup_each_start_a_drain() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let daemon = Daemon::start(&[]);
        let mut client = daemon.connect();
        client.send("x");
        client.expect("x");
        let (status, log) = daemon.end(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(log.contains("draining 1 connection, at most 5 s") && log.contains("drained 1, cut 0"), "{log}");
        assert_eq!(client.rest(), "");
    }
}

/// A client that sends much and never reads, so that its thread in the server is stuck in a write.
fn stuck_client(daemon: &Daemon) -> (Client, JoinHandle<bool>) {
    let client = daemon.connect();
    let mut sending = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut sending, &vec![b'x'; 64 << 20]).is_err());
    // The client is stuck once the server reads no more from it.
    let mut before = usize::MAX;
    eventually("the client is stuck", || {
        let queued = rustix::io::ioctl_fionread(&client.stream).unwrap() as usize;
        std::mem::replace(&mut before, queued) == queued && queued > 1 << 16
    });
    (client, sender)
}

#[test]
fn a_second_signal_cuts_only_if_it_comes_a_second_later() {
    for (first, second) in [(Signal::TERM, Signal::HUP), (Signal::INT, Signal::INT)] {
        let mut daemon = Daemon::start(&["--drain-timeout", "10m", "--write-timeout", "10m"]);
        let (_client, sender) = stuck_client(&daemon);
        let start = Instant::now();
        daemon.signal(first);
        eventually("the port is closed", || TcpStream::connect(daemon.addr).is_err());
        eventually("a signal cuts", || {
            daemon.signal(second);
            daemon.has_ended()
        });
        assert!(start.elapsed() >= Duration::from_secs(1), "cut after {:?}", start.elapsed());
        let (status, log) = daemon.wait();
        assert_eq!(status.code(), Some(130), "{log}");
        assert!(log.contains("cutting 1 connection") && log.contains(", cut 1"), "{log}");
        assert!(sender.join().unwrap());
    }
}

#[test]
fn two_signals_in_quick_succession_start_one_drain() {
    let daemon = Daemon::start(&["--drain-timeout", "300ms", "--write-timeout", "10m"]);
    let (_client, sender) = stuck_client(&daemon);
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.end(Signal::HUP);
    assert_eq!(status.code(), Some(0), "cut by the drain deadline, and not by the second signal: {log}");
    assert!(log.contains("drained 0, cut 1"), "{log}");
    assert!(sender.join().unwrap());
}

#[test]
fn a_signal_that_was_ignored_before_startup_stays_ignored() {
    let program = acceptd(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$0\" 127.0.0.1:0"]).arg(program.get_program());
    let daemon = Daemon::spawn(command.stdin(Stdio::null()));
    let ignored = u64::from_str_radix(&status(daemon.id(), "SigIgn"), 16).unwrap();
    for signal in [Signal::HUP, Signal::INT] {
        assert_ne!(ignored & 1 << (signal.as_raw() - 1), 0, "{signal:?}");
        daemon.signal(signal);
    }
    assert_eq!(daemon.connect().talk("x"), "x");
    let (status, log) = daemon.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("drained 0, cut 0; in all 1 served"), "{log}");
}

#[test]
fn a_signal_during_startup_ends_the_program_at_once() {
    // Startup blocks on opening a password file that is a FIFO without a writer.
    let fifo = std::env::temp_dir().join(format!("acceptd-fifo-{}", std::process::id()));
    let _ = std::fs::remove_file(&fifo);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut command = acceptd(&["--handler", "kv", "127.0.0.1:0", "--password-file"]);
        let mut child = command.arg(&fifo).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the signal is handled", || {
            let caught = u64::from_str_radix(&status(child.id(), "SigCgt"), 16).unwrap();
            caught & 1 << (signal.as_raw() - 1) != 0
        });
        kill_process(Pid::from_child(&child), signal).unwrap();
        eventually("the program ends", || child.try_wait().unwrap().is_some());
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal:?}: {log}");
        assert!(output.stdout.is_empty());
        assert!(log.contains("ended by a signal before clients could connect"), "{log}");
    }
    std::fs::remove_file(&fifo).unwrap();
}
