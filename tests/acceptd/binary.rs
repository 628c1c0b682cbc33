//! The program: its flags, its variables, its output and its exit codes.

use rustix::process::Signal;

use crate::support::daemon::{Daemon, acceptd};
use crate::support::eventually;
use crate::support::machine::has_ipv6;

/// Exit code, standard output and standard error of a command that exits by itself.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = acceptd(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_prints_its_address_and_echoes_there() {
    let daemon = Daemon::start(&[]);
    assert_ne!(daemon.addr.port(), 0);
    assert_eq!(daemon.connect().talk("hello\n"), "hello\n");
    let (status, log) = daemon.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("draining ") && log.contains(", at most 5 s"), "{log}");
    assert!(log.contains("in all 1 served"), "{log}");
}

#[test]
fn every_handler_in_the_help_can_be_selected() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for (name, request, reply) in [("echo", "ECHO a\n", "ECHO a\n"), ("line", "ECHO a\n", "a\n")] {
        assert!(help.contains(&format!("- {name}:")), "{help}");
        assert_eq!(Daemon::start(&["--handler", name]).connect().talk(request), reply, "{name}");
        assert_eq!(Daemon::start(&["-H", name]).connect().talk(request), reply, "{name}");
    }
}

#[test]
fn every_flag_takes_effect() {
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

    // A client that sends much and reads nothing is cut by the write timeout, or by the drain timeout.
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
    // The client is stuck once the server reads no more from it.
    let (mut before, mut unchanged) = (usize::MAX, 0);
    eventually("the client is stuck", || {
        let queued = rustix::io::ioctl_fionread(&client.stream).unwrap() as usize;
        let is_same = std::mem::replace(&mut before, queued) == queued && queued > 1 << 16;
        unchanged = if is_same { unchanged + 1 } else { 0 };
        // On a busy machine, the server may not have run between two looks.
        unchanged == 100
    });
    let (status, log) = daemon.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("draining 1 connection, at most 100 ms") && log.contains("drained 0, cut 1"), "{log}");
    sender.join().unwrap();
}

#[test]
fn each_flag_has_an_environment_variable_which_the_flag_overrides() {
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
fn a_startup_error_is_one_line_with_a_hint() {
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
fn the_program_listens_on_localhost_and_ipv6() {
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
fn the_version_flag_prints_the_package_version() {
    assert_eq!(run(&["--version"]).1, format!("acceptd {}\n", env!("CARGO_PKG_VERSION")));
}
