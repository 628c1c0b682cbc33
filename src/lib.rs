//! A TCP server that serves each client on a thread of its own. It does what makes a server hard once, for every protocol:
//! admission, deadlines, slow peers, panics, and a shutdown that ends.
//!
//! A protocol is a [`Handler`]: straight-line code that serves one client. This is a whole server:
//!
//! ```
//! use acceptd::{Connection, Limits, Server};
//! use std::io::{self, Write};
//!
//! fn greeter(client: &mut Connection) -> io::Result<()> {
//!     writeln!(client, "What is your name?")?;
//!     while let Some(name) = client.read_line()? {
//!         writeln!(client, "Hello, {}!", String::from_utf8_lossy(&name))?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> io::Result<()> {
//! let server = Server::bind("127.0.0.1:0", Limits::default())?;
//! let (address, shutdown) = (server.local_addr(), server.shutdown());
//! let running = std::thread::spawn(move || server.run(greeter));
//!
//! // A client, and the shutdown:
//! let mut client = std::net::TcpStream::connect(address)?;
//! client.write_all(b"Ann\n")?;
//! client.shutdown(std::net::Shutdown::Write)?;
//! assert_eq!(io::read_to_string(client)?, "What is your name?\nHello, Ann!\n");
//! shutdown.request();
//! println!("{}", running.join().expect("no error of a client ends a server"));
//! # Ok(())
//! # }
//! ```
//!
//! To write a protocol of your own, read the [`guide`]. It has a section for each topic, from framing to tests.
//!
//! To read the source, begin with `server.rs`, then `connection.rs`, `handler.rs`, and a handler of your choice.
//!
//! The library needs Linux, and Rust 1.91 or later. It logs through the [log](https://docs.rs/log) crate; without a logger, nothing is printed.
//!
//! Features, all of them on by default: `line`, `kv` and `chat` are the built-in handlers of these names, and `daemon` is the
//! command-line program. Without features, the library depends on log, rustix and socket2 alone.

#[cfg(not(target_os = "linux"))]
compile_error!("acceptd needs Linux: epoll, inherited socket options and /proc");

#[doc = include_str!("../docs/writing-a-protocol.md")]
pub mod guide {}
pub mod handler;
pub mod testing;

mod connection;
mod event_fd;
mod farewell;
mod limits;
mod outbox;
mod panics;
mod progress;
mod protocol_error;
mod server;
mod shutdown;
mod socket;
mod terminal;
mod throttle;
mod totals;
mod waker;

pub use connection::{ClientHandle, ClosedConnection, Connection, EndReason, KeepReading, Next, Paused};
pub use farewell::FarewellReason;
#[cfg(feature = "chat")]
pub use handler::Chat;
#[cfg(feature = "kv")]
pub use handler::Kv;
#[cfg(feature = "line")]
pub use handler::Line;
pub use handler::{Echo, Handler, WithFarewell};
pub use limits::Limits;
pub use outbox::Outbox;
pub use panics::log_panic;
pub use protocol_error::protocol_error;
pub use server::{Event, RunningServer, Server, ServerHandle, Summary, advice};
pub use shutdown::Shutdown;
pub use totals::Stats;
pub use waker::Waker;

/// The examples of the README compile and run. One of them uses a crate of the program's, for Ctrl-C.
#[cfg(all(doctest, feature = "daemon"))]
#[doc = include_str!("../README.md")]
struct Readme;
