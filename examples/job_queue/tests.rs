//! The protocol without a connection, with one, and with a server.

mod connection;
mod requests;
mod server;
mod session;
