//! Detects a client's dialect by its first byte. Telnet's own commands and a byte order mark may come before that byte.

use std::io::{self, Write};

use super::KvProtocol;
use super::reply::KvDialect;
use super::request::MAX_LINE;
use crate::Connection;
use crate::handler::shared::telnet::{Item, Scanner};
use crate::handler::shared::tls;
use crate::protocol_error::protocol_error;

/// What the unread input begins with.
enum Start {
    Dialect(KvDialect),
    Tls,
    /// A telnet command or a byte order mark, and the answer to it.
    Telnet(&'static [u8]),
}

/// Waits for the first byte and returns the dialect, or `None` if the client leaves before. The first byte stays
/// unread.
///
/// # Errors
///
/// Those of the connection, and one for a client that speaks TLS, after a TLS alert.
pub(super) fn detect(client: &mut Connection, protocol: KvProtocol) -> io::Result<Option<KvDialect>> {
    let mut scanner = Scanner::default();
    loop {
        match client.read_request(MAX_LINE, |unread| recognize(&mut scanner, unread, protocol))? {
            None => return Ok(None),
            Some(Start::Dialect(dialect)) => return Ok(Some(dialect)),
            Some(Start::Telnet(reply)) => client.write_all(reply)?,
            Some(Start::Tls) => {
                client.write_all(&tls::ALERT)?;
                return Err(protocol_error("TLS spoken to a plain port"));
            }
        }
    }
}

fn recognize(scanner: &mut Scanner, unread: &[u8], protocol: KvProtocol) -> Option<(Start, usize)> {
    if tls::is_handshake(unread)? {
        return Some((Start::Tls, unread.len()));
    }
    // Only telnet commands and a byte order mark are skipped. Everything else belongs to the first request.
    let item = match unread {
        [0xff, ..] | [0xef] | [0xef, 0xbb] | [0xef, 0xbb, 0xbf, ..] => scanner.scan(unread),
        _ => return Some((Start::Dialect(dialect_of(unread, protocol)), 0)),
    };
    match item? {
        Item::Skip { length, reply } => Some((Start::Telnet(reply), length)),
        Item::Line(_) => Some((Start::Dialect(dialect_of(unread, protocol)), 0)),
    }
}

fn dialect_of(unread: &[u8], protocol: KvProtocol) -> KvDialect {
    match protocol {
        KvProtocol::Auto if unread.first() == Some(&b'*') => KvDialect::Resp2,
        KvProtocol::Auto | KvProtocol::Text => KvDialect::Text,
        KvProtocol::Resp => KvDialect::Resp2,
    }
}
