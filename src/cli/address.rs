//! Parses the address to listen on. The errors say how to write one. Its host is resolved only when it is bound.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

const HINT: &str = "write HOST:PORT, as in 127.0.0.1:17007, localhost:0 or [::1]:17007";

/// Parses `HOST:PORT`, `[IPV6]:PORT`, or `PORT` alone, which means a port of 127.0.0.1.
pub(super) fn address(text: &str) -> Result<String, String> {
    if text.starts_with("unix:") || text.starts_with(['/', '.']) {
        return Err(format!("Unix sockets are not supported; {HINT}"));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(format!("leave {scheme}:// out: write {} alone", rest.trim_end_matches('/')));
    }
    if is_number(text) {
        return Ok(format!("127.0.0.1:{}", port(text)?));
    }
    let Some((host, port_text)) = text.rsplit_once(':') else { return Err(format!("there is no port; {HINT}")) };
    if host.starts_with('[') && !host.ends_with(']') {
        return Err(format!("there is no port; {HINT}"));
    }
    let port = port(port_text)?;
    match host {
        "" => Err("there is no host; 127.0.0.1 serves this machine, 0.0.0.0 or [::] every network".to_owned()),
        "*" => Err(format!("write 0.0.0.0:{port} for every IPv4 address of this machine, [::]:{port} for IPv6 too")),
        _ if host.starts_with('[') => ipv6(host.trim_matches(['[', ']']), port),
        _ if host.matches(':').count() == 1 => Err(format!("there are two ports; {HINT}")),
        _ if host.contains(':') => Err(format!("an IPv6 address needs brackets; {HINT}")),
        _ if looks_like_ipv4(host) => Err(format!("{host} is not an IPv4 address; {HINT}")),
        _ => Ok(text.to_owned()),
    }
}

/// Whether a host is four numbers but not an address. No resolver knows such a name.
fn looks_like_ipv4(host: &str) -> bool {
    host.split('.').count() == 4 && host.split('.').all(is_number) && host.parse::<Ipv4Addr>().is_err()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, String> {
    if !is_number(text) {
        return Err(format!("{text:?} is not a port; {HINT}"));
    }
    text.parse().map_err(|_| format!("port {text} does not exist, the highest is 65535"))
}

/// Parses an IPv6 address that may have a zone, by number or by name: `fe80::1%eth0` (RFC 4007, section 11).
fn ipv6(text: &str, port: u16) -> Result<String, String> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    if ip.parse::<Ipv6Addr>().is_err() {
        return Err(format!("[{text}] is not an IPv6 address; {HINT}"));
    }
    let address = match zone {
        None => format!("[{ip}]:{port}"),
        Some(number) if is_number(number) => format!("[{ip}%{number}]:{port}"),
        Some(name) => format!("[{ip}%{}]:{port}", index_of(name)?),
    };
    match address.parse::<SocketAddr>() {
        Ok(_) => Ok(address),
        Err(_) => Err(format!("[{text}] has an impossible zone; `ip link` lists the network interfaces")),
    }
}

/// The number of a network interface.
fn index_of(interface: &str) -> Result<u32, String> {
    // The system call needs a socket, of any kind.
    socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .and_then(|socket| name_to_index(socket, interface))
        .map_err(|_| format!("there is no network interface {interface:?}; `ip link` lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:17007", "localhost:0", "[::1]:0", "[fe80::1%1]:7", "0.0.0.0:65535"] {
            assert_eq!(address(text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_port_alone_is_a_port_of_this_machine() {
        assert_eq!(address("8080"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(address("0"), Ok("127.0.0.1:0".to_owned()));
        assert!(address("65536").unwrap_err().contains("the highest is 65535"));
    }

    #[test]
    fn a_zone_is_a_number_or_the_name_of_an_interface() {
        assert_eq!(address("[fe80::1%lo]:7"), Ok("[fe80::1%1]:7".to_owned()));
        for name in ["nothing0", "", "longer than the name of an interface can be"] {
            assert!(address(&format!("[fe80::1%{name}]:7")).unwrap_err().contains("`ip link`"), "{name}");
        }
        assert!(address("[fe80::1%4294967296]:7").unwrap_err().contains("`ip link`"));
    }

    #[test]
    fn the_error_for_a_wrong_address_says_how_to_write_it() {
        for (text, hint) in [
            ("*:17007", "write 0.0.0.0:17007"),
            ("tcp://127.0.0.1:80", "write 127.0.0.1:80 alone"),
            ("http://localhost:80/", "write localhost:80 alone"),
            ("unix:/run/acceptd", "Unix sockets are not supported"),
            ("unix:", "Unix sockets are not supported"),
            ("/run/acceptd", "Unix sockets are not supported"),
            (":17007", "there is no host"),
            ("::1:17007", "needs brackets"),
            ("[::1]", "there is no port"),
            ("127.0.0.1", "there is no port"),
            ("", "there is no port"),
            ("[nonsense]:1", "is not an IPv6 address"),
            ("localhost:http", "\"http\" is not a port"),
            ("h:65536", "the highest is 65535"),
        ] {
            let message = address(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }
}
