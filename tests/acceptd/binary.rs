//! The program as its user meets it: what it says, what it takes, and how it ends.

use std::process::Stdio;

use rustix::process::Signal;

use crate::support::daemon::{Daemon, acceptd};
use crate::support::eventually;
use crate::support::machine::has_ipv6;

/// Exit code, standard output and standard error of a command line that ends by itself.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = acceptd(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_says_where_it_listens_and_echoes_there() {
    let daemon = Daemon::start(&[]);
    assert_ne!(daemon.addr.port(), 0);
    assert_eq!(daemon.connect().talk("hello\n"), "hello\n");
    let (status, log) = daemon.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("draining ") && log.contains(", at most 5 s"), "{log}");
    assert!(log.contains("in all 1 served"), "{log}");
}

#[test]
fn every_handler_in_the_help_can_be_chosen() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for (name, asked, answered) in [("echo", "ECHO a\n", "ECHO a\n"), ("line", "ECHO a\n", "a\n")] {
        assert!(help.contains(&format!("- {name}:")), "{help}");
        assert_eq!(Daemon::start(&["--handler", name]).connect().talk(asked), answered, "{name}");
        assert_eq!(Daemon::start(&["-H", name]).connect().talk(asked), answered, "{name}");
    }
}

#[test]
fn every_flag_does_what_it_says() {
    let talk = |arguments: &[&str], bytes: &str| {
        let daemon = Daemon::start(arguments);
        let mut client = daemon.connect();
        client.send(bytes);
        client.rest()
    };
    let refused = {
        let daemon = Daemon::start(&["-m", "1"]);
        let mut first = daemon.connect();
        first.send("x");
        first.expect("x");
        daemon.connect().rest()
    };
    assert_eq!(refused, "ERROR too many connections (the limit is 1), try again later\n");
    assert_eq!(talk(&["--idle-timeout", "200ms"], ""), "ERROR nothing was sent for 200ms, closing\n");
    let line = ["-H", "line"];
    let timeout = talk(&[&line[..], &["--request-timeout", "200ms"]].concat(), "ECHO");
    assert_eq!(timeout, "ERROR the request was not complete after 200ms, closing\r\n");
    let too_long = talk(&[&line[..], &["--max-line", "10"]].concat(), "ECHO 01234567\n");
    assert_eq!(too_long, "ERROR the request is longer than 10 bytes, closing\r\n");

    // A client that sends a lot and reads nothing: cut by the write timeout, or by the drain.
    let stuck = |arguments: &[&str]| {
        let daemon = Daemon::start(arguments);
        let threads = daemon.status("Threads");
        let client = daemon.connect();
        let mut sending = client.stream.try_clone().unwrap();
        let sender =
            std::thread::spawn(move || std::io::Write::write_all(&mut sending, &vec![b'x'; 64 << 20]).is_err());
        eventually("the client is served", || daemon.status("Threads") > threads);
        (daemon, client, sender)
    };
    let (daemon, client, sender) = stuck(&["--write-timeout", "300ms"]);
    assert!(sender.join().unwrap(), "reset by the server");
    drop(client);
    let (_, log) = daemon.end(Signal::TERM);
    assert!(log.contains("reply not taken in time"), "{log}");

    let (daemon, client, sender) = stuck(&["--drain-timeout", "100ms"]);
    // It is stuck once no more of it is taken.
    let mut before = usize::MAX;
    eventually("the client is stuck", || {
        let queued = rustix::io::ioctl_fionread(&client.stream).unwrap() as usize;
        std::mem::replace(&mut before, queued) == queued && queued > 1 << 16
    });
    let (status, log) = daemon.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("draining 1 connection, at most 100 ms") && log.contains("drained 0, cut 1"), "{log}");
    sender.join().unwrap();
}

#[test]
fn each_flag_is_a_variable_too_and_flags_outrank_them() {
    let mut command = acceptd(&["-v", "127.0.0.1:0"]);
    command.envs([("ACCEPTD_HANDLER", "line"), ("ACCEPTD_MAX_LINE", "10"), ("ACCEPTD_IDLE_TIMEOUT", "1h")]);
    command.envs([
        ("ACCEPTD_ADDRESS", "nonsense, but outranked"),
        ("ACCEPTD_BACKLOG", "5"),
        ("ACCEPTD_MAX_CONNECTIONS", "9"),
    ]);
    command.envs([("ACCEPTD_REQUEST_TIMEOUT", "1m"), ("ACCEPTD_WRITE_TIMEOUT", "1m"), ("ACCEPTD_DRAIN_TIMEOUT", "7s")]);
    let daemon = Daemon::spawn(&mut command);
    let mut client = daemon.connect();
    client.send("ECHO 01234567\n");
    assert_eq!(client.rest(), "ERROR the request is longer than 10 bytes, closing\r\n");
    let (_, log) = daemon.end(Signal::TERM);
    assert!(log.contains("at most 7 s"), "{log}");

    let mut command = acceptd(&["127.0.0.1:0", "--handler", "echo"]);
    command.env("ACCEPTD_HANDLER", "line");
    assert_eq!(Daemon::spawn(&mut command).connect().talk("ECHO a\n"), "ECHO a\n");

    let (_, help, _) = run(&["--help"]);
    for flag in help.lines().filter_map(|line| line.trim().split("--").nth(1)) {
        let name = flag.split([' ', '.']).next().unwrap().replace('-', "_").to_uppercase();
        assert!(help.contains(&format!("[env: ACCEPTD_{name}]")) || ["HELP", "VERSION"].contains(&&*name), "{name}");
    }
}

#[test]
fn the_log_is_as_loud_as_was_asked_for() {
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
fn what_keeps_it_from_running_is_one_line_that_says_what_to_do() {
    let daemon = Daemon::start(&[]);
    let in_use = daemon.addr.to_string();
    for (address, hint) in [
        (in_use.as_str(), "another program has it"),
        ("192.0.2.1:17007", "this machine does not have that address"),
        ("nobody.invalid:1", "is the name right?"),
    ] {
        let (code, stdout, stderr) = run(&[address]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{address}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(address) && stderr.contains(hint), "{stderr}");
    }
}

#[test]
fn localhost_and_ipv6_can_be_listened_on() {
    for address in ["localhost:0", "[::1]:0", "[::]:0"] {
        if address.starts_with('[') && !has_ipv6() {
            continue;
        }
        let daemon = Daemon::spawn(&mut acceptd(&[address]));
        let mut target = daemon.addr;
        if target.ip().is_unspecified() {
            target.set_ip("::1".parse().unwrap());
        }
        assert_eq!(crate::support::Client::connect(target).talk("x"), "x", "{address}");
    }
}

#[test]
fn every_signal_that_ends_it_drains_it() {
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

#[test]
fn a_second_signal_cuts_at_once() {
    let mut daemon = Daemon::start(&["--drain-timeout", "10m", "--write-timeout", "10m"]);
    let client = daemon.connect();
    let mut sending = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut sending, &vec![b'x'; 64 << 20]));
    // It is stuck once no more of it is taken.
    let mut before = usize::MAX;
    eventually("the client is stuck", || {
        let queued = rustix::io::ioctl_fionread(&client.stream).unwrap() as usize;
        std::mem::replace(&mut before, queued) == queued && queued > 1 << 16
    });
    daemon.signal(Signal::TERM);
    eventually("the port is closed", || std::net::TcpStream::connect(daemon.addr).is_err());
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(130), "{log}");
    assert!(log.contains("cutting 1 connection") && log.contains(", cut 1;"), "{log}");
    assert!(sender.join().unwrap().is_err());
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(run(&["--version"]).1, format!("acceptd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn nobody_needs_to_read_what_it_says() {
    let mut child = acceptd(&["-v", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
    let addr = said.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    for _ in 0..10 {
        assert_eq!(crate::support::Client::connect(addr).talk("x"), "x");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let mut child = acceptd(&["-v", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Open, and never read: the pipe is full after some hundred lines.
    let _unread = child.stderr.take();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
    let addr = said.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    for _ in 0..2000 {
        assert_eq!(crate::support::Client::connect(addr).talk("x"), "x");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    eventually("it ends", || child.try_wait().unwrap().is_some());
}

#[test]
fn a_wrong_rust_log_is_told_and_ignored() {
    let mut command = acceptd(&["127.0.0.1:0"]);
    let daemon = Daemon::spawn(command.env("RUST_LOG", "nonsense=foo"));
    assert_eq!(daemon.connect().talk("x"), "x");
    let (_, log) = daemon.end(Signal::TERM);
    assert!(log.contains("RUST_LOG=\"nonsense=foo\" is ignored"), "{log}");
    assert!(log.contains("draining"), "{log}");
}
