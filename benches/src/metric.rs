//! The metrics of all comparisons, and the values that a measurement returns for them.

/// The values of one measurement.
pub type Measurements = Vec<(Metric, f64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Requests, connections, bytes or deliveries a second.
    Rate,
    /// The median latency. Microseconds; milliseconds where redis-benchmark measures.
    P50,
    /// The 99th percentile of the latencies, in the same unit.
    P99,
    /// Seconds until the last client has its response.
    Time,
    /// Bytes of memory for each key, as the server reports them.
    UsedMemory,
    /// Bytes of resident memory for each client or key, as the kernel reports them.
    Resident,
    /// Threads for all clients together.
    Threads,
    /// Milliseconds of CPU time a second while all clients are idle.
    IdleCpu,
    /// Seconds from SIGTERM to the exit.
    TimeToEnd,
}

impl Metric {
    /// Whether the report shows each peer's value and not a ratio. These values are often zero, and a peer that does
    /// not drain exits at once.
    pub fn is_absolute(self) -> bool {
        matches!(self, Metric::Threads | Metric::IdleCpu | Metric::TimeToEnd)
    }

    pub fn name(self) -> &'static str {
        match self {
            Metric::Rate => "rate",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::Time => "time",
            Metric::UsedMemory => "used_memory",
            Metric::Resident => "resident",
            Metric::Threads => "threads",
            Metric::IdleCpu => "idle CPU, ms a second",
            Metric::TimeToEnd => "SIGTERM to end, seconds",
        }
    }
}
