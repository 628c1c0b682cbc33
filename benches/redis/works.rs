//! What is measured, with which options of the servers, and the bar for each ratio.

use std::io;
use std::time::Duration;

use crate::load;
use crate::servers::Server;

/// Two servers that promise the same, and what they are asked to do.
pub struct Setup {
    pub name: &'static str,
    /// What redis-server is told beside its port and folder.
    pub redis: &'static [&'static str],
    /// What acceptd is told beside its address; [`FILE`] stands for a file in its folder.
    pub acceptd: &'static [&'static str],
    /// Whether fsync has to mean something in the folders of the servers.
    pub is_durable: bool,
    pub works: &'static [Work],
}

/// Stands for a path in the server's own folder.
pub const FILE: &str = "FILE";

const VOLATILE: &[&str] = &["--save", "", "--appendonly", "no"];

pub const SETUPS: [Setup; 3] = [
    Setup {
        name: "in memory",
        redis: VOLATILE,
        acceptd: &[],
        is_durable: false,
        works: &[
            Work::Commands { test: "SET", clients: 50, pipeline: 1, bar: Some(1.0) },
            Work::Commands { test: "GET", clients: 50, pipeline: 1, bar: Some(1.0) },
            Work::Commands { test: "SET", clients: 50, pipeline: 16, bar: Some(1.3) },
            Work::Commands { test: "GET", clients: 50, pipeline: 16, bar: Some(1.3) },
            Work::Commands { test: "SET", clients: 1, pipeline: 1, bar: Some(1.0) },
            Work::Commands { test: "GET", clients: 1, pipeline: 1, bar: Some(1.0) },
            Work::Commands { test: "SET", clients: 500, pipeline: 1, bar: Some(0.9) },
            Work::Commands { test: "GET", clients: 500, pipeline: 1, bar: Some(0.9) },
            Work::Commands { test: "INCR", clients: 50, pipeline: 1, bar: None },
            Work::Commands { test: "MSET", clients: 50, pipeline: 1, bar: None },
        ],
    },
    Setup {
        name: "durable",
        redis: &["--save", "", "--appendonly", "yes", "--appendfsync", "always"],
        acceptd: &["--store", FILE],
        is_durable: true,
        works: &[
            Work::Commands { test: "SET", clients: 50, pipeline: 1, bar: Some(1.0) },
            Work::Commands { test: "SET", clients: 50, pipeline: 16, bar: Some(1.0) },
        ],
    },
    // Servers of its own, which hold nothing yet.
    Setup { name: "size", redis: VOLATILE, acceptd: &[], is_durable: false, works: &[Work::Size { bar: 1.2 }] },
];

/// One thing to measure, and what acceptd's figure divided by Redis's should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// A test of redis-benchmark: at least `bar` times as many requests a second.
    Commands { test: &'static str, clients: usize, pipeline: usize, bar: Option<f64> },
    /// Many small keys: at most `bar` times the memory.
    Size { bar: f64 },
}

/// What a measurement gives.
pub type Figures = Vec<(Figure, f64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Figure {
    /// Requests a second.
    Rate,
    /// Milliseconds.
    P50,
    /// Milliseconds.
    P99,
    /// Bytes for each key, as the server counts them.
    UsedMemory,
    /// Bytes for each key, as the system counts them.
    Resident,
}

impl Figure {
    pub fn name(self) -> &'static str {
        match self {
            Figure::Rate => "rate",
            Figure::P50 => "p50",
            Figure::P99 => "p99",
            Figure::UsedMemory => "used_memory",
            Figure::Resident => "resident",
        }
    }
}

/// How large the works are: all of it, or enough to see that it works.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    time: Duration,
    keys: usize,
}

impl Scale {
    pub const FULL: Scale = Scale { time: Duration::from_secs(1), keys: 1_000_000 };
    pub const QUICK: Scale = Scale { time: Duration::from_millis(100), keys: 100_000 };
}

impl Work {
    pub fn name(self, scale: Scale) -> String {
        match self {
            Work::Commands { test, clients: 1, pipeline, .. } => format!("{test}, 1 client, pipeline {pipeline}"),
            Work::Commands { test, clients, pipeline, .. } => format!("{test}, {clients} clients, pipeline {pipeline}"),
            Work::Size { .. } => format!("{} keys of 16 B, values of 32 B", scale.keys),
        }
    }

    /// # Errors
    ///
    /// The server did not answer, or not as it should.
    pub fn measure(self, server: &Server, scale: Scale) -> io::Result<Figures> {
        match self {
            Work::Commands { test, clients, pipeline, .. } => {
                load::commands(server.addr(), test, clients, pipeline, scale.time)
            }
            Work::Size { .. } => {
                let before = server.resident()?;
                let (client, used) = load::fill(server.addr(), scale.keys)?;
                let resident = (server.resident()? - before) / scale.keys as f64;
                drop(client);
                Ok(vec![(Figure::UsedMemory, used), (Figure::Resident, resident)])
            }
        }
    }
}
