//! The report: the results of each server, and the ratios of acceptd to its peers with their bars.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use acceptd_bench::metric::{Measurements, Metric};
use acceptd_bench::ratio::{Ratio, median};
use serde_json::{Value, json};

use crate::servers::ChatServer;
use crate::workloads::{self, METRICS, P99_BAR, PAIRS, SIZES};

/// All samples of all rounds.
#[derive(Default)]
pub struct Report {
    /// By members, server and metric; then by round, because a ratio compares samples of the same round, and a server
    /// may fail in some rounds.
    samples: BTreeMap<(usize, ChatServer, Metric), BTreeMap<usize, f64>>,
    skipped: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, round: usize, members: usize, server: ChatServer, measurements: Measurements) {
        for (metric, value) in measurements {
            self.samples.entry((members, server, metric)).or_default().insert(round, value);
        }
    }

    /// Records that a server can't be measured on this machine.
    pub fn skip(&mut self, server: ChatServer, why: &str) {
        let line = format!("left out: {}, since {why}", server.name());
        eprintln!("{line}");
        self.skipped.push(line);
    }

    pub fn fail(&mut self, members: usize, server: ChatServer, error: &io::Error) {
        let line = format!("{}, {}: {error}", workloads::name(members), server.name());
        eprintln!("{line}");
        self.failures.push(line);
    }

    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn samples(&self, members: usize, server: ChatServer, metric: Metric) -> Option<Vec<f64>> {
        let rounds = self.samples.get(&(members, server, metric))?;
        Some(rounds.values().copied().collect())
    }

    /// The ratio of two servers, over the rounds that have both.
    fn ratio(&self, members: usize, (ours, theirs): (ChatServer, ChatServer), metric: Metric) -> Option<Ratio> {
        let ours = self.samples.get(&(members, ours, metric))?;
        let theirs = self.samples.get(&(members, theirs, metric))?;
        let both = ours.iter().filter_map(|(round, ours)| Some((*ours, *theirs.get(round)?)));
        let (ours, theirs): (Vec<f64>, Vec<f64>) = both.unzip();
        Ratio::new(&ours, &theirs)
    }

    /// The tables: the results of each server, then the ratios.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let results = self.results();
        if !results.is_empty() {
            let head = "| | deliveries a second | p50, µs | p99, µs |\n|---|--:|--:|--:|";
            let _ = writeln!(text, "{head}\n{results}");
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

    fn results(&self) -> String {
        let mut rows = String::new();
        for members in SIZES {
            for server in ChatServer::ALL {
                let cells: Vec<String> = METRICS
                    .into_iter()
                    .filter_map(|metric| Some(with_spread(&self.samples(members, server, metric)?)))
                    .collect();
                if !cells.is_empty() {
                    let name = workloads::name(members);
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
                let Some(rate) = self.ratio(members, pair, Metric::Rate) else { continue };
                let Some(p99) = self.ratio(members, pair, Metric::P99) else { continue };
                let (ours, theirs) = pair;
                let bar = workloads::rate_bar(theirs, members);
                let rate = format!("{rate} | ≥ {bar:.1} | {}", verdict(rate.of_medians >= bar));
                let p99 = format!("{p99} | ≤ {P99_BAR:.1} | {}", verdict(p99.of_medians <= P99_BAR));
                let name = workloads::name(members);
                let _ = writeln!(rows, "| {name}: {} / {} | {rate} | {p99} |", ours.name(), theirs.name());
            }
        }
        rows
    }

    /// All samples of all rounds, for programs.
    pub fn json(&self, machine: &str) -> Value {
        let samples = self.samples.iter().map(|((members, server, metric), rounds)| {
            let samples: Vec<f64> = rounds.values().copied().collect();
            json!({
                "members": members,
                "server": server.name(),
                "figure": metric.name(),
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

/// Formats the median, the lowest and the highest sample.
fn with_spread(samples: &[f64]) -> String {
    let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.0} ({lowest:.0}–{highest:.0})", median(samples))
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
