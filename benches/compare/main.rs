//! acceptd beside what a user would pick instead. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench                  # about twenty minutes
//!     cargo bench -p acceptd-bench -- --quick       # under a minute: a check that everything works
//!     cargo bench -p acceptd-bench -- "50 busy"     # only the workloads whose names contain this
//!     cargo bench -p acceptd-bench -- --rounds=3    # fewer rounds
//!
//! It builds acceptd. Each round measures each workload on every peer in turn, each peer in a new process, so that
//! background load on the machine affects all of them. The tables go to standard output; they, `results.json` and the
//! charts go to `target/compare/`. Only a wrong or missing byte is an error; a missed bar is not.

use std::fs;
use std::io;
use std::process::ExitCode;

use acceptd_bench::command_line::{self, Options};
use acceptd_bench::machine;

mod aims;
mod charts;
mod load;
mod peers;
mod report;
mod workloads;

use peers::Peer;
use report::Report;
use workloads::{Scale, Workload};

fn main() -> ExitCode {
    command_line::run("compare", compare)
}

fn compare(options: &Options) -> io::Result<Vec<String>> {
    let scale = if options.is_quick { Scale::QUICK } else { Scale::FULL };
    let workloads: Vec<Workload> =
        scale.workloads().into_iter().filter(|workload| options.selects(&workload.name())).collect();
    if workloads.is_empty() {
        return Err(options.no_match_error());
    }
    let root = machine::repository_root()?;
    let acceptd = machine::build_acceptd(root, env!("CARGO_BIN_EXE_textbook"))?;
    machine::raise_descriptor_limit()?;

    let mut report = Report::default();
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| peer.is_installed()).collect();
    for round in 0..options.rounds {
        for workload in workloads.iter().copied() {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, workload.name());
            let mut peers: Vec<Peer> = peers.iter().copied().filter(|peer| workload.applies_to(*peer)).collect();
            // The peers take turns in going first.
            let first = round % peers.len();
            peers.rotate_left(first);
            for peer in peers {
                match options.measure(|factor| workload.measure(peer, &acceptd, scale.stretched(factor))) {
                    Ok(measurements) => report.add(round, workload, peer, measurements),
                    Err(error) => report.fail(workload, peer, &error.to_string()),
                }
            }
        }
    }

    let directory = root.join("target/compare");
    fs::create_dir_all(&directory)?;
    let machine = machine::describe()?;
    let aims = aims::reached(&report, scale.max_clients, scale.stream_bytes);
    let text = format!("{machine}\n\n{}\n{}\n{aims}", report.markdown(), report.absolute());
    println!("{text}");
    fs::write(directory.join("results.md"), text)?;
    fs::write(directory.join("results.json"), format!("{:#}\n", report.json()))?;
    charts::draw(&report, scale, &directory).map_err(io::Error::other)?;
    eprintln!("written to {}", directory.display());
    Ok(report.failures().to_vec())
}
