//! The list of measurements: the options of both servers, the workloads, and the bar for each ratio.

use std::time::Duration;

/// Options that make both servers give the same guarantees, and the workloads to measure with them.
pub struct Setup {
    pub name: &'static str,
    /// Arguments of redis-server, besides its port and directory.
    pub redis: &'static [&'static str],
    /// Arguments of acceptd, besides its address. [`FILE`] stands for a file in its directory.
    pub acceptd: &'static [&'static str],
    /// Whether the servers' directories have to be on a disk, where fsync has a cost.
    pub is_durable: bool,
    pub workloads: &'static [Workload],
}

/// A placeholder among acceptd's arguments for a path in the server's own directory.
pub const FILE: &str = "FILE";

const VOLATILE: &[&str] = &["--save", "", "--appendonly", "no"];

pub const SETUPS: [Setup; 3] = [
    Setup {
        name: "in memory",
        redis: VOLATILE,
        acceptd: &[],
        is_durable: false,
        workloads: &[
            Workload::Commands { test: "SET", clients: 50, pipeline: 1, bar: Some(1.0) },
            Workload::Commands { test: "GET", clients: 50, pipeline: 1, bar: Some(1.0) },
            Workload::Commands { test: "SET", clients: 50, pipeline: 16, bar: Some(1.3) },
            Workload::Commands { test: "GET", clients: 50, pipeline: 16, bar: Some(1.3) },
            Workload::Commands { test: "SET", clients: 1, pipeline: 1, bar: Some(1.0) },
            Workload::Commands { test: "GET", clients: 1, pipeline: 1, bar: Some(1.0) },
            Workload::Commands { test: "SET", clients: 500, pipeline: 1, bar: Some(0.9) },
            Workload::Commands { test: "GET", clients: 500, pipeline: 1, bar: Some(0.9) },
            Workload::Commands { test: "INCR", clients: 50, pipeline: 1, bar: None },
            Workload::Commands { test: "MSET", clients: 50, pipeline: 1, bar: None },
        ],
    },
    Setup {
        name: "durable",
        redis: &["--save", "", "--appendonly", "yes", "--appendfsync", "always"],
        acceptd: &["--store", FILE],
        is_durable: true,
        workloads: &[
            Workload::Commands { test: "SET", clients: 50, pipeline: 1, bar: Some(1.0) },
            Workload::Commands { test: "SET", clients: 50, pipeline: 16, bar: Some(1.0) },
        ],
    },
    // A setup of its own, so that the servers are empty at the start.
    Setup { name: "size", redis: VOLATILE, acceptd: &[], is_durable: false, workloads: &[Workload::Size { bar: 1.2 }] },
];

/// One workload, and the bar for acceptd's value divided by Redis's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Workload {
    /// A test of redis-benchmark. acceptd should serve at least `bar` times as many requests a second.
    Commands { test: &'static str, clients: usize, pipeline: usize, bar: Option<f64> },
    /// Many small keys. acceptd should need at most `bar` times the memory.
    Size { bar: f64 },
}

/// How long and how large the measurements are: in full, or just enough to check that they work.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Duration of each redis-benchmark run.
    pub time: Duration,
    /// Keys that [`Workload::Size`] writes.
    pub keys: usize,
}

impl Scale {
    pub const FULL: Scale = Scale { time: Duration::from_secs(1), keys: 1_000_000 };
    pub const QUICK: Scale = Scale { time: Duration::from_millis(100), keys: 100_000 };
}

impl Workload {
    pub fn name(self, scale: Scale) -> String {
        match self {
            Workload::Commands { test, clients: 1, pipeline, .. } => format!("{test}, 1 client, pipeline {pipeline}"),
            Workload::Commands { test, clients, pipeline, .. } => {
                format!("{test}, {clients} clients, pipeline {pipeline}")
            }
            Workload::Size { .. } => format!("{} keys of 16 B, values of 32 B", scale.keys),
        }
    }
}
