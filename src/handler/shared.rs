//! What several protocols share: what clients of line protocols send besides, or instead of, plain lines. None of these is
//! a protocol that acceptd serves.

pub(crate) mod http;
pub(crate) mod telnet;
pub(crate) mod tls;
