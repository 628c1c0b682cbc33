//! What was measured, and the ratios of acceptd to its peers beside what they should be.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use acceptd_bench::ratio::{Ratio, median};
use serde_json::{Value, json};

use crate::servers::Server;
use crate::works::{self, BAR_OF_P99, Figure, Figures, PAIRS, SIZES};

/// All that was measured.
#[derive(Default)]
pub struct Report {
    /// By round, since a ratio is always one of the same round, and a measurement may fail.
    samples: BTreeMap<(usize, Server, Figure), BTreeMap<usize, f64>>,
    skipped: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, round: usize, members: usize, server: Server, figures: Figures) {
        for (figure, value) in figures {
            self.samples.entry((members, server, figure)).or_default().insert(round, value);
        }
    }

    /// A server that can't be measured here.
    pub fn skip(&mut self, server: Server, why: &str) {
        let line = format!("left out: {}, since {why}", server.name());
        eprintln!("{line}");
        self.skipped.push(line);
    }

    pub fn fail(&mut self, members: usize, server: Server, error: &io::Error) {
        let line = format!("{}, {}: {error}", works::name(members), server.name());
        eprintln!("{line}");
        self.failures.push(line);
    }

    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn samples(&self, members: usize, server: Server, figure: Figure) -> Option<Vec<f64>> {
        let rounds = self.samples.get(&(members, server, figure))?;
        Some(rounds.values().copied().collect())
    }

    /// Of the rounds in which both were measured.
    fn ratio(&self, members: usize, (ours, theirs): (Server, Server), figure: Figure) -> Option<Ratio> {
        let ours = self.samples.get(&(members, ours, figure))?;
        let theirs = self.samples.get(&(members, theirs, figure))?;
        let both = ours.iter().filter_map(|(round, ours)| Some((*ours, *theirs.get(round)?)));
        let (ours, theirs): (Vec<f64>, Vec<f64>) = both.unzip();
        Ratio::new(&ours, &theirs)
    }

    /// The figures of each server, then the ratios.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let figures = self.figures();
        if !figures.is_empty() {
            let head = "| | deliveries a second | p50, µs | p99, µs |\n|---|--:|--:|--:|";
            let _ = writeln!(text, "{head}\n{figures}");
        }
        let ratios = self.ratios();
        if !ratios.is_empty() {
            let head = "| | deliveries a second | bar | | p99 | bar | |\n|---|---|---|---|---|---|---|";
            let _ = writeln!(text, "{head}\n{ratios}");
        }
        for line in &self.skipped {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn figures(&self) -> String {
        let mut rows = String::new();
        for members in SIZES {
            for server in Server::ALL {
                let cells: Vec<String> = Figure::ALL
                    .into_iter()
                    .filter_map(|figure| Some(with_spread(&self.samples(members, server, figure)?)))
                    .collect();
                if !cells.is_empty() {
                    let name = works::name(members);
                    let _ = writeln!(rows, "| {name}: {} | {} |", server.name(), cells.join(" | "));
                }
            }
        }
        rows
    }

    fn ratios(&self) -> String {
        let mut rows = String::new();
        for members in SIZES {
            for pair in PAIRS {
                let Some(rate) = self.ratio(members, pair, Figure::Rate) else { continue };
                let Some(p99) = self.ratio(members, pair, Figure::P99) else { continue };
                let (ours, theirs) = pair;
                let bar = works::bar_of_rate(theirs, members);
                let rate = format!("{rate} | ≥ {bar:.1} | {}", verdict(rate.of_medians >= bar));
                let p99 = format!("{p99} | ≤ {BAR_OF_P99:.1} | {}", verdict(p99.of_medians <= BAR_OF_P99));
                let name = works::name(members);
                let _ = writeln!(rows, "| {name}: {} / {} | {rate} | {p99} |", ours.name(), theirs.name());
            }
        }
        rows
    }

    /// Everything, for programs: each sample of each round.
    pub fn json(&self, machine: &str) -> Value {
        let samples = self.samples.iter().map(|((members, server, figure), rounds)| {
            let samples: Vec<f64> = rounds.values().copied().collect();
            json!({
                "members": members,
                "server": server.name(),
                "figure": figure.name(),
                "samples": samples,
                "median": median(&samples),
            })
        });
        json!({
            "machine": machine,
            "samples": samples.collect::<Vec<_>>(),
            "skipped": self.skipped,
            "failures": self.failures,
        })
    }
}

/// The median, the lowest and the highest.
fn with_spread(samples: &[f64]) -> String {
    let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.0} ({lowest:.0}–{highest:.0})", median(samples))
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
