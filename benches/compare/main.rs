//! acceptd beside what a user would pick instead. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench                  # about twenty minutes
//!     cargo bench -p acceptd-bench -- --quick       # under a minute: does everything once, for no figure
//!     cargo bench -p acceptd-bench -- "50 busy"     # only the works whose names have this in them
//!     cargo bench -p acceptd-bench -- --rounds=3    # fewer rounds
//!
//! It builds the program, starts each peer as a process of its own, drives it, and goes on to the next one, so that
//! whatever else the machine does falls on all of them. The table goes to standard output, `results.md`, `results.json`
//! and the charts to `target/compare/`. Nothing is judged here but correctness: a byte that comes back wrong is an
//! error.

use std::fs;
use std::io;
use std::process::ExitCode;

use acceptd_bench::command_line::{self, Asked};
use acceptd_bench::machine;

mod aims;
mod charts;
mod load;
mod peers;
mod report;
mod work;

use peers::Peer;
use report::Report;
use work::{Scale, Work};

fn main() -> ExitCode {
    command_line::run("compare", compare)
}

fn compare(asked: &Asked) -> io::Result<Vec<String>> {
    let scale = if asked.is_quick { Scale::QUICK } else { Scale::FULL };
    let works: Vec<Work> = scale.works().into_iter().filter(|work| asked.wants(&work.name())).collect();
    if works.is_empty() {
        return Err(asked.nothing_found());
    }
    let root = machine::root()?;
    let acceptd = machine::build(root, env!("CARGO_BIN_EXE_textbook"))?;
    machine::raise_descriptors()?;

    let mut report = Report::default();
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| peer.is_installed()).collect();
    for round in 0..asked.rounds {
        for work in works.iter().copied() {
            eprintln!("round {} of {}: {}", round + 1, asked.rounds, work.name());
            let mut peers: Vec<Peer> = peers.iter().copied().filter(|peer| work.suits(*peer)).collect();
            // Nobody is always the first, or always after the same other one.
            let first = round % peers.len();
            peers.rotate_left(first);
            for peer in peers {
                match work.measure(peer, &acceptd, scale) {
                    Ok(figures) => report.add(round, work, peer, figures),
                    Err(error) => report.add_failure(work, peer, &error.to_string()),
                }
            }
        }
    }

    let folder = root.join("target/compare");
    fs::create_dir_all(&folder)?;
    let machine = machine::line()?;
    let aims = aims::reached(&report, scale.crowd(), scale.stream());
    let text = format!("{machine}\n\n{}\n{}\n{aims}", report.markdown(), report.absolute());
    println!("{text}");
    fs::write(folder.join("results.md"), text)?;
    fs::write(folder.join("results.json"), format!("{:#}\n", report.json()))?;
    charts::draw(&report, scale, &folder).map_err(io::Error::other)?;
    eprintln!("written to {}", folder.display());
    Ok(report.failures().to_vec())
}
