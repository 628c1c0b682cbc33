//! What a comparison is asked for on its command line, and how it ends: the same for all of them.

use std::env;
use std::io;
use std::process::ExitCode;

/// So many rounds, unless asked for another number.
const ROUNDS: usize = 5;

const USAGE: &str = "write [--quick] [--rounds=N] [part of a work's name]...";

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Everything once and small: that it works, for no figure.
    pub is_quick: bool,
    /// How often everything is measured.
    pub rounds: usize,
    /// Parts of the names of the works that are wanted; none: all are.
    wanted: Vec<String>,
}

impl Asked {
    /// Whether a work of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| name.contains(wanted))
    }

    /// What is wanted can't be measured, since no work has such a name.
    pub fn nothing_found(&self) -> io::Error {
        io::Error::other(format!("no work has {:?} in its name", self.wanted))
    }

    /// `None`: nothing is to be measured, since this is not `cargo bench`.
    fn parse(arguments: impl Iterator<Item = String>) -> io::Result<Option<Asked>> {
        let (mut is_bench, mut is_quick, mut rounds, mut wanted) = (false, false, None, Vec::new());
        for argument in arguments {
            match argument.as_str() {
                "--bench" => is_bench = true,
                "--quick" => is_quick = true,
                _ if argument.starts_with("--rounds=") => {
                    let number = argument.trim_start_matches("--rounds=").parse().ok().filter(|number| *number > 0);
                    rounds = Some(number.ok_or_else(|| io::Error::other(USAGE))?);
                }
                _ if argument.starts_with('-') => return Err(io::Error::other(USAGE)),
                _ => wanted.push(argument),
            }
        }
        let rounds = rounds.unwrap_or(if is_quick { 1 } else { ROUNDS });
        Ok(is_bench.then_some(Asked { is_quick, rounds, wanted }))
    }
}

/// Runs the comparison of this name, which says what has failed. What a `main` has to do.
pub fn run(name: &str, compare: fn(&Asked) -> io::Result<Vec<String>>) -> ExitCode {
    let failures = match Asked::parse(env::args().skip(1)) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(asked)) => compare(&asked),
        Err(error) => Err(error),
    };
    match failures {
        Ok(failures) if failures.is_empty() => return ExitCode::SUCCESS,
        Ok(failures) => eprintln!("{}", failures.join("\n")),
        Err(error) => eprintln!("{name}: {error}"),
    }
    ExitCode::FAILURE
}
