//! The chat's options on the command line.

use rustix::process::Signal;

use crate::support::daemon::{Daemon, acceptd};

/// Sends many commands at once to a chat with these options. Returns how many were carried out, and the last line received.
fn pasted(arguments: &[&str], count: usize) -> (usize, String) {
    let daemon = Daemon::start(&[&["--handler", "chat"], arguments].concat());
    let mut client = daemon.connect();
    client.try_send("/me\n".repeat(count) + "/quit\n");
    let received = client.rest();
    let end = received.lines().last().unwrap_or_default().to_owned();
    let (status, log) = daemon.end(Signal::TERM);
    assert!(status.success(), "{log}");
    (received.matches("what do you do?").count(), end)
}

#[test]
fn the_message_rate_is_a_number_and_a_burst() {
    assert_eq!(pasted(&["--message-rate", "0"], 2000), (2000, "* goodbye".to_owned()));
    assert_eq!(pasted(&["--message-rate", "1000000/10000"], 2000), (2000, "* goodbye".to_owned()));
    let (count, end) = pasted(&["--message-rate", "1/7"], 1000);
    assert!((7..30).contains(&count), "{count}");
    assert_eq!(end, "* you send faster than is allowed, closing");
    let (count, end) = pasted(&[], 1000);
    assert!((20..200).contains(&count), "20 at once, 10 a second: {count}");
    assert_eq!(end, "* you send faster than is allowed, closing");
}

#[test]
fn the_dialect_can_be_fixed() {
    for (protocol, expected) in
        [("auto", ":acceptd 451 bob WHO "), ("text", "* welcome, you are guest1;"), ("irc", ":acceptd 451 bob WHO ")]
    {
        let daemon = Daemon::start(&["--handler", "chat", "--chat-protocol", protocol]);
        let received = daemon.connect().talk("NICK bob\nWHO\n");
        assert!(received.starts_with(expected), "{protocol}: {received}");
        let received = daemon.connect().talk("hello\n/quit\n");
        assert_eq!(received.contains("* goodbye"), protocol != "irc", "{protocol}: {received}");
        daemon.end(Signal::TERM);
    }
}

#[test]
fn the_outbox_is_a_size() {
    for size in ["1", "64KiB", "1MiB"] {
        assert_eq!(pasted(&["--max-outbox", size, "--message-rate", "0"], 1).1, "* goodbye", "{size}");
    }
}

#[test]
fn malformed_values_are_refused_with_the_name_of_the_option() {
    for (name, value) in [
        ("--message-rate", ""),
        ("--message-rate", "fast"),
        ("--message-rate", "-1"),
        ("--message-rate", "10/"),
        ("--message-rate", "10/0"),
        ("--message-rate", "10/20/30"),
        ("--message-rate", "1000001"),
        ("--message-rate", "10/10001"),
        ("--message-rate", "1.5"),
        ("--chat-protocol", "resp"),
        ("--max-outbox", "0"),
        ("--max-outbox", "-1"),
        ("--max-outbox", "much"),
    ] {
        let output = acceptd(&["--handler", "chat", &format!("{name}={value}"), "127.0.0.1:0"]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {error}");
        assert!(error.contains(name), "{name}={value}: {error}");
    }
}
