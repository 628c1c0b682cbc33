//! What was measured, as ratios of acceptd to each peer: medians over the rounds, and how far the rounds were apart.

use std::collections::BTreeMap;
use std::fmt::Write;

use acceptd_bench::ratio::{self, Ratio};
use serde_json::{Value, json};

use crate::peers::Peer;
use crate::work::{Figure, Figures, Work};

/// All that was measured, in the order of the works.
#[derive(Default)]
pub struct Report {
    works: Vec<Work>,
    /// By round, since a peer may fail in one.
    samples: BTreeMap<(usize, Peer, Figure), BTreeMap<usize, f64>>,
    failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, round: usize, work: Work, peer: Peer, figures: Figures) {
        let place = self.place(work);
        for (figure, value) in figures {
            self.samples.entry((place, peer, figure)).or_default().insert(round, value);
        }
    }

    pub fn add_failure(&mut self, work: Work, peer: Peer, why: &str) {
        self.place(work);
        self.failures.push(format!("{} did not do \"{}\": {why}", peer.name(), work.name()));
    }

    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn place(&mut self, work: Work) -> usize {
        self.works.iter().position(|known| *known == work).unwrap_or_else(|| {
            self.works.push(work);
            self.works.len() - 1
        })
    }

    /// A peer's median.
    pub fn median(&self, work: Work, peer: Peer, figure: Figure) -> Option<f64> {
        let place = self.works.iter().position(|known| *known == work)?;
        self.samples.get(&(place, peer, figure)).map(median)
    }

    /// acceptd's figure divided by the peer's.
    pub fn ratio(&self, work: Work, peer: Peer, figure: Figure) -> Option<Ratio> {
        let place = self.works.iter().position(|known| *known == work)?;
        let ours = self.samples.get(&(place, Peer::Acceptd, figure))?;
        let theirs = self.samples.get(&(place, peer, figure))?;
        let both = ours.iter().filter_map(|(round, ours)| theirs.get(round).map(|theirs| (*ours, *theirs)));
        let (ours, theirs): (Vec<f64>, Vec<f64>) = both.unzip();
        Ratio::new(&ours, &theirs)
    }

    /// The table: a row for each work and figure, a column for each peer.
    pub fn markdown(&self) -> String {
        let peers: Vec<Peer> = Peer::ALL
            .into_iter()
            .filter(|peer| *peer != Peer::Acceptd && self.samples.keys().any(|(_, other, _)| other == peer))
            .collect();
        let mut table = "| work | figure |".to_owned();
        for peer in &peers {
            let _ = write!(table, " {} |", peer.name());
        }
        let _ = write!(table, "\n|---|---|{}\n", "---|".repeat(peers.len()));
        for (place, work) in self.works.iter().enumerate() {
            let ours = self.samples.keys().filter(|(other, peer, _)| *other == place && *peer == Peer::Acceptd);
            for figure in ours.map(|(_, _, figure)| *figure) {
                if figure.is_absolute() {
                    continue;
                }
                let _ = write!(table, "| {} | {} |", work.name(), figure.name());
                for peer in &peers {
                    let _ = match self.ratio(*work, *peer, figure) {
                        Some(ratio) => write!(table, " {ratio} |"),
                        None => write!(table, " |"),
                    };
                }
                table.push('\n');
            }
        }
        table
    }

    /// What a ratio says little about: each peer's own figures.
    pub fn absolute(&self) -> String {
        let mut table = "| work | figure | peer | median |\n|---|---|---|---|\n".to_owned();
        for ((place, peer, figure), samples) in self.samples.iter().filter(|((_, _, figure), _)| figure.is_absolute()) {
            let work = self.works.get(*place).map(|work| work.name()).unwrap_or_default();
            let _ = writeln!(table, "| {work} | {} | {} | {:.3} |", figure.name(), peer.name(), median(samples));
        }
        table
    }

    /// Everything, for programs: each sample of each round.
    pub fn json(&self) -> Value {
        let samples = self.samples.iter().map(|((place, peer, figure), samples)| {
            json!({
                "work": self.works.get(*place).map(|work| work.name()),
                "peer": peer.name(),
                "figure": figure.name(),
                "samples": samples.values().collect::<Vec<_>>(),
                "median": median(samples),
            })
        });
        json!({ "samples": samples.collect::<Vec<_>>(), "failures": self.failures })
    }
}

fn median(samples: &BTreeMap<usize, f64>) -> f64 {
    ratio::median(&samples.values().copied().collect::<Vec<_>>())
}
