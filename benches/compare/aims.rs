//! The aims: a bar for the ratio of acceptd to each of the named peers.

use std::fmt::Write;

use acceptd_bench::metric::Metric;

use crate::peers::Peer;
use crate::report::Report;
use crate::workloads::{BUSY_CLIENTS, BUSY_SIZES, CONCURRENT_CONNECTS, Workload};

/// A bar for acceptd's value divided by the peer's.
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

const BARE_LOOP: &[Peer] = &[Peer::BareLoop];
const TOKIO: &[Peer] = &[Peer::Tokio1K, Peer::Tokio64K];
const TEXTBOOK: &[Peer] = &[Peer::Textbook];

/// Busy clients have the bare loop as their bar, because no server with a thread for each client answers more requests.
fn aims(max_clients: usize, stream_bytes: usize) -> Vec<(Workload, &'static [Peer], Metric, Bar)> {
    use Bar::{AtLeast, AtMost};
    let burst = Workload::Burst { clients: max_clients / 5 };
    let mut aims = Vec::new();
    for size in BUSY_SIZES {
        for clients in BUSY_CLIENTS {
            let busy = Workload::RequestResponse { clients, size };
            aims.push((busy, BARE_LOOP, Metric::Rate, AtLeast(0.98)));
            aims.push((busy, BARE_LOOP, Metric::P99, AtMost(1.1)));
            if clients >= 200 {
                aims.push((busy, TOKIO, Metric::P99, AtMost(1.0)));
            }
        }
    }
    for concurrent in CONCURRENT_CONNECTS {
        aims.push((Workload::ConnectEchoClose { concurrent }, TOKIO, Metric::Rate, AtLeast(1.0)));
    }
    aims.extend([
        (Workload::ConnectEchoClose { concurrent: 20 }, TEXTBOOK, Metric::Rate, AtLeast(1.5)),
        (burst, TOKIO, Metric::Time, AtMost(0.2)),
        (burst, TEXTBOOK, Metric::Time, AtMost(0.15)),
        (Workload::Stream { bytes: stream_bytes }, &Peer::ALL, Metric::Rate, AtLeast(1.2)),
        (Workload::RequestResponse { clients: 200, size: 64 }, TEXTBOOK, Metric::Rate, AtLeast(1.1)),
        (Workload::RequestResponse { clients: 1000, size: 64 }, TEXTBOOK, Metric::Rate, AtLeast(1.1)),
        (Workload::Idle { clients: max_clients }, TEXTBOOK, Metric::Resident, AtMost(0.75)),
        (Workload::BesideCpuHeavy { clients: 50 }, TOKIO, Metric::P99, AtMost(0.1)),
    ]);
    aims
}

/// A table row for each aim, with the worst ratio among its peers.
pub fn reached(report: &Report, max_clients: usize, stream_bytes: usize) -> String {
    let mut lines = "| aim | bar | reached | |\n|---|---|---|---|\n".to_owned();
    for (workload, peers, metric, bar) in aims(max_clients, stream_bytes) {
        let others = peers.iter().filter(|peer| **peer != Peer::Acceptd);
        let ratios: Vec<f64> =
            others.filter_map(|peer| report.ratio(workload, *peer, metric).map(|ratio| ratio.of_medians)).collect();
        if ratios.is_empty() {
            continue;
        }
        let ratios = ratios.into_iter();
        let (worst, wanted, met) = match bar {
            Bar::AtLeast(bar) => {
                let worst = ratios.fold(f64::INFINITY, f64::min);
                (worst, format!("≥ {bar}"), worst >= bar)
            }
            Bar::AtMost(bar) => {
                let worst = ratios.fold(f64::NEG_INFINITY, f64::max);
                (worst, format!("≤ {bar}"), worst <= bar)
            }
        };
        let peer_name =
            if peers.len() > 2 { "best of all" } else { peers[0].name().split(',').next().unwrap_or_default() };
        let verdict = if met { "met" } else { "missed" };
        let _ = writeln!(
            lines,
            "| {}, {}, {peer_name} | {wanted} | {worst:.2} | {verdict} |",
            workload.name(),
            metric.name()
        );
    }
    if let Some(time) = report.median(Workload::Idle { clients: max_clients }, Peer::Acceptd, Metric::TimeToEnd) {
        let verdict = if time <= 1.0 { "met" } else { "missed" };
        let _ = writeln!(lines, "| SIGTERM with {max_clients} idle, seconds | ≤ 1 | {time:.2} | {verdict} |");
    }
    lines
}
