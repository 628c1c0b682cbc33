//! The limits that a new thread can meet.

use rustix::process::{Resource, getrlimit};

use super::limit::Limit;
use super::{memory, proc};

/// Threads that the server starts later, besides its clients': linger, and a handler's own.
const OTHER_THREADS: u64 = 8;

/// As many memory maps are set aside for each client: the four it takes, and one for everything else.
const MAPS_PER_CLIENT: u64 = 5;

/// All limits that are set, for threads with that many bytes of stack.
pub(super) fn limits(stack_size: u64) -> Vec<Limit> {
    let system = |most: Option<u64>| most.map(|most| most.saturating_sub(proc::all_threads()));
    let mut limits: Vec<Limit> = [
        of_threads(
            "threads of the system",
            "sysctl kernel.threads-max",
            system(proc::number_in("/proc/sys/kernel/threads-max")),
        ),
        of_threads(
            "thread numbers of the system",
            "sysctl kernel.pid_max",
            system(proc::number_in("/proc/sys/kernel/pid_max")),
        ),
        of_threads("threads of the control group (pids.max)", "TasksMax= in systemd", proc::left_of_pids_max()),
        maps(),
    ]
    .into_iter()
    .flatten()
    .collect();
    limits.extend(memory::limits(stack_size));
    limits.extend(processes(&limits));
    limits
}

/// A limit of which every thread takes one, and this much is left.
fn of_threads(what: &'static str, how: &'static str, left: Option<u64>) -> Option<Limit> {
    let left = left?;
    Some(Limit { what, how, clients: left.saturating_sub(OTHER_THREADS), is_met: left == 0 })
}

fn maps() -> Option<Limit> {
    let left = proc::number_in("/proc/sys/vm/max_map_count")?.saturating_sub(proc::own_maps());
    Some(Limit {
        what: "memory maps of a process",
        how: "sysctl vm.max_map_count",
        clients: left / MAPS_PER_CLIENT,
        is_met: left < MAPS_PER_CLIENT,
    })
}

/// How many processes the user has is not known: it is this limit that is met when none of the others is.
fn processes(others: &[Limit]) -> Option<Limit> {
    let most = getrlimit(Resource::Nproc).current.filter(|_| !proc::is_above_nproc())?;
    let left = most.saturating_sub(proc::own_threads());
    Some(Limit {
        what: "processes and threads of this user (RLIMIT_NPROC)",
        how: "ulimit -u",
        clients: left.saturating_sub(OTHER_THREADS),
        is_met: others.iter().all(|limit| !limit.is_met),
    })
}
