//! What was measured, as ratios of acceptd to Redis, and whether they are what they should be.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use acceptd_bench::ratio::{Ratio, median};
use serde_json::{Value, json};

use crate::servers::Store;
use crate::works::{Figure, Figures, SETUPS, Scale, Setup, Work};

/// All that was measured.
#[derive(Default)]
pub struct Report {
    samples: BTreeMap<(&'static str, usize, Figure, Store), Vec<f64>>,
    skipped: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, setup: &'static Setup, work: &Work, store: Store, figures: Figures) {
        let place = setup.works.iter().position(|known| known == work).unwrap_or_default();
        for (figure, value) in figures {
            self.samples.entry((setup.name, place, figure, store)).or_default().push(value);
        }
    }

    /// A setup that can't be measured here.
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

    fn of(&self, setup: &'static Setup, place: usize, figure: Figure) -> Option<Compared> {
        let redis = self.samples.get(&(setup.name, place, figure, Store::Redis))?;
        let acceptd = self.samples.get(&(setup.name, place, figure, Store::Acceptd))?;
        let ratio = Ratio::new(acceptd, redis)?;
        Some(Compared { redis: median(redis), acceptd: median(acceptd), ratio })
    }

    /// The tables: rates and their p99, then bytes for each key.
    pub fn markdown(&self, scale: Scale) -> String {
        let (mut rates, mut sizes) = (String::new(), String::new());
        for setup in &SETUPS {
            for (place, work) in setup.works.iter().enumerate() {
                let name = work.name(scale);
                match *work {
                    Work::Commands { bar, .. } => {
                        let Some(rate) = self.of(setup, place, Figure::Rate) else { continue };
                        let p99 = self.of(setup, place, Figure::P99).map(|p99| p99.ratio.to_string());
                        let p99 = p99.unwrap_or_default();
                        let verdict = bar.map_or_else(|| " | ".to_owned(), |bar| rate.at_least(bar));
                        let _ = writeln!(rates, "| {}: {name} | {rate} | {verdict} | {p99} |", setup.name);
                    }
                    Work::Size { bar } => {
                        for figure in [Figure::UsedMemory, Figure::Resident] {
                            let Some(size) = self.of(setup, place, figure) else { continue };
                            let is_judged = figure == Figure::UsedMemory;
                            let verdict = if is_judged { size.at_most(bar) } else { " | ".to_owned() };
                            let _ = writeln!(sizes, "| {name}: {} | {size} | {verdict} |", figure.name());
                        }
                    }
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

    /// Everything, for programs: each sample of each round.
    pub fn json(&self, scale: Scale, machine: &str) -> Value {
        let samples = self.samples.iter().map(|((setup, place, figure, store), samples)| {
            let setups = SETUPS.iter().find(|known| known.name == *setup);
            let work = setups.and_then(|setup| setup.works.get(*place));
            json!({
                "setup": setup,
                "work": work.map(|work| work.name(scale)),
                "figure": figure.name(),
                "server": store.name(),
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

/// The medians of both, and their ratio. Shown as three cells.
struct Compared {
    redis: f64,
    acceptd: f64,
    ratio: Ratio,
}

impl Compared {
    fn at_least(&self, bar: f64) -> String {
        format!("≥ {bar:.1} | {}", verdict(self.ratio.of_medians >= bar))
    }

    fn at_most(&self, bar: f64) -> String {
        format!("≤ {bar:.1} | {}", verdict(self.ratio.of_medians <= bar))
    }
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} | {:.0} | {}", self.redis, self.acceptd, self.ratio)
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
