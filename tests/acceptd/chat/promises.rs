//! The promises that hold for every handler, applied to the chat.

use acceptd::Connection;
use acceptd::handler::Handler;
use acceptd::handler::chat::Chat;
use proptest::prelude::*;
use std::io::BufRead;

use crate::echo::{pieces, splits};
use crate::support::chat::{ChatClient, limits, options, serve};
use crate::support::{TestServer, http_response, logged};

/// The replies of a new chat to these pieces, without the lines that contain a time.
fn replies_to(pieces: &[&[u8]]) -> String {
    let server = serve();
    let received = server.connect().talk_in_pieces(pieces);
    let has_time = |line: &&str| [" 003 ", " 317 ", " 329 ", " 333 "].iter().any(|number| line.contains(number));
    received.split_inclusive('\n').filter(|line| !has_time(line)).collect()
}

/// Lines of both dialects, arbitrary bytes, and what telnet and HTTP clients send.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop_oneof![
        Just(""),
        Just("hello\n"),
        Just("NICK a\r\nUSER a 0 * :A\r\nJOIN #lobby\r\n"),
        Just("CAP REQ :echo-message\r\nNICK a\r\nUSER a 0 * :A\r\nCAP END\r\nJOIN #lobby\r\n")
    ];
    let part = prop_oneof![
        3 => "/(name|who|rooms|join|leave|msg|me|topic|away|ignore|help|quit|x) [ -~]{0,30}(\r)?\n".prop_map(String::into_bytes),
        1 => "/msg guest1 [a-z]{0,9}\n".prop_map(String::into_bytes),
        3 => "(NICK|USER|JOIN|PART|TOPIC|NAMES|LIST|KICK|MODE|WHO|WHOIS|AWAY|ISON|CAP|PING|QUIT|X) [#a, :]{0,3}[ -~]{0,30}(\r)?\n"
            .prop_map(String::into_bytes),
        2 => "(PRIVMSG|NOTICE) (a|#lobby|#lobby,a|b) :[ -~]{0,30}\r\n".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(b"\xff\xfa\x1f\x00\x0a\xff\xf0".to_vec()),
        1 => Just(b"\xff\xfb\x0a".to_vec()),
        1 => prop::collection::vec(Just(b'x'), 500..530),
        1 => prop::collection::vec(Just(b'x'), 4080..4110),
        1 => Just(b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
    ];
    (begin, prop::collection::vec(part, 0..8)).prop_map(|(begin, parts)| [begin.as_bytes(), &parts.concat()].concat())
}

#[test]
fn the_replies_are_the_same_however_the_stream_is_split() {
    proptest!(ProptestConfig { max_shrink_iters: 100, ..ProptestConfig::with_cases(160) }, |((bytes, places) in splits(streams()))| {
        prop_assert_eq!(replies_to(&[&bytes]), replies_to(&pieces(&bytes, &places)));
    });
}

#[test]
fn the_replies_are_the_same_byte_by_byte() {
    for stream in [
        "/who\r\n/name bob\nhello\n/frobnicate\n/msg bob hi\n/topic tea\n/quit\n",
        "NICK a\r\nUSER a 0 * :A\nJOIN #lobby\r\nPRIVMSG a,#lobby,b :hello\r\nPING x\r\nTOPIC #lobby :tea\r\nQUIT\r\n",
    ] {
        let bytewise: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(replies_to(&[stream.as_bytes()]), replies_to(&bytewise));
    }
}

#[test]
fn a_line_that_is_too_long_is_one_line_wherever_it_is_split() {
    let long = "x".repeat(9000);
    let negotiated = [&[b'x'; 4094][..], b"\xff\xfa\x1f\x00\x0a\x00\x0a\xff\xf0rest\n/who\n"].concat();
    for stream in
        [long.as_bytes(), (long.clone() + "\n/who\n").as_bytes(), (long.clone() + "\nhalf").as_bytes(), &negotiated]
    {
        let whole = replies_to(&[stream]);
        assert_eq!(whole.matches("longer than 4096").count(), 1);
        for place in [1, 4094, 4095, 4096, 4097, 4098, 4099, 4100, stream.len() - 1] {
            let (first, second) = stream.split_at(place);
            assert_eq!(replies_to(&[first, second]), whole, "{place}");
        }
    }
}

/// Characters that a terminal may obey: C0, DEL, C1, and those that change the direction of text.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Checks that lines contain no unsafe characters except the delimiters of a CTCP action.
fn assert_safe(lines: &[String]) {
    for line in lines {
        let inner =
            line.split_once(":\u{1}ACTION ").and_then(|(start, rest)| Some((start, rest.strip_suffix('\u{1}')?)));
        let (start, rest) = inner.unwrap_or((line, ""));
        assert!(!start.contains(is_unsafe) && !rest.contains(is_unsafe), "{line:?}");
    }
}

/// Every command that shows a member's text to others; `{}` stands for the text.
const PLAIN_COMMANDS: [&str; 8] =
    ["{}", "/me {}", "/msg ann {}", "/msg ike {}", "/topic {}", "/away {}", "/name {}", "/join {}\n/leave"];
const IRC_COMMANDS: [&str; 14] = [
    "PRIVMSG #lobby :{}",
    "PRIVMSG ann,ike :{}",
    "NOTICE #lobby,ann,ike :{}",
    "PRIVMSG #lobby :\u{1}ACTION {}\u{1}",
    "PRIVMSG ann,ike :\u{1}ACTION {}\u{1}",
    "TOPIC #lobby :{}",
    "AWAY :{}",
    "NICK {}",
    "JOIN #{}",
    "PART #lobby :{}\r\nJOIN #lobby",
    "JOIN #den\r\nKICK #den eve :{}",
    "PING :{}",
    "{} x y",
    "WHOIS {}\r\nMODE {}\r\nTOPIC #{}\r\nUSER {} {} {} :{}",
];

fn send_text(member: &mut ChatClient, command: &str, text: &[u8]) {
    let mut line = Vec::new();
    let mut parts = command.split("{}");
    line.extend(parts.next().unwrap().bytes());
    parts.for_each(|part| line.extend([text, part.as_bytes()].concat()));
    line.extend(b"\r\n");
    member.client.send(line);
    assert_safe(&member.received());
}

/// Sends texts with every command, and checks everything that two other members receive.
fn send_everywhere(texts: &[Vec<u8>]) {
    let server = serve();
    let mut ike = ChatClient::irc_in_lobby(&server, "ike");
    let mut ann = ChatClient::person(&server, "ann");
    let mut bob = ChatClient::person(&server, "bob");
    let mut eve = ChatClient::irc_in_lobby(&server, "eve");
    let check = |ann: &mut ChatClient, ike: &mut ChatClient| {
        assert_safe(&ann.ask("/who\n/rooms\n/topic\n/msg bob x\n/msg eve x"));
        assert_safe(&ike.ask("WHO #lobby\r\nWHOIS bob\r\nWHOIS eve\r\nLIST\r\nPRIVMSG bob,eve :x"));
    };
    for text in texts {
        PLAIN_COMMANDS.iter().for_each(|command| send_text(&mut bob, command, text));
        IRC_COMMANDS.iter().for_each(|command| send_text(&mut eve, command, text));
        check(&mut ann, &mut ike);
        let mut person = ChatClient::guest(&server);
        person.client.send([b"/who\n/quit ", &text[..], b"\n/quit\n"].concat());
        assert_safe(&person.rest());
        let mut client = ChatClient::unregistered(&server);
        client
            .client
            .send([b"NICK new\r\nUSER ", &text[..], b" 0 * :", text, b"\r\nUSER u 0 * :x\r\nJOIN #lobby\r\n"].concat());
        client.received();
        check(&mut ann, &mut ike);
        client.client.send([b"QUIT :", &text[..], b"\r\nQUIT\r\n"].concat());
        assert_safe(&client.rest());
        // The next client can take the name only after this one has left.
        crate::support::eventually("the client has left", || ann.ask_for("/msg new x", "* nobody here is called new"));
    }
    assert_safe(&ann.ask("/history"));
    assert_eq!(server.stop().stats.panicked, 0);
}

impl ChatClient {
    /// Sends a line. Returns whether a line of the reply has this prefix. Checks that all lines are safe.
    fn ask_for(&mut self, line: &str, prefix: &str) -> bool {
        let received = self.ask(line);
        assert_safe(&received);
        received.iter().any(|line| line.starts_with(prefix))
    }
}

#[test]
fn no_control_character_reaches_another_member() {
    let characters: Vec<char> =
        ('\0'..='\u{FFFF}').filter(|&character| is_unsafe(character) && character != '\n').collect();
    assert!(characters.len() > 70);
    let texts: Vec<Vec<u8>> = characters
        .chunks(8)
        .map(|chunk| chunk.iter().flat_map(|character| ['a', *character, 'z']).collect::<String>().into_bytes())
        .collect();
    send_everywhere(&texts);
}

#[test]
fn no_byte_value_does_any_harm() {
    let texts: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte, b'a', byte, byte]).collect();
    // Bytes that are not UTF-8 are refused, so a sample of them is enough.
    let (text, other): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| std::str::from_utf8(text).is_ok());
    send_everywhere(&text.into_iter().filter(|text| !text[0].is_ascii_alphanumeric()).collect::<Vec<_>>());
    send_everywhere(&other.into_iter().step_by(8).collect::<Vec<_>>());
}

#[test]
fn any_byte_value_may_come_first() {
    let server = serve();
    for byte in 0..=255_u8 {
        let received = server.connect().talk_in_pieces(&[&[byte, byte, b'\n', b'/', b'x', b'\n']]);
        let is_answered =
            received.contains("there is no command /x") || received.contains("that line is not plain text");
        assert!(is_answered, "{byte}: {received}");
    }
    assert_eq!(server.stop().stats.panicked, 0);
}

#[test]
fn a_client_that_half_closes_gets_its_replies() {
    let server = serve();
    let received = server.connect().talk("/me\n/who\n");
    assert!(received.ends_with("* what do you do? /me waves\n* 1 person is in lobby:\n* guest1\n"), "{received}");
    let received = server.connect().talk("NICK a\r\nUSER a 0 * :A\r\nPING 1\r\nPING 2\r\n");
    assert!(received.ends_with("PONG acceptd :1\r\n:acceptd PONG acceptd :2\r\n"), "{received}");
    let received = server.connect().talk("");
    assert!(received.starts_with("* welcome") || received.is_empty(), "{received}");
}

#[test]
fn http_is_closed_before_a_second_line_reaches_the_room() {
    let server = serve();
    let mut alice = ChatClient::irc_in_lobby(&server, "alice");
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] {
        let mut client = server.connect();
        let peer = client.stream.local_addr().unwrap().to_string();
        client.send(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\nsaid by a web page\r\n/topic pwned\r\n"));
        let received = client.rest();
        assert!(http_response(&received).contains("This is a chat"), "{method}: {received}");
        crate::support::eventually("the log names the protocol", || logged(&["closed", &peer, "HTTP"]).len() == 1);
    }
    let mut client = server.connect();
    client.send("Host: localhost\r\nNICK pwned\r\nsaid by a web page\r\n");
    assert!(http_response(&client.rest()).contains("This is a chat"));
    assert!(alice.received().is_empty(), "nothing was announced");
}

#[test]
fn a_panic_in_one_session_does_not_affect_the_others() {
    let chat = Chat::new(options());
    let server = TestServer::with(limits(), move |client: &mut Connection| {
        assert_ne!(client.fill_buf()?.first(), Some(&b'!'), "a deliberate panic");
        chat.handle(client)
    });
    let mut ann = ChatClient::person(&server, "ann");
    let mut ike = ChatClient::irc_in_lobby(&server, "ike");
    ann.received();
    assert_eq!(server.connect().talk("!\n"), "ERROR the server failed to answer, closing\n");
    ann.ask("hello");
    assert_eq!(ike.received(), [":ann!~guest1@chat PRIVMSG #lobby :hello"]);
    ChatClient::person(&server, "bob").ask("/who");
    assert_eq!(server.stop().stats.panicked, 1);
}
