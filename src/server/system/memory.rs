//! The limits on address space that threads and their stacks can meet: RLIMIT_AS, RLIMIT_DATA, and strict overcommit.
//!
//! glibc gives threads malloc arenas of their own, each a reservation of 64 MiB, up to eight for each processor: without
//! `MALLOC_ARENA_MAX` in the environment they take 1 GiB on a machine of two processors. A library can't change that
//! once it runs, so it counts them. The program does change it, see `arenas.rs`.

use std::env;
use std::thread;

use rustix::process::{Resource, getrlimit};

use super::limit::Limit;
use super::proc;

/// What a client takes besides its stack: the signal stack, guard pages, a line, and replies that wait.
const BESIDES_STACK: u64 = 192 * 1024;

/// Kept for all that is not a client's: the handler's own memory, and what is allocated for a moment.
const OTHER_SPACE: u64 = 32 << 20;

/// What a malloc arena of glibc reserves on a 64-bit machine (HEAP_MAX_SIZE).
const ARENA: u64 = 64 << 20;

/// All limits that are set.
pub(super) fn limits(stack_size: u64) -> Vec<Limit> {
    [
        limit(
            "address space of the process (RLIMIT_AS)",
            "ulimit -v",
            getrlimit(Resource::As).current.zip(proc::status_bytes("VmSize")),
            arenas(),
            stack_size,
        ),
        // Reserved is not yet writable, so arenas do not count here.
        limit(
            "memory of the process (RLIMIT_DATA)",
            "ulimit -d",
            getrlimit(Resource::Data).current.zip(proc::status_bytes("VmData")),
            0,
            stack_size,
        ),
        limit(
            "memory that all may reserve (vm.overcommit_memory=2)",
            "sysctl vm.overcommit_ratio",
            strict_overcommit(),
            0,
            stack_size,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A limit, with how much of it is used.
fn limit(
    what: &'static str,
    how: &'static str,
    most_and_used: Option<(u64, u64)>,
    arenas: u64,
    stack_size: u64,
) -> Option<Limit> {
    let (most, used) = most_and_used?;
    let (left, per_client) = (most.saturating_sub(used), stack_size.saturating_add(BESIDES_STACK));
    let clients = clients_in(left.saturating_sub(OTHER_SPACE), per_client, arenas);
    Some(Limit { what, how, clients, is_met: left < per_client })
}

/// How many clients fit, of which the first ones take an arena each.
fn clients_in(space: u64, per_client: u64, arenas: u64) -> u64 {
    let with_arena = space / (per_client + ARENA);
    if with_arena < arenas { with_arena } else { (space - arenas * ARENA) / per_client }
}

fn strict_overcommit() -> Option<(u64, u64)> {
    let is_strict = proc::number_in("/proc/sys/vm/overcommit_memory") == Some(2);
    let committed = proc::memory_bytes("CommitLimit").zip(proc::memory_bytes("Committed_AS"));
    committed.filter(|_| is_strict)
}

/// How many arenas there can be besides the first, which grows with the data segment.
fn arenas() -> u64 {
    if !cfg!(target_env = "gnu") {
        return 0;
    }
    let set = env::var("MALLOC_ARENA_MAX").ok().and_then(|value| value.parse().ok());
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    set.filter(|most| *most > 0).unwrap_or(8 * processors) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_first_clients_take_an_arena_each_as_long_as_there_are_any() {
        assert_eq!(clients_in(1000 * MIB, MIB, 0), 1000);
        assert_eq!(clients_in(1000 * MIB, MIB, 2), 1000 - 128);
        assert_eq!(clients_in(130 * MIB, MIB, 2), 2);
        assert_eq!(clients_in(129 * MIB, MIB, 2), 1);
        assert_eq!(clients_in(0, MIB, 16), 0);
    }

    #[test]
    fn a_limit_is_met_when_no_further_stack_fits() {
        let stack = 256 * 1024;
        let with_left = |left| limit("x", "y", Some((100 * MIB, 100 * MIB - left)), 0, stack).unwrap();
        assert!(with_left(stack).is_met);
        assert!(!with_left(MIB).is_met);
        assert_eq!(with_left(MIB).clients, 0, "the last of it is not for clients");
        assert_eq!(with_left(80 * MIB).clients, 48 * MIB / (stack + BESIDES_STACK));
        assert!(limit("x", "y", Some((MIB, 2 * MIB)), 16, stack).unwrap().is_met);
        assert!(limit("x", "y", None, 0, stack).is_none());
    }
}
