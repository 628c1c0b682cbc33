//! [`Summary`]: what a server did in its life, as the program logs it at the end.

use std::fmt;
use std::time::Duration;

use crate::totals::Stats;

/// What a server did in its life, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Clients that were connected when the drain began and that left before its deadline.
    pub drained: usize,
    /// Clients that were cut.
    pub cut: usize,
    /// Clients among `cut` whose handler has not returned yet. It computes, or waits for something else than its client.
    /// Such threads end with the process.
    pub stuck: usize,
    /// The counters of the server's whole life.
    pub stats: Stats,
    /// The time from binding to the end.
    pub uptime: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { drained, cut, stuck, stats, .. } = self;
        write!(f, "drained {drained}, cut {cut}")?;
        if *stuck > 0 {
            let are_in = if *stuck == 1 { "is stuck in its handler" } else { "are stuck in their handlers" };
            write!(f, ", of which {stuck} {are_in}")?;
        }
        write!(f, "; in all {} served, {} refused", stats.served, stats.refused)?;
        write!(f, ", {} panicked, {} bytes in, {} bytes out", stats.panicked, stats.bytes_in, stats.bytes_out)?;
        write!(f, ", up {:.1} s", self.uptime.as_secs_f64())
    }
}
