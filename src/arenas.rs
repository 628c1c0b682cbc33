//! Keeps glibc's malloc from taking all of a limited address space.
//!
//! Its arenas reserve 64 MiB each, up to eight for each processor, so under `ulimit -v` of 1 GiB there is soon no room
//! for a client's stack. `mallopt(3)` would bound them, but there is no safe way to call it. What works without is the
//! environment variable `MALLOC_ARENA_MAX`, which glibc reads when a program starts: so the program executes itself once
//! more with it, but only where the address space is limited and the variable is not set.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// What an arena reserves on a 64-bit machine.
const ARENA: u64 = 64 << 20;

/// Arenas may take this part of the address space.
const SHARE: u64 = 8;

/// Bounds the arenas where that is needed. Does not return if it was: the process is the same, the program begins anew.
///
/// # Errors
///
/// The program can't be executed. It can go on: the server counts the arenas that there may be.
pub(crate) fn bound() -> io::Result<()> {
    let Some(space) = getrlimit(Resource::As).current else { return Ok(()) };
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut program = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    Err(program.args(arguments).env(VARIABLE, most(space).to_string()).exec())
}

/// How many arenas there may be in a limited address space.
fn most(space: u64) -> u64 {
    (space / SHARE / ARENA).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_take_an_eighth_of_the_address_space() {
        assert_eq!(most(600_000 * 1024), 1);
        assert_eq!(most(1 << 30), 2);
        assert_eq!(most(8 << 30), 16);
    }
}
