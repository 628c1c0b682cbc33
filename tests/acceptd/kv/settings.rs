//! Passwords, and limits on values and memory.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use acceptd::Limits;
use acceptd::handler::kv::KvOptions;

use crate::support::daemon::{Daemon, acceptd};
use crate::support::kv::{RespReply, TestEngine, bulk, request, words};
use crate::support::{TestServer, logged};

crate::for_each_engine! {
    one_client_can_use_only_limited_memory_and_time
    no_command_is_executed_before_authentication
    hello_authenticates_too
    replies_to_wrong_passwords_are_delayed_more_and_more_without_affecting_other_clients
    a_drain_does_not_wait_for_delayed_replies_to_wrong_passwords
    a_wrong_password_is_logged_with_the_peer_address
    an_unauthenticated_client_may_send_only_small_requests
    the_password_is_the_first_line_of_a_file
    an_unusable_password_file_is_reported_in_one_line
    a_value_may_be_as_long_as_the_limit_and_no_longer
    the_limits_can_be_given_on_the_command_line
}

crate::for_memory! {
    above_max_memory_writes_are_refused_and_other_commands_work
    memory_can_be_limited_on_the_command_line
}

fn with_password(password: &[u8]) -> KvOptions {
    KvOptions { password: Some(password.to_vec()), ..KvOptions::default() }
}

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

fn no_command_is_executed_before_authentication(engine: TestEngine) {
    let server = engine.serve_with(with_password(b"secret"));
    let mut client = server.connect();
    for line in ["GET a", "SET a 1", "PING", "MULTI", "INFO", "CLIENT LIST", "COMMAND", "NONSENSE", "GET", "FLUSHALL"] {
        assert_eq!(client.ask(line), RespReply::Error(NOAUTH.into()), "{line}");
    }
    for line in ["AUTH wrong", "AUTH secre", "AUTH secrets", "AUTH SECRET", "AUTH default wrong", "AUTH other secret"] {
        // Each on a new connection, because the replies are delayed more and more.
        let mut client = server.connect();
        assert_eq!(client.ask(line), RespReply::Error(WRONGPASS.into()), "{line}");
        assert_eq!(client.ask("GET a").text(), NOAUTH);
    }
    assert_eq!(client.ask("AUTH secret").text(), "OK");
    assert_eq!(client.ask("GET a"), RespReply::Nil2, "SET was not executed before authentication");
    assert_eq!(client.ask("AUTH wrong").text(), WRONGPASS);
    assert_eq!(client.ask("GET a"), RespReply::Nil2, "a wrong password does not end authentication, as in Redis");
    assert_eq!(server.connect().ask("AUTH default secret").text(), "OK");
    assert_eq!(server.connect().ask("GET a").text(), NOAUTH, "authentication is per connection");

    let mut person = server.connect();
    let noauth = "ERROR NOAUTH this store has a password: write AUTH and the password";
    assert_eq!(person.type_line("HELP"), noauth);
    let wrong = "ERROR WRONGPASS that is not the password; put quotes around a password with spaces";
    assert_eq!(person.type_line("AUTH wrong"), wrong);
    assert_eq!(person.type_line("AUTH secret"), "OK");
    assert_eq!(person.type_line("GET a"), "NOT_FOUND");
    assert_eq!(server.connect().ask("QUIT").text(), "OK", "QUIT needs no password");
}

fn replies_to_wrong_passwords_are_delayed_more_and_more_without_affecting_other_clients(engine: TestEngine) {
    let server = engine.serve_with(with_password(b"secret"));
    let mut other = server.connect();
    assert_eq!(other.ask("AUTH secret").text(), "OK");
    let start = Instant::now();
    let mut client = server.connect();
    client.send([words("AUTH wrong"), words("HELLO 3 AUTH default wrong"), words("AUTH secret")].concat());
    client.expect(format!("-{WRONGPASS}\r\n"));
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    client.expect(format!("-{WRONGPASS}\r\n"));
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    client.expect("+OK\r\n");

    // These replies would take a quarter of an hour.
    client.send(words("AUTH wrong").repeat(200));
    client.expect(format!("-{WRONGPASS}\r\n"));
    assert_eq!(other.ask("PING").text(), "PONG");
}

fn a_drain_does_not_wait_for_delayed_replies_to_wrong_passwords(engine: TestEngine) {
    let limits = Limits { drain_timeout: Duration::from_secs(600), ..Limits::default() };
    let server = TestServer::with(limits, (engine.open)(with_password(b"secret")));
    let mut client = server.connect();
    client.send(words("AUTH wrong").repeat(200));
    client.expect(format!("-{WRONGPASS}\r\n"));
    assert_eq!(server.stop().cut, 0);
}

fn a_wrong_password_is_logged_with_the_peer_address(engine: TestEngine) {
    let server = engine.serve_with(with_password(b"secret"));
    let mut client = server.connect();
    let peer = client.stream.local_addr().unwrap();
    client.ask("AUTH secret");
    assert_eq!(logged(&["wrong password", &peer.to_string()]).len(), 0);
    client.ask("AUTH wrong");
    let lines = logged(&["wrong password", &format!("peer={peer}")]);
    assert!(matches!(lines[..], [(log::Level::Warn, _)]), "{lines:?}");
    assert!(!lines[0].1.contains("AUTH"), "the password is not logged: {lines:?}");
}

fn hello_authenticates_too(engine: TestEngine) {
    let server = engine.serve_with(with_password(b"secret"));
    let mut client = server.connect();
    for line in ["HELLO", "HELLO 3", "HELLO 3 SETNAME me"] {
        assert!(client.ask(line).text().starts_with("NOAUTH HELLO must be called"), "{line}");
    }
    assert_eq!(client.ask("HELLO 3 AUTH default wrong").text(), WRONGPASS);
    client.send(words("GET a"));
    client.expect(format!("-{NOAUTH}\r\n"));
    assert!(matches!(client.ask("HELLO 3 AUTH default secret SETNAME me"), RespReply::Map(_)));
    assert_eq!(client.ask("GET a"), RespReply::Nil3);
    assert_eq!(client.ask("CLIENT GETNAME"), "me".into());
}

fn an_unauthenticated_client_may_send_only_small_requests(engine: TestEngine) {
    let server = engine.serve_with(with_password(b"secret"));
    let refused = |bytes: Vec<u8>| {
        let mut client = server.connect();
        client.try_send(bytes);
        client.rest()
    };
    // Ten words of at most 16 KiB in all are accepted as a request.
    assert_eq!(server.connect().talk(request(&["x"; 10])), format!("-{NOAUTH}\r\n"));
    let unauthenticated = |what: &str| format!("-ERR Protocol error: unauthenticated {what} length\r\n");
    assert_eq!(refused(request(&["x"; 11])), unauthenticated("multibulk"));
    assert_eq!(refused(b"*1048576\r\n".to_vec()), unauthenticated("multibulk"));
    assert_eq!(refused(b"*2\r\n$3\r\nGET\r\n$16385\r\n".to_vec()), unauthenticated("bulk"));
    assert_eq!(server.connect().talk(request(&["AUTH", &"x".repeat(16_000)])), format!("-{WRONGPASS}\r\n"));
    let too_long = "-ERR the request is longer than 16384 bytes, closing\r\n";
    assert_eq!(refused(request(&["AUTH", &"x".repeat(16_380)])), too_long);
    assert_eq!(refused(request(&[&"x".repeat(9000), &"x".repeat(9000)])), too_long);
    let too_long_in_text = "ERROR the request is longer than 16384 bytes, closing\n";
    assert_eq!(refused(vec![b'x'; 20_000]), too_long_in_text);
    // After AUTH the limits no longer apply, even to requests that are sent together with it.
    let long = "v".repeat(100_000);
    let mut client = server.connect();
    client.send([words("AUTH secret"), request(&["SET", "a", &long]), words("GET a")].concat());
    client.expect("+OK\r\n+OK\r\n");
    client.expect(bulk(&long));
}

/// Creates a file with this content.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

/// The command line of the program with a store of this engine.
fn command(engine: TestEngine, more: &[&str]) -> Command {
    let mut command = acceptd(&["--handler", "kv"]);
    command.args((engine.arguments)()).args(more).arg("127.0.0.1:0");
    command
}

fn start(engine: TestEngine, more: &[&str]) -> Daemon {
    Daemon::spawn(&mut command(engine, more))
}

fn the_password_is_the_first_line_of_a_file(engine: TestEngine) {
    for (content, password) in [
        (&b"secret\n"[..], &b"secret"[..]),
        (b"secret", b"secret"),
        (b"secret\r\nsecond line\n", b"secret"),
        (b" two words \n", b" two words "),
        (b"\xff\x00\n", b"\xff\x00"),
    ] {
        let path = file("password", content);
        let daemon = start(engine, &["--password-file", path.to_str().unwrap()]);
        std::fs::remove_file(&path).unwrap();
        let mut client = daemon.connect();
        assert_eq!(client.ask("GET a").text(), NOAUTH);
        client.send(request(&[b"AUTH", password]));
        client.expect("+OK\r\n");
    }
}

fn an_unusable_password_file_is_reported_in_one_line(engine: TestEngine) {
    let empty = file("empty", b"");
    let blank = file("blank", b"\nsecret\n");
    let missing = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("missing");
    for (path, hint) in [
        (&empty, "is empty: write the password there"),
        (&blank, "is empty: write the password there"),
        (&missing, "can't read the password file"),
        (&PathBuf::from(env!("CARGO_TARGET_TMPDIR")), "can't read the password file"),
    ] {
        let path = path.to_str().unwrap();
        let output = command(engine, &["--password-file", path]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("acceptd: ") && stderr.contains(path) && stderr.contains(hint), "{stderr}");
    }
    std::fs::remove_file(empty).unwrap();
    std::fs::remove_file(blank).unwrap();
}

fn a_value_may_be_as_long_as_the_limit_and_no_longer(engine: TestEngine) {
    let server = engine.serve_with(KvOptions { max_value: 1000, ..KvOptions::default() });
    let (longest, longer) = ("v".repeat(1000), "v".repeat(1001));
    let mut client = server.connect();
    client.send([request(&["SET", "a", &longest]), words("GET a"), request(&["SET", "a", &longer])].concat());
    let kept = String::from_utf8(bulk(&longest)).unwrap();
    assert_eq!(client.rest(), format!("+OK\r\n{kept}-ERR Protocol error: invalid bulk length\r\n"));
    // The end of a line is known, so the connection stays open.
    let mut person = server.connect();
    assert_eq!(person.type_line(&format!("SET a {longest}")), "OK");
    let refusal = "ERROR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(person.type_line(&format!("SET a {longer}")), refusal);
    assert_eq!(person.type_line(&format!("SET a '{longer}'")), refusal);
    assert_eq!(person.type_line("GET a"), longest);
    // A request may have two values of the full length.
    client = server.connect();
    client.send(request(&["MSET", "a", &longest, "b", &longest]));
    client.expect("+OK\r\n");
}

fn above_max_memory_writes_are_refused_and_other_commands_work(engine: TestEngine) {
    const LIMIT: usize = 1 << 20;
    let server = engine.serve_with(KvOptions { max_memory: LIMIT, ..KvOptions::default() });
    let mut client = server.connect();
    let value = "v".repeat(10_000);
    let mut set = |key: usize| {
        client.send(request(&["SET", &key.to_string(), &value]));
        client.reply()
    };
    let oom = RespReply::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    let count = (0..1000).find(|&key| set(key) == oom).expect("the limit is never reached");
    assert!((90..=LIMIT / 10_000 + 1).contains(&count), "{count} values of 10,000 bytes fit into a MiB");
    assert_eq!(set(count), oom, "it stays full");

    let mut client = server.connect();
    assert_eq!(client.ask("GET 0"), value.as_str().into(), "reads still work");
    assert_eq!(client.ask("DBSIZE").number(), count as i64);
    assert!(client.info("used_memory") > LIMIT as u64);
    for write in ["APPEND 0 x", "INCR n", "MSET a 1 b 2", "SETRANGE 0 0 x", "GETSET 0 x", "COPY 0 x", "SETNX x 1"] {
        assert_eq!(client.ask(write), oom, "{write}");
    }
    assert_eq!(client.ask("MULTI").text(), "OK");
    assert_eq!(client.ask("SET a 1"), oom);
    assert!(client.ask("EXEC").text().starts_with("EXECABORT"));
    let replies = server.connect().talk("SET a 1\nGET nope\n");
    assert_eq!(replies, "ERROR OOM command not allowed when used memory > 'maxmemory'.\nNOT_FOUND\n");

    assert_eq!(client.ask("EXPIRE 0 1000").number(), 1, "commands that add nothing still work");
    assert_eq!(client.ask("DEL 0 1").number(), 2);
    assert_eq!(client.ask("SET a 1").text(), "OK", "writes work again");
    assert_eq!(client.ask("FLUSHALL").text(), "OK");
    assert!(client.info("used_memory") < LIMIT as u64 / 10);
}

fn the_limits_can_be_given_on_the_command_line(engine: TestEngine) {
    let daemon = start(engine, &["--max-value", "1KiB", "--kv-protocol", "resp"]);
    let mut client = daemon.connect();
    client.send("CONFIG GET proto-max-bulk-len\r\n");
    client.expect("*2\r\n$18\r\nproto-max-bulk-len\r\n$4\r\n1024\r\n");
    client.send("*2\r\n$3\r\nGET\r\n$1025\r\n");
    assert_eq!(client.rest(), "-ERR Protocol error: invalid bulk length\r\n");
    let daemon = start(engine, &["--kv-protocol", "text"]);
    assert_eq!(daemon.connect().talk("*\n"), "ERROR unknown command '*', try HELP\n");
    let daemon = start(engine, &[]);
    assert_eq!(daemon.connect().talk("GET a\n"), "NOT_FOUND\n");
    assert_eq!(daemon.connect().talk(words("GET a")), "$-1\r\n");
}

fn memory_can_be_limited_on_the_command_line(engine: TestEngine) {
    let daemon = start(engine, &["--max-memory", "1MiB", "--kv-protocol", "resp"]);
    let mut client = daemon.connect();
    client.send("CONFIG GET maxmemory\r\n");
    client.expect("*2\r\n$9\r\nmaxmemory\r\n$7\r\n1048576\r\n");
}

fn one_client_can_use_only_limited_memory_and_time(engine: TestEngine) {
    let server = engine.serve();
    let mut client = server.connect();
    let long = "k".repeat(600 * 1024);
    client.send(request(&["WATCH", &long]));
    client.expect("+OK\r\n");
    client.send(request(&["WATCH", &format!("{long}2")]));
    client.expect("-ERR too many watched keys, 4096 are allowed and a megabyte of them\r\n");
    client.send(request(&["CLIENT", "SETNAME", &"n".repeat(257)]));
    client.expect("-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    client.send(request(&["KEYS", &"*a".repeat(300)]));
    client.expect("-ERR the pattern is longer than 512 bytes\r\n");
    // This reply would be hundreds of megabytes long.
    client.send(request(&["SET", "k", &"v".repeat(8 << 20)]));
    client.expect("+OK\r\n");
    client.send(words(&format!("MGET{}", " k".repeat(100))));
    client.expect("-ERR the reply would be longer than 64 MiB, ask for less at a time\r\n");
}
