//! Recognises HTTP aimed at a line protocol.
//!
//! A web page can make a browser send any bytes in the body of a request to any port of the visitor's own network. A
//! line protocol that answers each header with an error and goes on runs that body as commands. So the first line of
//! HTTP, or its `Host:` header, ends the conversation.

/// The methods of RFC 9110, of RFC 5789 (PATCH), and the preface of HTTP/2 (RFC 9113).
const METHODS: [&[u8]; 10] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"];

/// What a client that speaks HTTP is told.
pub(crate) const REFUSAL: &str = "ERROR this port does not speak HTTP, closing";

/// Whether a line is HTTP's: a request line (`GET / HTTP/1.1`), or a `Host:` header.
pub(crate) fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return false };
    if first.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"host:")) {
        return true;
    }
    METHODS.contains(&first) && words.next_back().is_some_and(|last| last.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_the_host_header_are_http() {
        for method in METHODS {
            let line = [method, b" /a%20b?c HTTP/1.1"].concat();
            assert!(is_http(&line), "{}", String::from_utf8_lossy(&line));
        }
        for line in ["Host: example.org", "host:localhost:17007", "HOST: x", "PRI * HTTP/2.0"] {
            assert!(is_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn what_people_type_is_not() {
        for line in ["", " ", "GET", "get key", "GET key", "PUT the kettle on", "ECHO GET / HTTP/1.1", "hostess: x"] {
            assert!(!is_http(line.as_bytes()), "{line}");
        }
    }
}
