//! The report: ratios of acceptd to Redis, and whether they meet their bars.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use acceptd_bench::metric::{Measurements, Metric};
use acceptd_bench::ratio::{Ratio, median};
use serde_json::{Value, json};

use crate::servers::ServerKind;
use crate::setups::{SETUPS, Scale, Setup, Workload};

/// The cells of the bar and the verdict where there is no bar.
const EMPTY_CELLS: &str = " | ";

/// All samples of all rounds.
#[derive(Default)]
pub struct Report {
    /// By setup, index of the workload in the setup, metric and server.
    samples: BTreeMap<(&'static str, usize, Metric, ServerKind), Vec<f64>>,
    skipped: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, setup: &'static Setup, workload: &Workload, kind: ServerKind, measurements: Measurements) {
        let index = setup.workloads.iter().position(|known| known == workload).unwrap_or_default();
        for (metric, value) in measurements {
            self.samples.entry((setup.name, index, metric, kind)).or_default().push(value);
        }
    }

    /// Records that a setup can't be measured on this machine.
    pub fn skip(&mut self, setup: &Setup, why: &str) {
        let line = format!("left out: {}, since {why}", setup.name);
        eprintln!("{line}");
        self.skipped.push(line);
    }

    pub fn fail(&mut self, setup: &Setup, error: &io::Error) {
        self.failures.push(format!("{}: {error}", setup.name));
    }

    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn compare(&self, setup: &'static Setup, index: usize, metric: Metric) -> Option<Comparison> {
        let redis = self.samples.get(&(setup.name, index, metric, ServerKind::Redis))?;
        let acceptd = self.samples.get(&(setup.name, index, metric, ServerKind::Acceptd))?;
        let ratio = Ratio::new(acceptd, redis)?;
        Some(Comparison { redis: median(redis), acceptd: median(acceptd), ratio })
    }

    /// The tables: rates and their p99, then bytes for each key.
    pub fn markdown(&self, scale: Scale) -> String {
        let (mut rates, mut sizes) = (String::new(), String::new());
        for setup in &SETUPS {
            for (index, workload) in setup.workloads.iter().enumerate() {
                let name = workload.name(scale);
                match *workload {
                    Workload::Commands { bar, .. } => rates += &self.rate_row(setup, index, &name, bar),
                    Workload::Size { bar } => sizes += &self.size_rows(setup, index, &name, bar),
                }
            }
        }
        let mut text = String::new();
        if !rates.is_empty() {
            let head =
                "| requests a second | redis | acceptd | ratio | bar | | p99, ratio |\n|---|--:|--:|---|---|---|---|";
            let _ = writeln!(text, "{head}\n{rates}");
        }
        if !sizes.is_empty() {
            let head = "| bytes for each key | redis | acceptd | ratio | bar | |\n|---|--:|--:|---|---|---|";
            let _ = writeln!(text, "{head}\n{sizes}");
        }
        for line in &self.skipped {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn rate_row(&self, setup: &'static Setup, index: usize, name: &str, bar: Option<f64>) -> String {
        let Some(rate) = self.compare(setup, index, Metric::Rate) else { return String::new() };
        let p99 = self.compare(setup, index, Metric::P99).map(|p99| p99.ratio.to_string()).unwrap_or_default();
        let verdict = bar.map_or_else(|| EMPTY_CELLS.to_owned(), |bar| rate.at_least(bar));
        format!("| {}: {name} | {rate} | {verdict} | {p99} |\n", setup.name)
    }

    /// Only `used_memory` has a bar.
    fn size_rows(&self, setup: &'static Setup, index: usize, name: &str, bar: f64) -> String {
        let mut rows = String::new();
        for metric in [Metric::UsedMemory, Metric::Resident] {
            let Some(size) = self.compare(setup, index, metric) else { continue };
            let verdict = if metric == Metric::UsedMemory { size.at_most(bar) } else { EMPTY_CELLS.to_owned() };
            let _ = writeln!(rows, "| {name}: {} | {size} | {verdict} |", metric.name());
        }
        rows
    }

    /// All samples of all rounds, for programs.
    pub fn json(&self, scale: Scale, machine: &str) -> Value {
        let samples = self.samples.iter().map(|((setup, index, metric, kind), samples)| {
            let setups = SETUPS.iter().find(|known| known.name == *setup);
            let workload = setups.and_then(|setup| setup.workloads.get(*index));
            json!({
                "setup": setup,
                "work": workload.map(|workload| workload.name(scale)),
                "figure": metric.name(),
                "server": kind.name(),
                "samples": samples,
                "median": median(samples),
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

/// The medians of both servers, and their ratio. Displayed as three table cells.
struct Comparison {
    redis: f64,
    acceptd: f64,
    ratio: Ratio,
}

impl Comparison {
    fn at_least(&self, bar: f64) -> String {
        format!("≥ {bar:.1} | {}", verdict(self.ratio.of_medians >= bar))
    }

    fn at_most(&self, bar: f64) -> String {
        format!("≤ {bar:.1} | {}", verdict(self.ratio.of_medians <= bar))
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} | {:.0} | {}", self.redis, self.acceptd, self.ratio)
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
