//! The command line and the exit code, which all comparisons share.

use std::env;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// The default number of rounds.
const ROUNDS: usize = 5;

/// How much longer each try of a quick measurement is than the one before, and than the first at the most.
const STRETCH: u32 = 4;
const MAX_STRETCH: u32 = 64;

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

    /// Calls `measure`, with a factor for the length of the measurement. On a loaded machine, not one response may come
    /// within the short time of a quick run. Then it measures again for longer. All other errors are final.
    ///
    /// # Errors
    ///
    /// Those of the last call.
    pub fn measure<T>(&self, mut measure: impl FnMut(u32) -> io::Result<T>) -> io::Result<T> {
        let mut factor = 1;
        loop {
            match measure(factor) {
                Err(error) if error.kind() == ErrorKind::TimedOut && self.is_quick && factor < MAX_STRETCH => {
                    factor *= STRETCH;
                }
                outcome => return outcome,
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The factors with which a measurement is called that always fails.
    fn factors(is_quick: bool, kind: ErrorKind) -> Vec<u32> {
        let options = Options { is_quick, rounds: 1, filters: Vec::new() };
        let mut factors = Vec::new();
        let outcome: io::Result<()> = options.measure(|factor| {
            factors.push(factor);
            Err(kind.into())
        });
        assert_eq!(outcome.unwrap_err().kind(), kind);
        factors
    }

    #[test]
    fn a_quick_measurement_that_times_out_is_repeated_for_longer_and_fails_in_the_end() {
        assert_eq!(factors(true, ErrorKind::TimedOut), [1, 4, 16, 64]);
    }

    #[test]
    fn other_errors_and_full_measurements_are_final() {
        assert_eq!(factors(true, ErrorKind::InvalidData), [1]);
        assert_eq!(factors(false, ErrorKind::TimedOut), [1]);
    }
}
