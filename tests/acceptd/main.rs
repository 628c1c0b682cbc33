//! What a server promises, a file for each kind of promise; the sentences are in the names of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod admission;
mod binary;
mod chat;
mod deadlines;
mod echo;
mod endings;
mod handlers;
mod kv;
mod line;
mod log;
mod options;
mod outbox;
mod progress;
mod readme;
mod shutdown;
mod signals;
#[path = "../support/mod.rs"]
mod support;
