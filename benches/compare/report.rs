//! The report: ratios of acceptd to each peer, as medians over the rounds with the lowest and highest round.

use std::collections::BTreeMap;
use std::fmt::Write;

use acceptd_bench::metric::{Measurements, Metric};
use acceptd_bench::ratio::{self, Ratio};
use serde_json::{Value, json};

use crate::peers::Peer;
use crate::workloads::Workload;

/// All samples of all rounds, in the order of the workloads.
#[derive(Default)]
pub struct Report {
    workloads: Vec<Workload>,
    /// By index of the workload, peer and metric; then by round, because a peer may fail in some rounds.
    samples: BTreeMap<(usize, Peer, Metric), BTreeMap<usize, f64>>,
    failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, round: usize, workload: Workload, peer: Peer, measurements: Measurements) {
        let index = self.index_of(workload);
        for (metric, value) in measurements {
            self.samples.entry((index, peer, metric)).or_default().insert(round, value);
        }
    }

    pub fn fail(&mut self, workload: Workload, peer: Peer, why: &str) {
        self.index_of(workload);
        self.failures.push(format!("{} did not do \"{}\": {why}", peer.name(), workload.name()));
    }

    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn index_of(&mut self, workload: Workload) -> usize {
        self.workloads.iter().position(|known| *known == workload).unwrap_or_else(|| {
            self.workloads.push(workload);
            self.workloads.len() - 1
        })
    }

    /// The median of a peer's samples.
    pub fn median(&self, workload: Workload, peer: Peer, metric: Metric) -> Option<f64> {
        let index = self.workloads.iter().position(|known| *known == workload)?;
        self.samples.get(&(index, peer, metric)).map(median)
    }

    /// acceptd's median divided by the peer's, over the rounds that have both.
    pub fn ratio(&self, workload: Workload, peer: Peer, metric: Metric) -> Option<Ratio> {
        let index = self.workloads.iter().position(|known| *known == workload)?;
        let acceptd_rounds = self.samples.get(&(index, Peer::Acceptd, metric))?;
        let peer_rounds = self.samples.get(&(index, peer, metric))?;
        let both = acceptd_rounds.iter().filter_map(|(round, acceptd)| Some((*acceptd, *peer_rounds.get(round)?)));
        let (acceptd, peer): (Vec<f64>, Vec<f64>) = both.unzip();
        Ratio::new(&acceptd, &peer)
    }

    /// The table of ratios: a row for each workload and metric, a column for each peer.
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
        for (index, workload) in self.workloads.iter().enumerate() {
            let acceptd_keys = self.samples.keys().filter(|(other, peer, _)| *other == index && *peer == Peer::Acceptd);
            for metric in acceptd_keys.map(|(_, _, metric)| *metric) {
                if metric.is_absolute() {
                    continue;
                }
                let _ = write!(table, "| {} | {} |", workload.name(), metric.name());
                for peer in &peers {
                    let _ = match self.ratio(*workload, *peer, metric) {
                        Some(ratio) => write!(table, " {ratio} |"),
                        None => write!(table, " |"),
                    };
                }
                table.push('\n');
            }
        }
        table
    }

    /// The table of metrics that are not shown as ratios: the median of each peer.
    pub fn absolute(&self) -> String {
        let mut table = "| work | figure | peer | median |\n|---|---|---|---|\n".to_owned();
        for ((index, peer, metric), samples) in self.samples.iter().filter(|((_, _, metric), _)| metric.is_absolute()) {
            let workload = self.workloads.get(*index).map(|workload| workload.name()).unwrap_or_default();
            let _ = writeln!(table, "| {workload} | {} | {} | {:.3} |", metric.name(), peer.name(), median(samples));
        }
        table
    }

    /// All samples of all rounds, for programs.
    pub fn json(&self) -> Value {
        let samples = self.samples.iter().map(|((index, peer, metric), samples)| {
            json!({
                "work": self.workloads.get(*index).map(|workload| workload.name()),
                "peer": peer.name(),
                "figure": metric.name(),
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
