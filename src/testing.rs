//! Testing a protocol: one connection without a server, and a server that lives as long as a scope.
//!
//! [`Connection::pair`](crate::Connection::pair) is for a handler's conversation, deadlines, outbox and farewell:
//!
//! ```
//! use acceptd::{Connection, EndReason, Limits};
//! use std::io::{self, Write};
//! use std::thread;
//!
//! fn greeter(client: &mut Connection) -> io::Result<()> {
//!     while let Some(name) = client.read_line()? {
//!         writeln!(client, "Hello, {}!", String::from_utf8_lossy(&name))?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> io::Result<()> {
//! let (connection, mut client) = Connection::pair(Limits::default())?;
//! let served = thread::spawn(move || connection.serve(&greeter));
//! client.send("Ann\n");
//! client.expect("Hello, Ann!\n");
//! client.drain();
//! client.expect("ERROR the server is shutting down\n");
//! client.expect_end();
//! assert_eq!(served.join().unwrap().reason, EndReason::Drained);
//! # Ok(())
//! # }
//! ```
//!
//! [`TestServer`] is for what takes several clients:
//!
//! ```
//! use acceptd::Echo;
//! use acceptd::testing::TestServer;
//!
//! let server = TestServer::start(Echo);
//! let (mut ann, mut bob) = (server.connect(), server.connect());
//! ann.send("hi");
//! ann.expect("hi");
//! bob.end_output();
//! bob.expect_end();
//! assert_eq!(server.stop().stats.served, 2);
//! ```
//!
//! Both panic where a test should fail. None of their waits is longer than [`PATIENCE`], or the time that a test sets in its
//! place.

#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::time::Duration;

mod client;
mod pair;
mod paired;
mod server;

pub use client::TestClient;
pub use server::TestServer;

/// How long a test waits for something that should happen at once: 20 seconds. It is long because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);
