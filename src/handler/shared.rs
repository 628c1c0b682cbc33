//! What several protocols share. None of these is a protocol that acceptd serves: they are what clients of line protocols send
//! besides, or instead of, plain lines.

pub(crate) mod http;
pub(crate) mod telnet;
pub(crate) mod tls;
