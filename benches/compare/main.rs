//! acceptd beside what a user would pick instead. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench                  # about a quarter of an hour
//!     cargo bench -p acceptd-bench -- --quick       # under a minute: does everything once, for no figure
//!     cargo bench -p acceptd-bench -- "50 busy"     # only the works whose names have this in them
//!     cargo bench -p acceptd-bench -- --rounds=3    # fewer rounds
//!
//! It builds the program, starts each peer as a process of its own, drives it, and goes on to the next one, so that
//! whatever else the machine does falls on all of them. The table goes to standard output, `results.md`, `results.json`
//! and the charts to `target/compare/`. Nothing is judged here but correctness: a byte that comes back wrong is an error.

use std::fs;
use std::io;
use std::process::ExitCode;

use acceptd_bench::machine;

mod aims;
mod charts;
mod load;
mod peers;
mod report;
mod work;

use peers::Peer;
use report::Report;
use work::Scale;

fn main() -> ExitCode {
    match compare() {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{}", failures.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> io::Result<Vec<String>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut scale = if quick { Scale::QUICK } else { Scale::FULL };
    let rounds = arguments.iter().find_map(|argument| argument.strip_prefix("--rounds=")?.parse().ok());
    scale.rounds = rounds.unwrap_or(scale.rounds);

    let root = machine::root()?;
    let acceptd = machine::build(root)?;
    machine::raise_descriptors()?;

    let mut report = Report::default();
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| peer.is_installed()).collect();
    for round in 0..scale.rounds {
        for work in scale.works() {
            if !wanted.is_empty() && !wanted.iter().any(|wanted| work.name().contains(*wanted)) {
                continue;
            }
            eprintln!("round {} of {}: {}", round + 1, scale.rounds, work.name());
            for peer in peers.iter().filter(|peer| work.suits(**peer)) {
                match work.measure(*peer, &acceptd, scale) {
                    Ok(figures) => report.add(work, *peer, figures),
                    Err(error) => report.add_failure(work, *peer, &error.to_string()),
                }
            }
        }
    }

    let folder = root.join("target/compare");
    fs::create_dir_all(&folder)?;
    let machine = machine::line()?;
    let aims = aims::reached(&report, scale.crowd(), scale.stream());
    let text = format!("{machine}\n\n{}\n{aims}", report.markdown());
    println!("{text}");
    fs::write(folder.join("results.md"), text)?;
    fs::write(folder.join("results.json"), format!("{:#}\n", report.json()))?;
    charts::draw(&report, scale, &folder).map_err(io::Error::other)?;
    eprintln!("written to {}", folder.display());
    Ok(report.failures().to_vec())
}
