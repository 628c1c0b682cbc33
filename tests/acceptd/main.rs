//! Tests of the server and the program, one file per subject. Each test's name states the behaviour that it checks.
//!
//! Without the program and all handlers, the core and the line protocol are tested alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod admission;
#[cfg(feature = "daemon")]
mod binary;
#[cfg(feature = "daemon")]
mod chat;
mod client_ends;
mod deadlines;
mod echo;
mod endings;
#[cfg(feature = "daemon")]
mod handlers;
#[cfg(feature = "daemon")]
mod kv;
mod line;
#[cfg(feature = "daemon")]
mod log;
#[cfg(feature = "daemon")]
mod options;
mod outbox;
mod outbox_limits;
mod pairs;
mod progress;
#[cfg(feature = "daemon")]
mod readme;
mod server_handle;
mod shutdown;
#[cfg(feature = "daemon")]
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod waking;
