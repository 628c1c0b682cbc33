//! Errors and warnings about invalid, misspelt and unused options and variables.

use rustix::process::Signal;

use crate::support::daemon::{Daemon, acceptd};
use crate::support::machine::has_ipv6;

/// Standard error of a command line that the program rejects.
fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = acceptd(arguments).envs(variables.iter().copied()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?} {variables:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// The log of a server that starts with these variables.
fn log_with(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = acceptd(arguments);
    let daemon = Daemon::spawn(command.arg("127.0.0.1:0").envs(variables.iter().copied()));
    daemon.end(Signal::TERM).1
}

#[test]
fn an_invalid_command_line_gets_a_hint() {
    for (arguments, hint) in [
        (&["nonsense"][..], "write HOST:PORT, as in 127.0.0.1:17007"),
        (&["::1:17007"], "needs brackets"),
        (&["[::1]"], "there is no port"),
        (&["127.0.0.1:70000"], "the highest is 65535"),
        (&["*:17007"], "write 0.0.0.0:17007"),
        (&["tcp://127.0.0.1:17007"], "write 127.0.0.1:17007 alone"),
        (&["127.0.0.1:80:80"], "there are two ports"),
        (&["256.1.1.1:80"], "256.1.1.1 is not an IPv4 address"),
        (&["unix:/run/acceptd"], "Unix sockets are not supported"),
        (&["127.0.0.1:17007", "127.0.0.1:17008"], "give one address"),
        (&["--port", "8080"], "write the address alone, as in: acceptd 127.0.0.1:8080"),
        (&["--port=8080"], "write the address alone"),
        (&["-p", "8080"], "write the address alone"),
        (&["-p8080"], "write the address alone"),
        (&["--host", "0.0.0.0"], "write the address alone"),
        (&["--bind", "0.0.0.0:1"], "write the address alone"),
        (&["--listen=0.0.0.0:1"], "write the address alone"),
        (&["--idle-timeout", "soon"], "write 250ms, 10s, 1m30s"),
        (&["--idle-timeout", "-1"], "write 250ms"),
        (&["--drain-timeout", "-1s"], "write 250ms"),
        (&["--request-timeout", "0"], "longer than 0"),
        (&["--write-timeout", "5 fortnights"], "use ms, s, m, h or d"),
        (&["--max-line", "64XB"], "use KiB, MiB, GiB or TiB"),
        (&["--max-line", "-1"], "write 64KiB"),
        (&["--max-connections", "0"], "at least 1"),
        (&["--max-connections", "many"], "a whole number"),
        (&["-m", "-1"], "a whole number of 1 or more"),
        (&["-m", "99999999999999999999999"], "too large"),
        (&["--backlog", "0"], "from 1 to 65535"),
        (&["--backlog", "-1"], "from 1 to 65535"),
        (&["--message-rate", "-1"], "write 10/20"),
        (&["--handler", "gopher"], "possible values: echo, line"),
        (&["--frobnicate"], "--help"),
    ] {
        let stderr = refusal(arguments, &[]);
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("as a value, use"), "{arguments:?} gets a tip that does not work: {stderr}");
    }
}

#[test]
fn a_port_alone_means_a_loopback_address() {
    let daemon = Daemon::spawn(&mut acceptd(&["0"]));
    assert!(daemon.addr.ip().is_loopback());
    assert_eq!(daemon.connect().talk("x"), "x");
}

#[test]
fn the_zone_of_an_ipv6_address_can_be_an_interface_name() {
    if !has_ipv6() {
        return;
    }
    let daemon = Daemon::spawn(&mut acceptd(&["[::1%lo]:0"]));
    assert_eq!(crate::support::Client::connect(daemon.addr).talk("x"), "x");
    assert!(refusal(&["[fe80::1%nothing0]:7"], &[]).contains("no network interface \"nothing0\""));
}

#[test]
fn an_option_that_the_handler_does_not_use_is_an_error() {
    for (arguments, expected) in [
        (&["--store", "data"][..], "--store is for --handler kv; --handler echo does not use it"),
        (&["-H", "chat", "--password-file", "/nope"], "--password-file is for --handler kv; --handler chat"),
        (&["-H", "kv", "--max-line", "5"], "--max-line is for --handler line; --handler kv"),
        (&["-H", "line", "--message-rate", "5"], "--message-rate is for --handler chat; --handler line"),
        (&["--request-timeout", "1s"], "--request-timeout is for --handler line, kv, chat; --handler echo"),
        (&["-H", "kv", "--store", "data", "--max-memory", "1M"], "--max-memory is for a store in memory"),
        (&["-H", "kv", "--fsync", "always"], "--fsync is for a store in a file; add --store FILE"),
        (&["-v", "-q"], "cancel each other"),
    ] {
        let stderr = refusal(arguments, &[]);
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let in_variable = [("ACCEPTD_HANDLER", "line"), ("ACCEPTD_MAX_LINE", "100")];
    assert!(refusal(&["--store", "data"], &in_variable).contains("ACCEPTD_HANDLER=line does not use it"));
    let in_file = [("ACCEPTD_STORE", "data")];
    let stderr = refusal(&["-H", "kv", "--max-memory", "1M"], &in_file);
    assert!(stderr.contains("ACCEPTD_STORE keeps keys and values in a file"), "{stderr}");
}

#[test]
fn a_variable_that_the_handler_does_not_use_logs_a_warning() {
    for (arguments, variable, expected) in [
        (&[][..], ("ACCEPTD_STORE", "data"), "ACCEPTD_STORE is for --handler kv; --handler echo does not use it"),
        (&["-H", "kv"], ("ACCEPTD_FSYNC", "always"), "ACCEPTD_FSYNC is for a store in a file"),
        (&[], ("ACCEPTD_MAX_CONECTIONS", "5"), "no such variable; did you mean ACCEPTD_MAX_CONNECTIONS?"),
        (&[], ("ACCEPTD_COLOUR", "red"), "ACCEPTD_COLOUR is ignored: there is no such variable"),
    ] {
        let log = log_with(arguments, &[variable]);
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        assert!(matches!(warnings[..], [warning] if warning.contains(expected)), "{variable:?}: {log}");
    }
    assert!(!log_with(&[], &[("ACCEPTD_BACKLOG", "7"), ("ACCEPTD_IDLE_TIMEOUT", "1h")]).contains("WARN"));
}

#[test]
fn an_error_in_a_variable_names_the_variable() {
    for (name, value, hint) in [
        ("ACCEPTD_HANDLER", "foo", "possible values: echo, line"),
        ("ACCEPTD_ADDRESS", "nonsense", "there is no port"),
        ("ACCEPTD_MAX_CONNECTIONS", "-5", "1 or more"),
        ("ACCEPTD_IDLE_TIMEOUT", "soon", "write 250ms"),
        ("ACCEPTD_VERBOSE", "loud", "write 1 for yes"),
    ] {
        let stderr = refusal(&[], &[(name, value)]);
        assert!(stderr.contains(name) && stderr.contains(hint) && !stderr.contains("for '--"), "{stderr}");
    }
    let stderr = refusal(&["--handler", "bar"], &[("ACCEPTD_HANDLER", "foo")]);
    assert!(
        stderr.contains("'bar' for '--handler") && !stderr.contains("ACCEPTD"),
        "the error names the flag: {stderr}"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let (_, help, _) = super::binary::run(&["--help"]);
    let names = help.lines().filter_map(|line| line.trim().strip_prefix("[env: ")?.strip_suffix(']'));
    let empty: Vec<(&str, &str)> = names.map(|name| (name, "")).collect();
    assert!(empty.len() > 15, "{empty:?}");
    let log = log_with(&[], &empty[1..]);
    assert!(!log.contains("WARN"), "{log}");
    // The first variable is the address, which `log_with` passes as an argument.
    assert_eq!(empty[0].0, "ACCEPTD_ADDRESS");
    let stderr = refusal(&["--handler", "foo"], &empty[..1]);
    assert!(stderr.contains("'foo' for '--handler"), "{stderr}");
}

#[test]
fn the_variable_of_a_flag_accepts_common_boolean_values() {
    for value in ["1", "true", "yes"] {
        let log = log_with(&[], &[("ACCEPTD_VERBOSE", value)]);
        assert!(log.contains("DEBUG"), "{value}: {log}");
    }
    assert!(!log_with(&[], &[("ACCEPTD_VERBOSE", "false")]).contains("DEBUG"));
    assert_eq!(log_with(&["-q"], &[("ACCEPTD_VERBOSE", "1")]), "", "the flag overrides the variable");
}

#[test]
fn sockets_passed_by_systemd_log_a_warning() {
    // `exec` keeps the shell's process id, so LISTEN_PID is the program's.
    let script = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec {} 127.0.0.1:0", env!("CARGO_BIN_EXE_acceptd"));
    let daemon = Daemon::spawn(std::process::Command::new("sh").args(["-c", &script]));
    let (_, log) = daemon.end(Signal::TERM);
    assert!(log.contains("WARN  LISTEN_FDS is set, but"), "{log}");
}
