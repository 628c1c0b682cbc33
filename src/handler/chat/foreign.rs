//! Programs of other protocols that reach a chat by mistake: how to know them by their first line, and what to answer.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::handler::shared::{http, tls};

/// How to use the chat, for whoever expects something else.
const USAGE: &str = "It is a chat: join it with nc or telnet, or with an IRC client.";

/// A protocol that is not spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    Http,
    /// A gateway that announces a client's address: HAProxy's PROXY protocol, or WEBIRC.
    Gateway,
    /// SMTP and LMTP.
    Mail,
    Redis,
    Rtsp,
    Sip,
    Ssh,
    Tls,
    /// XML, such as XMPP, and others that begin with a fixed text.
    Other,
    /// No text at all: not UTF-8, or with control characters.
    NotText,
}

/// What else programs begin with: DICT as curl speaks it, a debugger of Java, rsync, XML.
const FIXED: [&str; 5] = ["CLIENT libcurl", "JDWP-Handshake", "@RSYNCD:", "<?xml", "<stream:"];

impl Foreign {
    /// The protocol that a line belongs to, if it is known, and is not IRC.
    pub(super) fn recognise(line: &[u8]) -> Option<Foreign> {
        if http::is_http(line) {
            return Some(Foreign::Http);
        }
        let line = std::str::from_utf8(line).ok()?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (&first, rest) = words.split_first()?;
        match (first, rest) {
            ("GET", [path]) if path.starts_with('/') => Some(Foreign::Http),
            ("CONNECT" | "STOMP", []) => Some(Foreign::Other),
            ("WEBIRC" | "PROXY", [_, ..]) if first == "WEBIRC" || is_proxied(rest) => Some(Foreign::Gateway),
            _ if first.eq_ignore_ascii_case("WEBIRC") && is_gateway(rest) => Some(Foreign::Gateway),
            _ if first.eq_ignore_ascii_case("PROXY") && is_proxied(rest) && rest.len() > 1 => Some(Foreign::Gateway),
            _ if is_greeting_of_mail(first, rest) => Some(Foreign::Mail),
            _ if has_version(first, "SIP/") || is_request(rest, "SIP/") => Some(Foreign::Sip),
            _ if has_version(first, "RTSP/") || is_request(rest, "RTSP/") => Some(Foreign::Rtsp),
            _ if has_version(first, "SSH-") => Some(Foreign::Ssh),
            _ if rest.is_empty() && has_version(first, "*") => Some(Foreign::Redis),
            _ if FIXED.iter().any(|fixed| line.starts_with(fixed)) => Some(Foreign::Other),
            _ => None,
        }
    }

    /// What this program is answered, in a form that it shows to its user.
    pub(super) fn answer(self) -> Cow<'static, [u8]> {
        let text = match self {
            Foreign::Http => http::response(USAGE),
            Foreign::Gateway => format!("ERROR :No gateway is expected here. {USAGE}\r\n"),
            Foreign::Mail => format!("554 No mail is taken here. {USAGE}\r\n"),
            Foreign::Redis => format!("-ERR this is no store. {USAGE}\r\n"),
            Foreign::Rtsp => "RTSP/1.0 400 This is a chat\r\n\r\n".to_owned(),
            Foreign::Sip => "SIP/2.0 400 This is a chat\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Foreign::Ssh => format!("This port does not speak SSH. {USAGE}\r\n"),
            Foreign::Tls => return tls::ALERT.as_slice().into(),
            Foreign::Other => format!("ERROR This port does not speak that protocol. {USAGE}\r\n"),
            Foreign::NotText => format!("* that line is not UTF-8 text; nothing was said. {USAGE}\n"),
        };
        text.into_bytes().into()
    }

    /// What the log says, and those who have seen the client come.
    pub(super) fn name(self) -> &'static str {
        match self {
            Foreign::Http => "HTTP",
            Foreign::Gateway => "a gateway's protocol",
            Foreign::Mail => "SMTP",
            Foreign::Redis => "RESP",
            Foreign::Rtsp => "RTSP",
            Foreign::Sip => "SIP",
            Foreign::Ssh => "SSH",
            Foreign::Tls => "TLS",
            Foreign::Other => "another protocol",
            Foreign::NotText => "no text",
        }
    }
}

/// Whether a line can be shown, with what people see in it: UTF-8 without control characters, but for tabs.
pub(super) fn is_text(line: &[u8]) -> bool {
    std::str::from_utf8(line)
        .is_ok_and(|text| text.chars().all(|character| character == '\t' || !character.is_control()))
}

/// Whether bytes that are no line yet are none of a text: NUL is in most binary protocols. After CR, it is how a telnet client
/// ends a line, and telnet's own commands (byte 240 and above) may have it.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    let start = bytes.split(|&byte| byte == b'\n' || byte >= 240).next().unwrap_or_default();
    let nul = start.iter().position(|&byte| byte == 0);
    nul.is_some_and(|place| place.checked_sub(1).and_then(|before| start.get(before)) != Some(&b'\r'))
}

/// `WEBIRC password gateway hostname address` (IRCv3), in whatever case.
fn is_gateway(parameters: &[&str]) -> bool {
    matches!(parameters, [_, _, _, address, ..] if address.starts_with(':') || address.parse::<IpAddr>().is_ok())
}

/// `PROXY TCP4 …` (HAProxy's PROXY protocol, version 1; version 2 is binary).
fn is_proxied(parameters: &[&str]) -> bool {
    let protocols = ["TCP4", "TCP6", "UNKNOWN"];
    parameters.first().is_some_and(|word| protocols.iter().any(|protocol| protocol.eq_ignore_ascii_case(word)))
}

/// `EHLO host` (RFC 5321), `LHLO host` (RFC 2033). `helo there` may be a person.
fn is_greeting_of_mail(first: &str, rest: &[&str]) -> bool {
    match first.to_ascii_uppercase().as_str() {
        "EHLO" | "LHLO" => rest.len() <= 1,
        "HELO" => matches!(rest, [host] if first == "HELO" || host.contains('.') || host.starts_with('[')),
        _ => false,
    }
}

/// Whether a line ends as `OPTIONS sip:nm SIP/2.0` does, after its method.
fn is_request(rest: &[&str], protocol: &str) -> bool {
    matches!(rest, [_, version] if has_version(version, protocol))
}

/// Whether a word is the name of a protocol with a number behind it.
fn has_version(word: &str, protocol: &str) -> bool {
    let version = word.strip_prefix(protocol).and_then(|version| version.bytes().next());
    version.is_some_and(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_are_known_by_their_first_line() {
        for (line, expected) in [
            ("GET / HTTP/1.1", Foreign::Http),
            ("GET /", Foreign::Http),
            ("Host: localhost", Foreign::Http),
            ("WEBIRC hunter2 gw host.example 192.0.2.7", Foreign::Gateway),
            ("webirc hunter2 gw host.example 2001:db8::1 :secure", Foreign::Gateway),
            ("PROXY TCP4 192.0.2.7 192.0.2.8 50000 17010", Foreign::Gateway),
            ("proxy tcp6 ::1 ::1 50000 17010", Foreign::Gateway),
            ("PROXY UNKNOWN", Foreign::Gateway),
            ("EHLO x", Foreign::Mail),
            ("ehlo [192.0.2.7]", Foreign::Mail),
            ("HELO x", Foreign::Mail),
            ("helo mail.example", Foreign::Mail),
            ("LHLO x", Foreign::Mail),
            ("*2", Foreign::Redis),
            ("OPTIONS * RTSP/1.0", Foreign::Rtsp),
            ("OPTIONS sip:nm SIP/2.0", Foreign::Sip),
            ("SIP/2.0 200 OK", Foreign::Sip),
            ("SSH-2.0-OpenSSH_9.2", Foreign::Ssh),
            ("CLIENT libcurl 8.5.0", Foreign::Other),
            ("CONNECT", Foreign::Other),
            ("<?xml version='1.0'?>", Foreign::Other),
        ] {
            assert_eq!(Foreign::recognise(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_people_say_about_protocols_is_none() {
        for line in [
            "webirc is broken again today",
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
            assert_eq!(Foreign::recognise(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn control_characters_and_other_encodings_are_not_text() {
        for line in [&b"a\0b"[..], b"\x1b[A", b"Ren\xe9", b"\x7f", "\u{85}".as_bytes(), b"\x16\x03\x01"] {
            assert!(!is_text(line), "{line:?}");
        }
        assert!(is_text("Grüße,\tмир".as_bytes()));
    }

    #[test]
    fn binary_protocols_are_known_before_a_line_ends_and_telnet_is_none() {
        for bytes in [&b"\0\0\0\xa4\xffSMBr"[..], b"l\0\x0b", b"AMQP\0\0\x09\x01"] {
            assert!(is_binary(bytes), "{bytes:?}");
        }
        for bytes in [&b"hello\r\0"[..], b"", b"NICK a", b"NICK a\nUSER \0", b"\xff\xfa\x1f\0P\0\x18\xff\xf0"] {
            assert!(!is_binary(bytes), "{bytes:?}");
        }
    }
}
