//! The settings of the chat on the command line.

use rustix::process::Signal;

use crate::support::daemon::{Daemon, acceptd};

/// Lines that are pasted into a chat with these settings: how many are carried out, and how it ends.
fn pasted(arguments: &[&str], count: usize) -> (usize, String) {
    let daemon = Daemon::start(&[&["--handler", "chat"], arguments].concat());
    let mut client = daemon.connect();
    client.try_send("/me\n".repeat(count) + "/quit\n");
    let heard = client.rest();
    let end = heard.lines().last().unwrap_or_default().to_owned();
    let (status, log) = daemon.end(Signal::TERM);
    assert!(status.success(), "{log}");
    (heard.matches("what do you do?").count(), end)
}

#[test]
fn the_rate_of_messages_is_a_number_and_a_burst() {
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
        let heard = daemon.connect().talk("NICK bob\nWHO\n");
        assert!(heard.starts_with(expected), "{protocol}: {heard}");
        let heard = daemon.connect().talk("hello\n/quit\n");
        assert_eq!(heard.contains("* goodbye"), protocol != "irc", "{protocol}: {heard}");
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
fn what_cannot_be_meant_is_refused_in_words() {
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
