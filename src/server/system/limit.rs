//! What is known of one limit of the system.

/// A limit of the system, whatever it limits.
#[derive(Debug)]
pub(super) struct Limit {
    /// What it limits, and its name.
    pub(super) what: &'static str,
    /// What to raise it with.
    pub(super) how: &'static str,
    /// How many clients it allows.
    pub(super) clients: u64,
    /// Whether it allows no further thread at this moment.
    pub(super) is_met: bool,
}
