//! Bounds on shutdown time, memory, threads and descriptors, with many clients and with hostile clients.
//!
//! These tests measure, or need the whole machine. They run one after the other, whatever the number of test threads.
//! Most of them run the program as a child process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chat;
mod crowds;
mod kv;
mod memory;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

static MACHINE: Mutex<()> = Mutex::new(());

/// No other test of this crate runs while this guard is held.
fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
