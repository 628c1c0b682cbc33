//! Tests of the server and the program, one file per subject. Each test's name states the behaviour that it checks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod admission;
mod binary;
mod chat;
mod client_ends;
mod deadlines;
mod echo;
mod endings;
mod handlers;
mod kv;
mod line;
mod log;
mod options;

mod outbox;
mod outbox_limits;
mod pairs;
mod progress;
mod readme;
mod server_handle;
mod shutdown;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod waking;
