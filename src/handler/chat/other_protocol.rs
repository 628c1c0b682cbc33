//! Recognizes programs that speak another protocol to the chat by mistake, and answers them.

use std::borrow::Cow;

use crate::handler::shared::{http, tls};

/// Tells users of another protocol how to use the chat.
const USAGE: &str = "This is a chat: join it with nc or telnet, or with an IRC client.";

/// A protocol that the chat does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherProtocol {
    Http,
    /// A gateway that announces the address of its client: HAProxy's PROXY protocol, or WEBIRC.
    Gateway,
    /// SMTP or LMTP.
    Smtp,
    Redis,
    Rtsp,
    Sip,
    Ssh,
    Tls,
    /// Any other protocol with request lines or a login, or one of [`KNOWN_STARTS`].
    Other,
    /// Not UTF-8, or with control characters.
    NotText,
}

/// How other programs begin: curl's DICT, Java debuggers, rsync, XML, and XMPP.
const KNOWN_STARTS: [&str; 5] = ["CLIENT libcurl", "JDWP-Handshake", "@RSYNCD:", "<?xml", "<stream:"];

/// How many bytes of an incomplete first line are searched for a NUL. Less than a line may be long.
const MAX_SEARCHED: usize = 512;

impl OtherProtocol {
    /// The protocol of a client whose first line this is; `None` if it may be IRC or a person.
    pub(super) fn detect(line: &[u8]) -> Option<OtherProtocol> {
        if http::is_http(line) {
            return Some(OtherProtocol::Http);
        }
        let line = std::str::from_utf8(line).ok()?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (&first, rest) = words.split_first()?;
        match (first, rest) {
            ("GET", [path]) if path.starts_with('/') => Some(OtherProtocol::Http),
            ("CONNECT" | "STOMP", []) => Some(OtherProtocol::Other),
            // Its first parameter is a password.
            (_, [_, ..]) if first.eq_ignore_ascii_case("WEBIRC") => Some(OtherProtocol::Gateway),
            ("PROXY", [_, ..]) if is_proxy_header(rest) => Some(OtherProtocol::Gateway),
            _ if first.eq_ignore_ascii_case("PROXY") && is_proxy_header(rest) && rest.len() > 1 => {
                Some(OtherProtocol::Gateway)
            }
            _ if is_smtp_greeting(first, rest) => Some(OtherProtocol::Smtp),
            _ if has_version(first, "SIP/") || is_request_line(rest, "SIP/") => Some(OtherProtocol::Sip),
            _ if has_version(first, "RTSP/") || is_request_line(rest, "RTSP/") => Some(OtherProtocol::Rtsp),
            _ if has_version(first, "SSH-") => Some(OtherProtocol::Ssh),
            _ if is_login(first, rest) || is_any_request_line(first, rest) => Some(OtherProtocol::Other),
            _ if rest.is_empty() && has_version(first, "*") => Some(OtherProtocol::Redis),
            _ if KNOWN_STARTS.iter().any(|start| line.starts_with(start)) => Some(OtherProtocol::Other),
            _ => None,
        }
    }

    /// The reply to this program, in a form that it shows to its user.
    pub(super) fn reply(self) -> Cow<'static, [u8]> {
        let text = match self {
            OtherProtocol::Http => http::response(USAGE),
            OtherProtocol::Gateway => format!("ERROR :No gateway is expected here. {USAGE}\r\n"),
            OtherProtocol::Smtp => format!("554 No mail is taken here. {USAGE}\r\n"),
            OtherProtocol::Redis => format!("-ERR this is no store. {USAGE}\r\n"),
            OtherProtocol::Rtsp => "RTSP/1.0 400 This is a chat\r\n\r\n".to_owned(),
            OtherProtocol::Sip => "SIP/2.0 400 This is a chat\r\nContent-Length: 0\r\n\r\n".to_owned(),
            OtherProtocol::Ssh => format!("This port does not speak SSH. {USAGE}\r\n"),
            OtherProtocol::Tls => return tls::ALERT.as_slice().into(),
            OtherProtocol::Other => format!("ERROR This port does not speak that protocol. {USAGE}\r\n"),
            OtherProtocol::NotText => format!("* that line is not plain text in UTF-8; nothing was said. {USAGE}\n"),
        };
        text.into_bytes().into()
    }

    /// The name of the protocol in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            OtherProtocol::Http => "HTTP",
            OtherProtocol::Gateway => "a gateway's protocol",
            OtherProtocol::Smtp => "SMTP",
            OtherProtocol::Redis => "RESP",
            OtherProtocol::Rtsp => "RTSP",
            OtherProtocol::Sip => "SIP",
            OtherProtocol::Ssh => "SSH",
            OtherProtocol::Tls => "TLS",
            OtherProtocol::Other => "another protocol",
            OtherProtocol::NotText => "binary data",
        }
    }
}

/// Whether a line is UTF-8 without control characters other than tabs and escape, which arrow keys send.
pub(super) fn is_text(line: &[u8]) -> bool {
    let is_allowed = |character: char| matches!(character, '\t' | '\u{1b}') || !character.is_control();
    std::str::from_utf8(line).is_ok_and(|text| text.chars().all(is_allowed))
}

/// Whether an incomplete line belongs to a binary protocol; `None` if more bytes are needed. Most binary protocols send a NUL
/// early. Telnet clients end lines with CR NUL, and a telnet command (a byte of 240 or above) may contain NUL, so only bytes
/// before either are searched. So the answer does not depend on how the bytes arrive.
pub(super) fn is_binary(bytes: &[u8]) -> Option<bool> {
    let is_decisive = |byte: &&u8| matches!(**byte, 0 | b'\n' | b'\r' | 240..);
    match bytes.iter().take(MAX_SEARCHED).find(is_decisive) {
        Some(byte) => Some(*byte == 0),
        None if bytes.len() < MAX_SEARCHED => None,
        None => Some(false),
    }
}

/// A login of IMAP (`a1 LOGIN name password`), POP3, NNTP and such, whose parameters are secrets.
fn is_login(first: &str, rest: &[&str]) -> bool {
    let is_tag =
        first.bytes().all(|byte| byte.is_ascii_alphanumeric()) && first.bytes().any(|byte| byte.is_ascii_digit());
    match (first, rest) {
        ("AUTH" | "AUTHINFO" | "APOP" | "LOGIN", [_, ..]) => true,
        (_, ["LOGIN" | "AUTHENTICATE", _, ..] | ["CAPABILITY" | "STARTTLS"]) => is_tag,
        _ => false,
    }
}

/// A request line like HTTP's, of any protocol: `SOURCE /live ICE/1.0`. Headers follow, and may hold credentials.
fn is_any_request_line(first: &str, rest: &[&str]) -> bool {
    let is_method = first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_version = |version: &str| version.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    match rest {
        [_, version] => is_method && version.split_once('/').is_some_and(|(name, v)| is_name(name) && is_version(v)),
        _ => false,
    }
}

/// The parameters of `PROXY TCP4 …` (HAProxy's PROXY protocol, version 1; version 2 is binary).
fn is_proxy_header(parameters: &[&str]) -> bool {
    let protocols = ["TCP4", "TCP6", "UNKNOWN"];
    parameters.first().is_some_and(|word| protocols.iter().any(|protocol| protocol.eq_ignore_ascii_case(word)))
}

/// `EHLO host` (RFC 5321) or `LHLO host` (RFC 2033). `helo there` may come from a person.
fn is_smtp_greeting(first: &str, rest: &[&str]) -> bool {
    match first.to_ascii_uppercase().as_str() {
        "EHLO" | "LHLO" => rest.len() <= 1,
        "HELO" => matches!(rest, [host] if first == "HELO" || host.contains('.') || host.starts_with('[')),
        _ => false,
    }
}

/// Whether these words follow the method in a request line such as `OPTIONS sip:nm SIP/2.0`.
fn is_request_line(rest: &[&str], protocol: &str) -> bool {
    matches!(rest, [_, version] if has_version(version, protocol))
}

/// Whether a word is the name of a protocol with a version number after it.
fn has_version(word: &str, protocol: &str) -> bool {
    let version = word.strip_prefix(protocol).and_then(|version| version.bytes().next());
    version.is_some_and(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_recognized_by_their_first_line() {
        for (line, expected) in [
            ("GET / HTTP/1.1", OtherProtocol::Http),
            ("GET /", OtherProtocol::Http),
            ("Host: localhost", OtherProtocol::Http),
            ("WEBIRC hunter2 gw host.example 192.0.2.7", OtherProtocol::Gateway),
            ("webirc hunter2 gw host.example 2001:db8::1 :secure", OtherProtocol::Gateway),
            ("PROXY TCP4 192.0.2.7 192.0.2.8 50000 17010", OtherProtocol::Gateway),
            ("proxy tcp6 ::1 ::1 50000 17010", OtherProtocol::Gateway),
            ("PROXY UNKNOWN", OtherProtocol::Gateway),
            ("EHLO x", OtherProtocol::Smtp),
            ("ehlo [192.0.2.7]", OtherProtocol::Smtp),
            ("HELO x", OtherProtocol::Smtp),
            ("helo mail.example", OtherProtocol::Smtp),
            ("LHLO x", OtherProtocol::Smtp),
            ("*2", OtherProtocol::Redis),
            ("OPTIONS * RTSP/1.0", OtherProtocol::Rtsp),
            ("OPTIONS sip:nm SIP/2.0", OtherProtocol::Sip),
            ("SIP/2.0 200 OK", OtherProtocol::Sip),
            ("SSH-2.0-OpenSSH_9.2", OtherProtocol::Ssh),
            ("CLIENT libcurl 8.5.0", OtherProtocol::Other),
            ("CONNECT", OtherProtocol::Other),
            ("<?xml version='1.0'?>", OtherProtocol::Other),
        ] {
            assert_eq!(OtherProtocol::detect(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn messages_about_protocols_are_not_mistaken_for_them() {
        for line in [
            "proxy tcp4",
            "proxy settings are wrong",
            "PROXY settings",
            "helo there",
            "SSH- is what?",
            "ssh-keygen fails",
            "I speak SIP/2.0 here, and RTSP/1.0",
            "* waves",
            "*",
            "client is down",
            "connect",
            "get lost",
            "<3",
        ] {
            assert_eq!(OtherProtocol::detect(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn control_characters_and_other_encodings_are_not_text() {
        for line in [&b"a\0b"[..], b"Ren\xe9", b"\x7f", "\u{85}".as_bytes(), b"\x16\x03\x01"] {
            assert!(!is_text(line), "{line:?}");
        }
        assert!(is_text("Grüße,\tмир".as_bytes()));
        assert!(is_text(b"\x1b[A"), "the key for the line before");
    }

    #[test]
    fn binary_protocols_are_recognized_before_the_line_ends_and_telnet_is_not_one() {
        for bytes in [&b"\0\0\0\xa4\xffSMBr"[..], b"l\0\x0b", b"AMQP\0\0\x09\x01"] {
            assert_eq!(is_binary(bytes), Some(true), "{bytes:?}");
        }
        for bytes in [&b"hello\r\0"[..], b"", b"NICK a", b"NICK a\nUSER \0", b"\xff\xfa\x1f\0P\0\x18\xff\xf0"] {
            assert_ne!(is_binary(bytes), Some(true), "{bytes:?}");
        }
        assert_eq!(is_binary(b"hello\r"), Some(false), "a line that a terminal has ended");
        assert_eq!(is_binary(&[b'x'; MAX_SEARCHED]), Some(false));
    }

    #[test]
    fn whether_a_protocol_is_binary_does_not_depend_on_how_its_bytes_arrive() {
        let late_nul = [&[b'x'; MAX_SEARCHED - 1][..], b"\0"].concat();
        for bytes in [&b">1\0\x9a\xb5\xff\xfa"[..], b"hi\rx\0", b"hi\nx\0", b"h\xff\xfa\0", &late_nul] {
            let whole = is_binary(bytes);
            assert!(whole.is_some(), "{bytes:?}");
            for length in 0..bytes.len() {
                let part = is_binary(&bytes[..length]);
                assert!(part.is_none() || part == whole, "{bytes:?} to {length}");
            }
        }
    }
}
