//! What the system allows: how many clients can be served at once, whatever was configured.
//!
//! A client takes a descriptor or more, a thread, and four memory maps (the thread's stack and its signal stack, each with a
//! guard page). Running out of the last one can abort the process (rust-lang/rust#78497), so the limit is kept well
//! below.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not clients': the log, the listeners, bells, files, and a few sockets that linger.
const OTHER_DESCRIPTORS: u64 = 32;

/// Threads that are not clients': main, signals, linger, and a handler's own.
const OTHER_THREADS: u64 = 8;

/// As many memory maps are set aside for each client: the four it takes, and one for everything else.
const MAPS_PER_CLIENT: u64 = 5;

/// The lowest of the system's limits, in clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    pub(super) clients: usize,
    /// The limit's name and value, and how to raise it.
    pub(super) because: String,
    /// Descriptors that are left for other uses when that many clients are connected, `OTHER_DESCRIPTORS` included.
    pub(super) descriptors: usize,
}

/// Raises the soft limit on descriptors to the hard one, and finds the lowest limit.
pub(super) fn ceiling(descriptors_per_client: usize) -> Ceiling {
    let descriptors = raise_descriptors();
    let for_clients = descriptors.saturating_sub(OTHER_DESCRIPTORS) / descriptors_per_client as u64;
    let candidates = [
        (Some(for_clients), "descriptors (RLIMIT_NOFILE)", "ulimit -n"),
        (threads(getrlimit(Resource::Nproc).current), "processes of this user (RLIMIT_NPROC)", "ulimit -u"),
        (threads(number_in("/proc/sys/kernel/threads-max")), "threads of the system", "sysctl kernel.threads-max"),
        (threads(number_in("/proc/sys/kernel/pid_max")), "thread numbers of the system", "sysctl kernel.pid_max"),
        (threads(pids_max()), "threads of the control group (pids.max)", "TasksMax= in systemd"),
        (
            number_in("/proc/sys/vm/max_map_count").map(|maps| maps / MAPS_PER_CLIENT),
            "memory maps of a process",
            "sysctl vm.max_map_count",
        ),
    ];
    let lowest =
        candidates.into_iter().filter_map(|(limit, what, how)| Some((limit?, what, how))).min_by_key(|lowest| lowest.0);
    let (clients, what, how) = lowest.unwrap_or((u64::MAX, "nothing", "nothing"));
    Ceiling {
        clients: usize::try_from(clients.max(1)).unwrap_or(usize::MAX),
        because: format!("the limit on {what} allows no more, raise it with {how}"),
        descriptors: usize::try_from(descriptors).unwrap_or(usize::MAX),
    }
}

fn threads(limit: Option<u64>) -> Option<u64> {
    limit.map(|limit| limit.saturating_sub(OTHER_THREADS))
}

fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum.unwrap_or(u64::MAX);
    }
    current.unwrap_or(u64::MAX)
}

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The lowest `pids.max` of the control groups that this process is in, and of those around them; "max" is no number,
/// and no limit.
fn pids_max() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().flat_map(pids_max_paths).filter_map(|path| number_in(&path)).min()
}

/// Where the limits of a line of `/proc/self/cgroup` are: `hierarchy:controllers:group` (cgroups(7)).
fn pids_max_paths(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let root = match controllers {
        "" => "/sys/fs/cgroup",
        "pids" => "/sys/fs/cgroup/pids",
        _ => return Vec::new(),
    };
    Path::new(group).ancestors().map(|group| format!("{root}{}/pids.max", group.display()).replace("//", "/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_of_both_versions_are_found() {
        assert_eq!(pids_max_paths("0::/"), ["/sys/fs/cgroup/pids.max"]);
        let expected =
            ["system.slice/a:b/", "system.slice/", ""].map(|group| format!("/sys/fs/cgroup/{group}pids.max"));
        assert_eq!(pids_max_paths("0::/system.slice/a:b"), expected);
        assert_eq!(
            pids_max_paths("8:pids:/user"),
            ["/sys/fs/cgroup/pids/user/pids.max", "/sys/fs/cgroup/pids/pids.max"]
        );
        assert_eq!(pids_max_paths("4:memory:/x"), [""; 0]);
        assert_eq!(pids_max_paths(""), [""; 0]);
    }

    #[test]
    fn there_is_a_ceiling_and_it_says_why() {
        let ceiling = ceiling(1);
        assert!(ceiling.clients >= 1 && ceiling.clients < 1_000_000, "{ceiling:?}");
        assert!(ceiling.because.contains("raise it with"), "{ceiling:?}");
    }
}
