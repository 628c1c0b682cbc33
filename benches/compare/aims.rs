//! What the ratios should be: the worst of the peers that are named, and the bar.

use std::fmt::Write;

use crate::peers::Peer;
use crate::report::Report;
use crate::work::{Figure, Work};

/// A bar for acceptd's figure divided by a peer's.
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

const TOKIO: &[Peer] = &[Peer::Tokio1K, Peer::Tokio64K];
const TEXTBOOK: &[Peer] = &[Peer::Textbook];

fn aims(crowd: usize, stream: usize) -> Vec<(Work, &'static [Peer], Figure, Bar)> {
    use Bar::{AtLeast, AtMost};
    let busy = |clients| Work::RequestResponse { clients, size: 64 };
    let burst = Work::Burst { clients: crowd / 5 };
    vec![
        (Work::ComeAndGo { at_once: 20 }, TOKIO, Figure::Rate, AtLeast(1.25)),
        (Work::ComeAndGo { at_once: 20 }, TEXTBOOK, Figure::Rate, AtLeast(1.5)),
        (burst, TOKIO, Figure::Time, AtMost(0.2)),
        (burst, TEXTBOOK, Figure::Time, AtMost(0.15)),
        (Work::Stream { bytes: stream }, &Peer::ALL, Figure::Rate, AtLeast(1.2)),
        (busy(50), TOKIO, Figure::Rate, AtLeast(1.0)),
        (busy(50), TOKIO, Figure::P99, AtMost(1.1)),
        (busy(1), TOKIO, Figure::Rate, AtLeast(1.0)),
        (busy(1), TOKIO, Figure::P50, AtMost(1.0)),
        (busy(8), TOKIO, Figure::Rate, AtLeast(1.0)),
        (busy(8), TOKIO, Figure::P50, AtMost(1.0)),
        (busy(200), TOKIO, Figure::Rate, AtLeast(0.75)),
        (busy(200), TOKIO, Figure::P99, AtMost(1.0)),
        (busy(200), TEXTBOOK, Figure::Rate, AtLeast(1.1)),
        (busy(1000), TOKIO, Figure::Rate, AtLeast(0.75)),
        (busy(1000), TOKIO, Figure::P99, AtMost(1.0)),
        (busy(1000), TEXTBOOK, Figure::Rate, AtLeast(1.1)),
        (Work::Idle { clients: crowd }, TEXTBOOK, Figure::Resident, AtMost(0.75)),
        (Work::BesideBurning { clients: 50 }, TOKIO, Figure::P99, AtMost(0.1)),
    ]
}

/// A line for each aim, with what was reached.
pub fn reached(report: &Report, crowd: usize, stream: usize) -> String {
    let mut lines = "| aim | bar | reached | |\n|---|---|---|---|\n".to_owned();
    for (work, peers, figure, bar) in aims(crowd, stream) {
        let others = peers.iter().filter(|peer| **peer != Peer::Acceptd);
        let ratios: Vec<f64> =
            others.filter_map(|peer| report.ratio(work, *peer, figure).map(|ratio| ratio.of_medians)).collect();
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
        let of_whom =
            if peers.len() > 2 { "best of all" } else { peers[0].name().split(',').next().unwrap_or_default() };
        let verdict = if met { "met" } else { "missed" };
        let _ =
            writeln!(lines, "| {}, {}, {of_whom} | {wanted} | {worst:.2} | {verdict} |", work.name(), figure.name());
    }
    if let Some(time) = report.median(Work::Idle { clients: crowd }, Peer::Acceptd, Figure::TimeToEnd) {
        let verdict = if time <= 1.0 { "met" } else { "missed" };
        let _ = writeln!(lines, "| SIGTERM with {crowd} idle, seconds | ≤ 1 | {time:.2} | {verdict} |");
    }
    lines
}
