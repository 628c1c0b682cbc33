//! The protocol without a connection, with one, and with a server.

mod connection;
mod server;
mod session;
