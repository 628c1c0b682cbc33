//! Medians and ratios over the rounds of a comparison.

use std::fmt;

/// The ratio of two medians, and the lowest and highest ratio of a single round.
#[derive(Clone, Copy)]
pub struct Ratio {
    pub of_medians: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Ratio {
    /// Divides `ours` by `theirs`, which have one sample for each round. Returns `None` if the ratio is not finite.
    pub fn new(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
        let rounds: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let of_medians = median(ours) / median(theirs);
        let lowest = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Ratio { of_medians, lowest, highest }).filter(|ratio| ratio.of_medians.is_finite())
    }
}

/// Formats the ratio as a table cell.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio { of_medians, lowest, highest } = self;
        write!(f, "**{of_medians:.2}** ({lowest:.2}–{highest:.2})")
    }
}

/// The median, or NaN if there are no samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
