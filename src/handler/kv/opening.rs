//! How a connection begins, which tells the dialect: by its first byte after what telnet sends of itself and a byte order mark.

use std::io::{self, Write};

use super::reply::Dialect;
use super::request::LONGEST_LINE;
use super::{Protocol, protocol_error};
use crate::Connection;
use crate::handler::shared::telnet::{Item, Scanner};
use crate::handler::shared::tls;

/// What was found at the beginning.
enum Found {
    Dialect(Dialect),
    Tls,
    /// What telnet is to be sent.
    Telnet(&'static [u8]),
}

/// The dialect of a client, as soon as its first byte tells; `None` if it leaves before. What tells stays unread.
///
/// # Errors
///
/// The connection's, and for a client that speaks TLS, which has got an alert.
pub(super) fn dialect(client: &mut Connection, protocol: Protocol) -> io::Result<Option<Dialect>> {
    let mut scanner = Scanner::default();
    loop {
        match client.read_request(LONGEST_LINE, |unread| find(&mut scanner, unread, protocol))? {
            None => return Ok(None),
            Some(Found::Dialect(dialect)) => return Ok(Some(dialect)),
            Some(Found::Telnet(reply)) => client.write_all(reply)?,
            Some(Found::Tls) => {
                client.write_all(&tls::ALERT)?;
                return Err(protocol_error("TLS spoken to a plain port"));
            }
        }
    }
}

fn find(scanner: &mut Scanner, unread: &[u8], protocol: Protocol) -> Option<(Found, usize)> {
    if tls::is_handshake(unread)? {
        return Some((Found::Tls, unread.len()));
    }
    let may_be_dropped = match unread {
        [0xff, ..] | [0xef] | [0xef, 0xbb] | [0xef, 0xbb, 0xbf, ..] => scanner.scan(unread),
        _ => return Some((Found::Dialect(of_first_byte(unread, protocol)), 0)),
    };
    match may_be_dropped? {
        Item::Skip { length, reply } => Some((Found::Telnet(reply), length)),
        Item::Line(_) => Some((Found::Dialect(of_first_byte(unread, protocol)), 0)),
    }
}

fn of_first_byte(unread: &[u8], protocol: Protocol) -> Dialect {
    match protocol {
        Protocol::Auto if unread.first() == Some(&b'*') => Dialect::Resp2,
        Protocol::Auto | Protocol::Text => Dialect::Text,
        Protocol::Resp => Dialect::Resp2,
    }
}
