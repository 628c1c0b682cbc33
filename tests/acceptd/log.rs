//! The program's log: its levels, its lines, and what happens when nobody reads it.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::daemon::{Daemon, acceptd};
use crate::support::{Client, eventually};

#[test]
fn flags_and_variables_set_the_log_level() {
    let log_of = |arguments: &[&str], variable: Option<&str>| {
        let mut command = acceptd(arguments);
        command.args(["127.0.0.1:0"]).envs(variable.map(|value| ("RUST_LOG", value)));
        let daemon = Daemon::spawn(&mut command);
        daemon.connect().talk("x");
        daemon.end(Signal::TERM).1
    };
    assert!(!log_of(&[], None).contains("opened"));
    assert!(log_of(&["-v"], None).contains("opened id=1 peer=127.1."));
    assert_eq!(log_of(&["-q"], None), "");
    assert!(log_of(&["-q"], Some("debug")).contains("opened"), "RUST_LOG outranks the flags");
    assert!(log_of(&[], Some("acceptd=debug")).contains("opened"));
    let mut command = acceptd(&["127.0.0.1:0"]);
    let daemon = Daemon::spawn(command.env("ACCEPTD_VERBOSE", "1"));
    daemon.connect().talk("x");
    assert!(daemon.end(Signal::TERM).1.contains("opened"));
    let mut command = acceptd(&["127.0.0.1:0"]);
    assert_eq!(Daemon::spawn(command.env("ACCEPTD_QUIET", "1")).end(Signal::TERM).1, "");
}

#[test]
fn the_program_keeps_serving_after_stderr_is_closed() {
    let mut child = acceptd(&["-v", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let mut first_line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut first_line).unwrap();
    let addr = first_line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    for _ in 0..10 {
        assert_eq!(crate::support::Client::connect(addr).talk("x"), "x");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_unread_log_does_not_block_clients() {
    let mut child = acceptd(&["-v", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The pipe stays open and unread. It is full after a few hundred lines.
    let _unread = child.stderr.take();
    let mut first_line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut first_line).unwrap();
    let addr = first_line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    for _ in 0..2000 {
        assert_eq!(crate::support::Client::connect(addr).talk("x"), "x");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    eventually("the program ends", || child.try_wait().unwrap().is_some());
}

#[test]
fn an_invalid_rust_log_is_reported_and_ignored() {
    let mut command = acceptd(&["127.0.0.1:0"]);
    let daemon = Daemon::spawn(command.env("RUST_LOG", "nonsense=foo"));
    assert_eq!(daemon.connect().talk("x"), "x");
    let (_, log) = daemon.end(Signal::TERM);
    assert!(log.contains("RUST_LOG=\"nonsense=foo\" is ignored"), "{log}");
    assert!(log.contains("draining"), "{log}");
}

/// A program whose log goes to a pipe, the pipe's read end, and the address. Nothing has read from the pipe yet.
fn with_unread_log(is_nonblocking: bool) -> (Child, SocketAddr, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, is_nonblocking).unwrap();
    let mut command = acceptd(&["-v", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    let mut first_line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
    let addr = first_line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    (child, addr, reader)
}

#[test]
fn lines_dropped_while_the_log_is_unread_are_counted() {
    for is_nonblocking in [false, true] {
        let (mut child, addr, mut reader) = with_unread_log(is_nonblocking);
        // Two lines for each client: far more than the pipe and the queue hold.
        let clients = 4000;
        for _ in 0..clients {
            assert_eq!(Client::connect(addr).talk("x"), "x");
        }
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            reader.read_to_string(&mut log).unwrap();
            log
        });
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        eventually("the program ends", || child.try_wait().unwrap().is_some());
        let log = log.join().unwrap();

        let (notes, lines): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.starts_with('('));
        let missing = |note: &str| note[1..].split(' ').next().unwrap().parse::<usize>().unwrap();
        let missing: usize = notes.iter().map(|note| missing(note)).sum();
        assert!(missing > 0, "the test fills the queue");
        // There are a few more lines at the start and the end.
        let total = lines.len() + missing;
        assert!((2 * clients..=2 * clients + 4).contains(&total), "{} lines and {missing} missing", lines.len());
        assert!(
            lines.iter().all(|line| line.contains("Z ") && line.starts_with("20")),
            "every line is complete: {log}"
        );
        assert!(lines.last().unwrap().contains("in all 4000 served"), "{log}");
    }
}

#[test]
fn a_flood_of_probes_is_rate_limited_and_suppressed_lines_are_counted() {
    let daemon = Daemon::start(&["--handler", "line"]);
    let start = Instant::now();
    for _ in 0..300 {
        let mut client = daemon.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.rest();
    }
    let seconds = start.elapsed().as_secs() as usize + 1;
    let (_, log) = daemon.end(Signal::TERM);
    let lines = log.lines().filter(|line| line.contains(" INFO  closed ")).count();
    assert!(lines <= 10 * (seconds + 1), "{lines} lines in {seconds} s");
    let before = |line: &str, words: &str| line.split_once(words)?.0.rsplit([' ', '(']).next()?.parse::<usize>().ok();
    let suppressed: usize = log.lines().filter_map(|line| before(line, " more like ")).sum();
    assert_eq!(lines + suppressed, 300, "{log}");
    assert!(log.lines().last().unwrap().contains("in all 300 served"), "the summary comes last: {log}");
}

#[test]
fn the_first_log_line_describes_the_server() {
    let store = std::env::temp_dir().join(format!("acceptd-start-{}", std::process::id()));
    let store = store.to_str().unwrap();
    for (arguments, served) in [
        (&["-m", "7"][..], "echo on 127.0.0.1:PORT, at most 7 clients, idle timeout 300s"),
        (&["-H", "chat", "-m", "1"], "chat on 127.0.0.1:PORT, at most 1 client, idle timeout none"),
        (&["-H", "kv", "--store", store], "kv in STORE (fsync always) on 127.0.0.1:PORT, at most "),
    ] {
        let daemon = Daemon::start(arguments);
        let served = served.replace("PORT", &daemon.addr.port().to_string()).replace("STORE", store);
        let (_, log) = daemon.end(Signal::TERM);
        let version = env!("CARGO_PKG_VERSION");
        assert!(log.lines().next().unwrap().contains(&format!("INFO  acceptd {version}: {served}")), "{log}");
    }
    std::fs::remove_file(store).unwrap();
}
