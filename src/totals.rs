//! The server's counters, since it started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that all threads add to. Relaxed, because they only inform people and guard nothing.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) open: Counter,
    pub(crate) served: Counter,
    pub(crate) refused: Counter,
    pub(crate) panicked: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A server's counters: see [`Connection::stats`](crate::Connection::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Clients that are being served now.
    pub connections: u64,
    /// Clients served since the start, including those of now.
    pub served: u64,
    /// Clients refused since the start.
    pub refused: u64,
    /// Clients whose handler panicked.
    pub panicked: u64,
    /// Bytes received from clients that have left.
    pub bytes_in: u64,
    /// Bytes sent to clients that have left.
    pub bytes_out: u64,
}

impl Totals {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.open.get(),
            served: self.served.get(),
            refused: self.refused.get(),
            panicked: self.panicked.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}
