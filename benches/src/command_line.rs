//! The command line and the exit code, which all comparisons share.

use std::env;
use std::io;
use std::process::ExitCode;

/// The default number of rounds.
const ROUNDS: usize = 5;

const USAGE: &str = "write [--quick] [--rounds=N] [part of a workload's name]...";

/// The options of a comparison.
#[derive(Debug)]
pub struct Options {
    /// Measure everything once and briefly, only to check that it works.
    pub is_quick: bool,
    /// How many times to measure each workload.
    pub rounds: usize,
    /// Parts of the names of the workloads to measure. Empty: measure all.
    filters: Vec<String>,
}

impl Options {
    /// Whether to measure the workload with this name.
    pub fn selects(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }

    /// The error when no workload matches.
    pub fn no_match_error(&self) -> io::Error {
        io::Error::other(format!("no workload has {:?} in its name", self.filters))
    }

    /// Returns `None` without `--bench`, which only `cargo bench` passes: there is nothing to measure then.
    fn parse(arguments: impl Iterator<Item = String>) -> io::Result<Option<Options>> {
        let (mut is_bench, mut is_quick, mut rounds, mut filters) = (false, false, None, Vec::new());
        for argument in arguments {
            match argument.as_str() {
                "--bench" => is_bench = true,
                "--quick" => is_quick = true,
                _ if argument.starts_with("--rounds=") => {
                    let number = argument.trim_start_matches("--rounds=").parse().ok().filter(|number| *number > 0);
                    rounds = Some(number.ok_or_else(|| io::Error::other(USAGE))?);
                }
                _ if argument.starts_with('-') => return Err(io::Error::other(USAGE)),
                _ => filters.push(argument),
            }
        }
        let rounds = rounds.unwrap_or(if is_quick { 1 } else { ROUNDS });
        Ok(is_bench.then_some(Options { is_quick, rounds, filters }))
    }
}

/// The body of `main`. Runs `compare`, which returns a line for each failure.
pub fn run(name: &str, compare: fn(&Options) -> io::Result<Vec<String>>) -> ExitCode {
    let failures = match Options::parse(env::args().skip(1)) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(options)) => compare(&options),
        Err(error) => Err(error),
    };
    match failures {
        Ok(failures) if failures.is_empty() => return ExitCode::SUCCESS,
        Ok(failures) => eprintln!("{}", failures.join("\n")),
        Err(error) => eprintln!("{name}: {error}"),
    }
    ExitCode::FAILURE
}
