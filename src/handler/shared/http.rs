//! Recognizes HTTP aimed at a line protocol, and answers it as HTTP.
//!
//! A web page can make a browser send any bytes in the body of a request to any port of the visitor's own network. A
//! line protocol that answers each header with an error and carries on would run that body as commands. So the first line
//! of HTTP, or its `Host:` header, ends the connection. The answer is HTTP too, because curl and browsers show nothing
//! else.

/// The methods of RFC 9110 and RFC 5789 (PATCH), and the start of HTTP/2's connection preface (RFC 9113).
const METHODS: [&[u8]; 10] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"];

/// The complete response to a client that speaks HTTP (RFC 9112). `usage` says in a sentence or two what the port is and
/// how to use it. The response repeats nothing from the request, so a request can't put content into it.
pub(crate) fn response(usage: &str) -> String {
    let body = format!("This port does not speak HTTP. {usage}\n");
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Whether a line is HTTP: a request line (`GET / HTTP/1.1`) with any method, or a `Host:` header. Case and extra spaces
/// don't matter.
pub(crate) fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return false };
    if has_prefix(first, b"host:") || first.eq_ignore_ascii_case(b"host") && words.clone().next() == Some(b":") {
        return true;
    }
    let Some(last) = words.next_back() else { return false };
    if !is_version(last) {
        return false;
    }
    if METHODS.iter().any(|method| method.eq_ignore_ascii_case(first)) {
        return true;
    }
    // With any other method, exactly a target has to come between it and the version.
    let (target, further_word) = (words.next(), words.next());
    is_token(first) && target.is_some_and(is_target) && further_word.is_none()
}

/// Whether the beginning of a line that is too long is that of an HTTP request: a method, and a path or a URL.
pub(crate) fn begins_request(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let Some(space) = line.iter().position(u8::is_ascii_whitespace) else { return false };
    let (method, target) = line.split_at(space);
    let target = target.trim_ascii_start();
    let is_known_method = METHODS.iter().any(|known| known.eq_ignore_ascii_case(method));
    let has_target = target.starts_with(b"/") || has_prefix(target, b"http://") || has_prefix(target, b"https://");
    has_target && (is_known_method || is_token(method) && !method.iter().any(u8::is_ascii_lowercase))
}

fn has_prefix(word: &[u8], prefix: &[u8]) -> bool {
    word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// `HTTP/1.1`.
fn is_version(word: &[u8]) -> bool {
    has_prefix(word, b"http/") && word.get(5).is_some_and(u8::is_ascii_digit)
}

/// A request target (RFC 9112, 3.2): a path, a URL, or `*`. So `SET page HTTP/1.1` is not HTTP.
fn is_target(word: &[u8]) -> bool {
    word.starts_with(b"/") || word == b"*" || word.windows(3).any(|three| three == b"://")
}

/// The characters that a method's name may consist of (RFC 9110, 5.6.2).
fn is_token(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_and_host_headers_are_http_in_any_case() {
        for method in METHODS.into_iter().chain([&b"PROPFIND"[..], b"M-SEARCH", b"SET", b"ECHO", b"X"]) {
            let line = [method, b" /a%20b?c HTTP/1.1"].concat();
            for line in [line.to_ascii_lowercase(), [b"  ", &line[..], b" "].concat(), line] {
                assert!(is_http(&line), "{}", String::from_utf8_lossy(&line));
            }
        }
        for line in [
            "Host: example.org",
            "host:localhost:17007",
            "HOST: x",
            "Host : x",
            "PRI * HTTP/2.0",
            "GET http://localhost/ HTTP/1.0",
            "PURGE http://localhost/a HTTP/1.1",
            "CONNECT localhost:80 HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET\t/\tHTTP/1.1",
            "GET HTTP/1.1",
        ] {
            assert!(is_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn a_request_with_a_long_url_is_recognized_by_its_beginning() {
        for line in ["GET /aaaa", "get /a", "PROPFIND /a", "POST https://localhost/a", " GET  /a"] {
            assert!(begins_request(line.as_bytes()), "{line}");
        }
        for line in ["", "GET", "GET aaaa", "a /a", "/a /a", "and /or", "ECHO http"] {
            assert!(!begins_request(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn commands_and_chat_are_not_http() {
        for line in [
            "",
            " ",
            "GET",
            "get key",
            "GET key",
            "PUT the kettle on",
            "ECHO GET / HTTP/1.1",
            "SET page HTTP/1.1",
            "SET /page \"HTTP/1.1\"",
            "hostess: x",
            "host",
            "host the party",
            "HTTP/1.1",
            "GET / HTTP/x",
        ] {
            assert!(!is_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn the_response_is_complete_and_states_its_length() {
        let response = response("It is a test.");
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.ends_with("\r\nConnection: close"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert_eq!(body, "This port does not speak HTTP. It is a test.\n");
    }
}
