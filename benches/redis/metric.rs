//! The metrics, and the values that a measurement returns for them.

/// The values of one measurement.
pub type Measurements = Vec<(Metric, f64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Requests a second.
    Rate,
    /// Milliseconds.
    P50,
    /// Milliseconds.
    P99,
    /// Bytes for each key, as the server reports them.
    UsedMemory,
    /// Bytes for each key, as the kernel reports them.
    Resident,
}

impl Metric {
    pub fn name(self) -> &'static str {
        match self {
            Metric::Rate => "rate",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::UsedMemory => "used_memory",
            Metric::Resident => "resident",
        }
    }
}
