//! The bytes that telnet clients send, and checks that every protocol with a command `ECHO text` must pass.

use std::time::Duration;

use acceptd::{Handler, Limits};

use super::{Client, TestServer};

/// What plink sends at the start. It contains 0x27 (`NEW-ENVIRON`), a quote. Its window has 10 rows, and the byte 10 is LF.
pub const NEGOTIATION: &[u8] =
    b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0";

/// A command that does nothing, which some clients send now and then.
pub const NOP: &[u8] = b"\xff\xf1";

pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Sends the beginning of a ClientHello, without an LF, and expects a TLS alert.
pub fn tls_gets_an_alert(client: &mut Client) {
    client.send(b"\x16\x03\x01");
    client.expect(b"\x15\x03\x01\x00\x02\x02\x46");
    assert_eq!(client.rest(), "");
}

pub fn commands_are_answered_at_once(client: &mut Client) {
    // Ctrl-C, then "are you there".
    client.send(b"\xff\xf4\xff\xf2\xff\xfd\x06\xff\xf6");
    client.expect(b"\xff\xfc\x06[yes]\r\n");
    client.send(b"ECHO h\xff\xfd\x06");
    client.expect(b"\xff\xfc\x06");
    client.send(b"i\r\n");
    client.expect("hi\r\n");
    client.send(b"ECHO a\r\n\xff\xf4\xff\xf2\xff\xfd\x06ECHO b\r\n");
    client.expect(b"a\r\n\xff\xfc\x06b\r\n");
}

/// The farewell of a server with very short timeouts to a client that sends `bytes` and then waits.
pub fn farewell_after(handler: impl Handler, bytes: &[u8]) -> String {
    let server = server_with_short_timeouts(handler);
    let mut client = server.connect();
    client.send(bytes);
    client.rest()
}

fn server_with_short_timeouts(handler: impl Handler) -> TestServer {
    let (request_timeout, idle_timeout) = (Duration::from_millis(1), Some(Duration::from_millis(50)));
    TestServer::with(Limits { request_timeout, idle_timeout, ..Limits::default() }, handler)
}

/// If a command began a request, the client would run into the request timeout instead of the idle timeout.
pub fn commands_between_lines_do_not_begin_a_request(handler: impl Handler) {
    let server = server_with_short_timeouts(handler);
    let anywhere = [
        NOP,
        NEGOTIATION,
        // A window size, Synch, erasures of nothing.
        b"\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0",
        b"\xff\xf4\xff\xf2",
        b"\x08\x7f\xff\xf7\xff\xf8",
        // A late LF.
        b"\r\xff\xf1\n",
    ];
    let later = anywhere.iter().map(|bytes| [b"ECHO a\r\n", *bytes].concat());
    let streams =
        anywhere.iter().copied().chain([BYTE_ORDER_MARK, b"ECHO a\r\xff\xf1\n"]).map(<[u8]>::to_vec).chain(later);
    let connect = |bytes: Vec<u8>| {
        let mut client = server.connect();
        client.send(&bytes);
        (client, bytes)
    };
    let clients: Vec<_> = streams.map(connect).collect();
    for (mut client, bytes) in clients {
        let farewell = client.rest();
        let expected = "nothing was sent for 50ms, closing";
        assert!(farewell.trim_end().ends_with(expected), "{bytes:?}: {farewell}");
    }
}

/// The lines of a reply end with LF after LF, and with CRLF after any line end that has a CR.
pub fn the_reply_has_the_line_end_of_the_line(server: &TestServer) {
    assert_eq!(server.connect().talk("ECHO a\r\nECHO b\nECHO c\r\n"), "a\r\nb\nc\r\n");
    let mut client = server.connect();
    // What Return sends in telnet's character mode, and in terminal programs.
    for end in ["\r\0", "\r"] {
        client.send(format!("ECHO one{end}ECHO two{end}"));
        client.expect("one\r\ntwo\r\n");
    }
    // The LF or NUL after a CR arrives late.
    client.send("\nECHO three\r");
    client.expect("three\r\n");
    client.send("\0\nECHO four\n");
    client.expect("four\n");
}

pub fn erased_characters_are_not_part_of_the_line(server: &TestServer) {
    let typed =
        b"ECHO helxo\x08\x08lo\r\nECHO ab\x7fc\r\nECHO ab\xff\xf7c\r\nECHO \xc3\xa9\xff\xf7d\r\njunk\xff\xf8ECHO ok\r\n";
    assert_eq!(server.connect().talk(typed), "hello\r\nac\r\nac\r\nd\r\nok\r\n");
    let typed = "ECHO a👨‍👩‍👧\u{7f}é\u{8}b\n\u{8}\u{8}\u{8}ECHO c\n";
    assert_eq!(
        server.connect().talk(typed),
        "ab\nc\n",
        "erases whole characters, and stops at the beginning of the line"
    );
}

pub fn a_byte_order_mark_is_skipped_only_at_the_very_start(server: &TestServer) {
    assert_eq!(server.connect().talk("\u{feff}ECHO hi\r\n"), "hi\r\n");
    for later in ["\u{feff}\u{feff}ECHO b\n", "\n\u{feff}ECHO b\n", "ECHO a\n\u{feff}ECHO b\n"] {
        let reply = server.connect().talk(later);
        assert!(reply.trim_start_matches("a\n").starts_with("ERROR unknown command"), "{later:?}: {reply}");
    }
}
