//! `acceptd --handler chat` beside the textbook's chat, Tokio's and ngircd. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench --bench chat                  # about eight minutes
//!     cargo bench -p acceptd-bench --bench chat -- --quick       # under half a minute: that it works, for no figure
//!     cargo bench -p acceptd-bench --bench chat -- "100 members" # only the works whose names have this in them
//!     cargo bench -p acceptd-bench --bench chat -- --rounds=3    # fewer rounds
//!
//! It builds the program, and in each round measures each size of the room with each server in turn, started anew, so
//! that whatever else the machine does falls on all of them. The tables go to standard output and, with each sample of
//! each round, to `chat.md` and `chat.json` in `target/compare/`. A bar that is missed is said and no error; a message
//! that does not arrive, or not as it was, or out of its turn, is one.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use acceptd_bench::command_line::{self, Options};
use acceptd_bench::machine;

mod load;
mod report;
mod servers;
mod works;

use report::Report;
use servers::Server;
use works::Scale;

fn main() -> ExitCode {
    command_line::run("chat", compare)
}

fn compare(options: &Options) -> io::Result<Vec<String>> {
    let scale = if options.is_quick { Scale::QUICK } else { Scale::FULL };
    let sizes: Vec<usize> =
        works::SIZES.into_iter().filter(|members| options.selects(&works::name(*members))).collect();
    if sizes.is_empty() {
        return Err(options.no_match_error());
    }
    let root = machine::repository_root()?;
    let acceptd = machine::build_acceptd(root, env!("CARGO_BIN_EXE_textbook-chat"))?;
    machine::raise_descriptor_limit()?;

    let mut report = Report::default();
    let mut servers = Vec::new();
    for server in Server::ALL {
        match server.why_not(&acceptd)? {
            Some(why) => report.skip(server, why),
            None => servers.push(server),
        }
    }
    for round in 0..options.rounds {
        for members in sizes.iter().copied() {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, works::name(members));
            // Nobody is always the first, or always after the same other one.
            let mut order = servers.clone();
            order.rotate_left(round / 2 % servers.len());
            if !round.is_multiple_of(2) {
                order.reverse();
            }
            for server in order {
                let measured =
                    server.start(&acceptd).and_then(|running| works::measure(server, &running, members, scale));
                match measured {
                    Ok(figures) => report.add(round, members, server, figures),
                    Err(error) => report.fail(members, server, &error),
                }
            }
        }
    }
    write(&report, root)?;
    Ok(report.failures().to_vec())
}

fn write(report: &Report, root: &Path) -> io::Result<()> {
    let folder = root.join("target/compare");
    fs::create_dir_all(&folder)?;
    let ngircd = servers::version_of_ngircd().map_or_else(String::new, |version| format!("; {version}"));
    let machine = format!("{}{ngircd}", machine::describe()?);
    let text = format!("{machine}\n\n{}", report.markdown());
    println!("{text}");
    fs::write(folder.join("chat.md"), text)?;
    fs::write(folder.join("chat.json"), format!("{:#}\n", report.json(&machine)))?;
    eprintln!("written to {}", folder.display());
    Ok(())
}
