//! What is bounded: time at shutdown, memory, threads and descriptors, under crowds and under those who mean no good.
//!
//! These tests measure, or need the machine for themselves: they run one after the other, whatever the number of test
//! threads. Most of them look at the program from outside.

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

/// Nothing else is tested while this is held.
fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
