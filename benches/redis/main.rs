//! `acceptd --handler kv` beside redis-server, driven by redis-benchmark. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench --bench redis                 # about four minutes
//!     cargo bench -p acceptd-bench --bench redis -- --quick      # under half a minute: a check that it works
//!     cargo bench -p acceptd-bench --bench redis -- "SET, 50"    # only the workloads whose names contain this
//!     cargo bench -p acceptd-bench --bench redis -- --rounds=3   # fewer rounds
//!
//! It builds acceptd. Each round starts both servers anew and measures each workload on one and then on the other, so
//! that background load on the machine affects both. The tables go to standard output and to `redis.md` in
//! `target/compare/`; `redis.json` has every sample of every round. A missed bar is reported, but is not an error.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use acceptd_bench::command_line::{self, Options};
use acceptd_bench::{machine, process};

mod load;
mod measure;
mod report;
mod servers;
mod setups;
mod temp_dir;

use report::Report;
use servers::{ServerKind, StoreProcess};
use setups::{SETUPS, Scale, Setup};

/// Programs that have to be installed, each with its Debian package.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];

fn main() -> ExitCode {
    command_line::run("redis", compare)
}

fn compare(options: &Options) -> io::Result<Vec<String>> {
    let scale = if options.is_quick { Scale::QUICK } else { Scale::FULL };
    let missing = PROGRAMS.into_iter().find(|(program, _)| !process::is_installed(program));
    if let Some((program, package)) = missing {
        let message = format!("{program} is not installed; on Debian: apt-get install {package}");
        return Err(io::Error::other(message));
    }
    let root = machine::repository_root()?;
    let acceptd = machine::build_acceptd(root, env!("CARGO_BIN_EXE_textbook"))?;
    machine::raise_descriptor_limit()?;

    let mut report = Report::default();
    let is_selected = |setup: &&Setup| setup.workloads.iter().any(|workload| options.selects(&workload.name(scale)));
    let mut setups = Vec::new();
    for setup in SETUPS.iter().filter(is_selected) {
        if setup.is_durable && temp_dir::parent_on_disk().is_none() {
            report.skip(setup, "no folder for temporary files is on a disk");
        } else {
            setups.push(setup);
        }
    }
    for round in 0..options.rounds {
        for setup in &setups {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, setup.name);
            if let Err(error) = run_round(setup, &acceptd, round, scale, options, &mut report) {
                report.fail(setup, &error);
            }
        }
    }
    write(&report, scale, root)?;
    Ok(report.failures().to_vec())
}

/// One round of a setup. The first failure ends the round, because a server that hangs or has died fails the rest too.
fn run_round(
    setup: &'static Setup,
    acceptd: &str,
    round: usize,
    scale: Scale,
    options: &Options,
    report: &mut Report,
) -> io::Result<()> {
    let redis = StoreProcess::start(ServerKind::Redis, setup, acceptd)?;
    let acceptd = StoreProcess::start(ServerKind::Acceptd, setup, acceptd)?;
    // The servers take turns in going first.
    let order = if round.is_multiple_of(2) { [&redis, &acceptd] } else { [&acceptd, &redis] };
    for workload in setup.workloads.iter().filter(|workload| options.selects(&workload.name(scale))) {
        let mut measured = Vec::new();
        for server in order {
            let measurements = measure::measure(*workload, server, scale).map_err(|error| {
                io::Error::new(error.kind(), format!("{}, {}: {error}", server.kind.name(), workload.name(scale)))
            })?;
            measured.push((server.kind, measurements));
        }
        // Both servers or neither, so that a ratio always compares values of the same round.
        for (kind, measurements) in measured {
            report.add(setup, workload, kind, measurements);
        }
    }
    Ok(())
}

fn write(report: &Report, scale: Scale, root: &Path) -> io::Result<()> {
    let directory = root.join("target/compare");
    fs::create_dir_all(&directory)?;
    let machine = format!("{}; redis-server {}", machine::describe()?, servers::redis_version()?);
    let text = format!("{machine}\n\n{}", report.markdown(scale));
    println!("{text}");
    fs::write(directory.join("redis.md"), text)?;
    fs::write(directory.join("redis.json"), format!("{:#}\n", report.json(scale, &machine)))?;
    eprintln!("written to {}", directory.display());
    Ok(())
}
