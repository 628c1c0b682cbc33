//! Keeps glibc's malloc from taking all of a limited address space.
//!
//! Its arenas reserve 64 MiB each, up to eight for each processor. Under a `ulimit -v` of 1 GiB there is soon no room for a
//! client's stack. `mallopt(3)` could limit the number of arenas, but there is no safe way to call it. The environment
//! variable `MALLOC_ARENA_MAX` can too, but glibc reads it only when a program starts. So the program sets the variable and
//! executes itself again, if the address space is limited and the variable is not set.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// The address space that an arena reserves on a 64-bit machine, in bytes.
const ARENA_SIZE: u64 = 64 << 20;

/// Arenas may take one part in this many of the address space.
const DIVISOR: u64 = 8;

/// Limits the number of arenas if the address space is limited. Then it does not return: the process executes the program
/// from its beginning.
///
/// # Errors
///
/// The program can't be executed again. It can go on: the server subtracts what the arenas may take from the address space
/// before it computes how many threads fit.
pub(crate) fn limit() -> io::Result<()> {
    let Some(space) = getrlimit(Resource::As).current else { return Ok(()) };
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut program = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    Err(program.args(arguments).env(VARIABLE, max_arenas(space).to_string()).exec())
}

/// The most arenas in an address space of `space` bytes.
fn max_arenas(space: u64) -> u64 {
    (space / DIVISOR / ARENA_SIZE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_take_an_eighth_of_the_address_space() {
        assert_eq!(max_arenas(600_000 * 1024), 1);
        assert_eq!(max_arenas(1 << 30), 2);
        assert_eq!(max_arenas(8 << 30), 16);
    }
}
