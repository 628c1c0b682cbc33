//! Promises that hold for every handler, as they apply to a chat.

use acceptd::Connection;
use acceptd::handler::Handler;
use acceptd::handler::chat::Chat;
use proptest::prelude::*;
use std::io::BufRead;

use crate::echo::{pieces, splits};
use crate::support::chat::{Member, limits, options, serve};
use crate::support::{TestServer, http_response, logged};

/// All that is answered to these pieces, by a chat of its own; without what depends on the time.
fn answer(pieces: &[&[u8]]) -> String {
    let server = serve();
    let heard = server.connect().talk_freely(pieces);
    let tells_the_time = |line: &&str| [" 003 ", " 317 ", " 329 ", " 333 "].iter().any(|number| line.contains(number));
    heard.split_inclusive('\n').filter(|line| !tells_the_time(line)).collect()
}

/// Lines of both dialects, of anything, and of what telnet and HTTP send.
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
        prop_assert_eq!(answer(&[&bytes]), answer(&pieces(&bytes, &places)));
    });
}

#[test]
fn the_replies_are_the_same_byte_by_byte() {
    for stream in [
        "/who\r\n/name bob\nhello\n/frobnicate\n/msg bob hi\n/topic tea\n/quit\n",
        "NICK a\r\nUSER a 0 * :A\nJOIN #lobby\r\nPRIVMSG a,#lobby,b :hello\r\nPING x\r\nTOPIC #lobby :tea\r\nQUIT\r\n",
    ] {
        let bytewise: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(answer(&[stream.as_bytes()]), answer(&bytewise));
    }
}

#[test]
fn a_line_that_is_too_long_is_one_wherever_it_is_split_and_however_it_ends() {
    let long = "x".repeat(9000);
    let negotiated = [&[b'x'; 4094][..], b"\xff\xfa\x1f\x00\x0a\x00\x0a\xff\xf0rest\n/who\n"].concat();
    for stream in
        [long.as_bytes(), (long.clone() + "\n/who\n").as_bytes(), (long.clone() + "\nhalf").as_bytes(), &negotiated]
    {
        let whole = answer(&[stream]);
        assert_eq!(whole.matches("longer than 4096").count(), 1);
        for place in [1, 4094, 4095, 4096, 4097, 4098, 4099, 4100, stream.len() - 1] {
            let (first, second) = stream.split_at(place);
            assert_eq!(answer(&[first, second]), whole, "{place}");
        }
    }
}

/// What a terminal obeys: C0, DEL, C1, and what changes the direction of text.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What a member hears has nothing that a terminal obeys, but for an action's marks.
fn assert_harmless(lines: &[String]) {
    for line in lines {
        let inner =
            line.split_once(":\u{1}ACTION ").and_then(|(start, rest)| Some((start, rest.strip_suffix('\u{1}')?)));
        let (start, rest) = inner.unwrap_or((line, ""));
        assert!(!start.contains(is_obeyed) && !rest.contains(is_obeyed), "{line:?}");
    }
}

/// Every way in which one member's words reach others, for people and for IRC; `{}` stands for the words.
const WAYS_OF_PEOPLE: [&str; 8] =
    ["{}", "/me {}", "/msg ann {}", "/msg ike {}", "/topic {}", "/away {}", "/name {}", "/join {}\n/leave"];
const WAYS_OF_IRC: [&str; 14] = [
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

fn send_words(member: &mut Member, way: &str, words: &[u8]) {
    let mut line = Vec::new();
    let mut parts = way.split("{}");
    line.extend(parts.next().unwrap().bytes());
    parts.for_each(|part| line.extend([words, part.as_bytes()].concat()));
    line.extend(b"\r\n");
    member.client.send(line);
    assert_harmless(&member.hears());
}

/// Says words in every way; two others listen, and ask.
fn say_everywhere(words: &[Vec<u8>]) {
    let server = serve();
    let mut ike = Member::irc_in_lobby(&server, "ike");
    let mut ann = Member::person(&server, "ann");
    let mut bob = Member::person(&server, "bob");
    let mut eve = Member::irc_in_lobby(&server, "eve");
    let asks = |ann: &mut Member, ike: &mut Member| {
        assert_harmless(&ann.ask("/who\n/rooms\n/topic\n/msg bob x\n/msg eve x"));
        assert_harmless(&ike.ask("WHO #lobby\r\nWHOIS bob\r\nWHOIS eve\r\nLIST\r\nPRIVMSG bob,eve :x"));
    };
    for words in words {
        WAYS_OF_PEOPLE.iter().for_each(|way| send_words(&mut bob, way, words));
        WAYS_OF_IRC.iter().for_each(|way| send_words(&mut eve, way, words));
        asks(&mut ann, &mut ike);
        let mut person = Member::guest(&server);
        person.client.send([b"/who\n/quit ", &words[..], b"\n/quit\n"].concat());
        assert_harmless(&person.rest());
        let mut client = Member::stranger(&server);
        client.client.send(
            [b"NICK new\r\nUSER ", &words[..], b" 0 * :", words, b"\r\nUSER u 0 * :x\r\nJOIN #lobby\r\n"].concat(),
        );
        client.hears();
        asks(&mut ann, &mut ike);
        client.client.send([b"QUIT :", &words[..], b"\r\nQUIT\r\n"].concat());
        assert_harmless(&client.rest());
        // Its name is free, once it has left.
        crate::support::eventually("it has left", || ann.ask_one_of("/msg new x", "* nobody here is called new"));
    }
    assert_harmless(&ann.ask("/history"));
    assert_eq!(server.stop().stats.panicked, 0);
}

impl Member {
    /// Whether one of what is heard begins so; all of it is harmless.
    fn ask_one_of(&mut self, line: &str, begin: &str) -> bool {
        let heard = self.ask(line);
        assert_harmless(&heard);
        heard.iter().any(|line| line.starts_with(begin))
    }
}

#[test]
fn no_control_character_reaches_another_client() {
    let characters: Vec<char> =
        ('\0'..='\u{FFFF}').filter(|&character| is_obeyed(character) && character != '\n').collect();
    assert!(characters.len() > 70);
    let words: Vec<Vec<u8>> = characters
        .chunks(8)
        .map(|some| some.iter().flat_map(|character| ['a', *character, 'z']).collect::<String>().into_bytes())
        .collect();
    say_everywhere(&words);
}

#[test]
fn none_of_the_256_bytes_does_any_harm() {
    let words: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte, b'a', byte, byte]).collect();
    // Those that are no text by themselves are refused, and a few stand for all.
    let (text, other): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| std::str::from_utf8(word).is_ok());
    say_everywhere(&text.into_iter().filter(|word| !word[0].is_ascii_alphanumeric()).collect::<Vec<_>>());
    say_everywhere(&other.into_iter().step_by(8).collect::<Vec<_>>());
}

#[test]
fn each_of_the_256_bytes_may_be_the_first() {
    let server = serve();
    for byte in 0..=255_u8 {
        let heard = server.connect().talk_freely(&[&[byte, byte, b'\n', b'/', b'x', b'\n']]);
        let is_answered = heard.contains("there is no command /x") || heard.contains("that line is not UTF-8 text");
        assert!(is_answered, "{byte}: {heard}");
    }
    assert_eq!(server.stop().stats.panicked, 0);
}

#[test]
fn a_client_that_closes_its_side_gets_its_answers() {
    let server = serve();
    let heard = server.connect().talk("/me\n/who\n");
    assert!(heard.ends_with("* what do you do? /me waves\n* 1 person is in lobby:\n* guest1\n"), "{heard}");
    let heard = server.connect().talk("NICK a\r\nUSER a 0 * :A\r\nPING 1\r\nPING 2\r\n");
    assert!(heard.ends_with("PONG acceptd :1\r\n:acceptd PONG acceptd :2\r\n"), "{heard}");
    let heard = server.connect().talk("");
    assert!(heard.starts_with("* welcome") || heard.is_empty(), "{heard}");
}

#[test]
fn http_is_closed_before_a_second_line_is_said_in_the_room() {
    let server = serve();
    let mut alice = Member::irc_in_lobby(&server, "alice");
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] {
        let mut client = server.connect();
        let peer = client.stream.local_addr().unwrap().to_string();
        client.send(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\nsaid by a web page\r\n/topic pwned\r\n"));
        let heard = client.rest();
        assert!(http_response(&heard).contains("It is a chat"), "{method}: {heard}");
        crate::support::eventually("the log says so", || logged(&["closed", &peer, "HTTP"]).len() == 1);
    }
    let mut client = server.connect();
    client.send("Host: localhost\r\nNICK pwned\r\nsaid by a web page\r\n");
    assert!(http_response(&client.rest()).contains("It is a chat"));
    assert!(alice.hears().is_empty(), "nobody has come");
}

#[test]
fn a_panic_of_one_clients_handler_is_felt_by_nobody_else() {
    let chat = Chat::new(options());
    let server = TestServer::with(limits(), move |client: &mut Connection| {
        assert_ne!(client.fill_buf()?.first(), Some(&b'!'), "stepped into the trap");
        chat.handle(client)
    });
    let mut ann = Member::person(&server, "ann");
    let mut ike = Member::irc_in_lobby(&server, "ike");
    ann.hears();
    assert_eq!(server.connect().talk("!\n"), "ERROR the server failed to answer, closing\n");
    ann.ask("hello");
    assert_eq!(ike.hears(), [":ann!~guest1@chat PRIVMSG #lobby :hello"]);
    Member::person(&server, "bob").ask("/who");
    assert_eq!(server.stop().stats.panicked, 1);
}
