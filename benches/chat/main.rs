//! `acceptd --handler chat` beside the textbook's chat, Tokio's and ngircd. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench --bench chat                  # about eight minutes
//!     cargo bench -p acceptd-bench --bench chat -- --quick       # under half a minute: a check that it works
//!     cargo bench -p acceptd-bench --bench chat -- "100 members" # only the workloads whose names contain this
//!     cargo bench -p acceptd-bench --bench chat -- --rounds=3    # fewer rounds
//!
//! It builds acceptd. Each round measures each size of the room on every server in turn, each server in a new process,
//! so that background load on the machine affects all of them. The tables go to standard output and to `chat.md` in
//! `target/compare/`; `chat.json` has every sample of every round. A missed bar is reported, but is not an error. A
//! message that is lost, changed, repeated or out of order is an error.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use acceptd_bench::command_line::{self, Options};
use acceptd_bench::machine;

mod load;
mod report;
mod servers;
mod workloads;

use report::Report;
use servers::ChatServer;
use workloads::Scale;

fn main() -> ExitCode {
    command_line::run("chat", compare)
}

fn compare(options: &Options) -> io::Result<Vec<String>> {
    let scale = if options.is_quick { Scale::QUICK } else { Scale::FULL };
    let sizes: Vec<usize> =
        workloads::SIZES.into_iter().filter(|members| options.selects(&workloads::name(*members))).collect();
    if sizes.is_empty() {
        return Err(options.no_match_error());
    }
    let root = machine::repository_root()?;
    let acceptd = machine::build_acceptd(root, env!("CARGO_BIN_EXE_textbook-chat"))?;
    machine::raise_descriptor_limit()?;

    let mut report = Report::default();
    let mut servers = Vec::new();
    for server in ChatServer::ALL {
        match server.unavailable_reason(&acceptd)? {
            Some(reason) => report.skip(server, reason),
            None => servers.push(server),
        }
    }
    for round in 0..options.rounds {
        for members in sizes.iter().copied() {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, workloads::name(members));
            // The servers take turns in going first, and the order is reversed in every second round.
            let mut order = servers.clone();
            order.rotate_left(round / 2 % servers.len());
            if !round.is_multiple_of(2) {
                order.reverse();
            }
            for server in order {
                let measured = options.measure(|factor| {
                    let running = server.start(&acceptd)?;
                    workloads::measure(server, &running, members, scale.stretched(factor))
                });
                match measured {
                    Ok(measurements) => report.add(round, members, server, measurements),
                    Err(error) => report.fail(members, server, &error),
                }
            }
        }
    }
    write(&report, root)?;
    Ok(report.failures().to_vec())
}

fn write(report: &Report, root: &Path) -> io::Result<()> {
    let directory = root.join("target/compare");
    fs::create_dir_all(&directory)?;
    let ngircd = servers::ngircd_version().map_or_else(String::new, |version| format!("; {version}"));
    let machine = format!("{}{ngircd}", machine::describe()?);
    let text = format!("{machine}\n\n{}", report.markdown());
    println!("{text}");
    fs::write(directory.join("chat.md"), text)?;
    fs::write(directory.join("chat.json"), format!("{:#}\n", report.json(&machine)))?;
    eprintln!("written to {}", directory.display());
    Ok(())
}
