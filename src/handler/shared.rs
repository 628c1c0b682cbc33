//! Code that several handlers share. It recognizes and answers what clients send to a line protocol besides plain lines:
//! telnet commands, HTTP and TLS.

pub(crate) mod http;
pub(crate) mod telnet;
pub(crate) mod tls;
