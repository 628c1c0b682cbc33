//! A TCP server that gives every client a thread of its own.

mod bell;
mod connection;
pub mod handler;
mod limits;
mod panics;
mod server;
mod shutdown;
mod totals;

pub use connection::Connection;
pub use handler::{Echo, Farewell, Handler, Line};
pub use limits::Limits;
pub use panics::log_panic;
pub use server::{Server, Summary};
pub use shutdown::Shutdown;
pub use totals::Stats;
