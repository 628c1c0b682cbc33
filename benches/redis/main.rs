//! `acceptd --handler kv` beside redis-server, driven by redis-benchmark. One command, at the root of the repository:
//!
//!     cargo bench -p acceptd-bench --bench redis                 # about four minutes
//!     cargo bench -p acceptd-bench --bench redis -- --quick      # under half a minute: that it works, for no figure
//!     cargo bench -p acceptd-bench --bench redis -- "SET, 50"    # only the works whose names have this in them
//!     cargo bench -p acceptd-bench --bench redis -- --rounds=3   # fewer rounds
//!
//! It builds the program, and in each round starts both servers anew and measures each work with one and then with the
//! other, so that whatever else the machine does falls on both. The table goes to standard output and, with each sample
//! of each round, to `redis.md` and `redis.json` in `target/compare/`. A bar that is missed is said and no error.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use acceptd_bench::command_line::{self, Asked};
use acceptd_bench::{machine, process};

mod folder;
mod load;
mod report;
mod servers;
mod works;

use report::Report;
use servers::{Server, Store};
use works::{SETUPS, Scale, Setup};

/// What has to be installed, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];

fn main() -> ExitCode {
    command_line::run("redis", compare)
}

fn compare(asked: &Asked) -> io::Result<Vec<String>> {
    let scale = if asked.is_quick { Scale::QUICK } else { Scale::FULL };
    let missing = PROGRAMS.into_iter().find(|(program, _)| !process::is_installed(program));
    if let Some((program, package)) = missing {
        let what_to_do = format!("{program} is not installed; on Debian: apt-get install {package}");
        return Err(io::Error::other(what_to_do));
    }
    let root = machine::root()?;
    let acceptd = machine::build(root, env!("CARGO_BIN_EXE_textbook"))?;
    machine::raise_descriptors()?;

    let mut report = Report::default();
    let is_wanted = |setup: &&Setup| setup.works.iter().any(|work| asked.wants(&work.name(scale)));
    let mut setups = Vec::new();
    for setup in SETUPS.iter().filter(is_wanted) {
        if setup.is_durable && folder::on_disk().is_none() {
            report.skip(setup, "no folder for temporary files is on a disk");
        } else {
            setups.push(setup);
        }
    }
    for round in 0..asked.rounds {
        for setup in &setups {
            eprintln!("round {} of {}: {}", round + 1, asked.rounds, setup.name);
            if let Err(error) = measure(setup, &acceptd, round, scale, asked, &mut report) {
                report.fail(setup, &error);
            }
        }
    }
    write(&report, scale, root)?;
    Ok(report.failures().to_vec())
}

/// One round of a setup. The first thing that fails ends it: a server that hangs or has died answers nobody.
fn measure(
    setup: &'static Setup,
    acceptd: &str,
    round: usize,
    scale: Scale,
    asked: &Asked,
    report: &mut Report,
) -> io::Result<()> {
    let redis = Server::start(Store::Redis, setup, acceptd)?;
    let acceptd = Server::start(Store::Acceptd, setup, acceptd)?;
    // Who comes first takes turns too.
    let order = if round.is_multiple_of(2) { [&redis, &acceptd] } else { [&acceptd, &redis] };
    for work in setup.works.iter().filter(|work| asked.wants(&work.name(scale))) {
        let mut figures = Vec::new();
        for server in order {
            let measured = work.measure(server, scale);
            let measured = measured.map_err(|error| {
                io::Error::new(error.kind(), format!("{}, {}: {error}", server.store.name(), work.name(scale)))
            })?;
            figures.push((server.store, measured));
        }
        // Both or none, so that a ratio is always one of the same round.
        for (store, figures) in figures {
            report.add(setup, work, store, figures);
        }
    }
    Ok(())
}

fn write(report: &Report, scale: Scale, root: &Path) -> io::Result<()> {
    let folder = root.join("target/compare");
    fs::create_dir_all(&folder)?;
    let machine = format!("{}; redis-server {}", machine::line()?, servers::version_of_redis()?);
    let text = format!("{machine}\n\n{}", report.markdown(scale));
    println!("{text}");
    fs::write(folder.join("redis.md"), text)?;
    fs::write(folder.join("redis.json"), format!("{:#}\n", report.json(scale, &machine)))?;
    eprintln!("written to {}", folder.display());
    Ok(())
}
