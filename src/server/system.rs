//! What the system allows: how many clients can be served at once, whatever was configured.
//!
//! A client takes a descriptor, a thread, and four memory maps (the thread's stack and its signal stack, each with a
//! guard page). Running out of the last one can abort the process (rust-lang/rust#78497), so the limit is kept well
//! below.

use std::fs;

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
pub(super) fn ceiling() -> Ceiling {
    let descriptors = raise_descriptors();
    let candidates = [
        (Some(descriptors.saturating_sub(OTHER_DESCRIPTORS)), "descriptors (RLIMIT_NOFILE)", "ulimit -n"),
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

/// The lowest `pids.max` of the control groups that this process is in; "max" is no number, and no limit.
fn pids_max() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(pids_max_path).filter_map(|path| number_in(&path)).min()
}

/// Where the limit of a line of `/proc/self/cgroup` is: `hierarchy:controllers:group` (cgroups(7)).
fn pids_max_path(line: &str) -> Option<String> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let root = match controllers {
        "" => "/sys/fs/cgroup",
        "pids" => "/sys/fs/cgroup/pids",
        _ => return None,
    };
    Some(format!("{root}{}/pids.max", group.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_of_both_versions_are_found() {
        assert_eq!(pids_max_path("0::/"), Some("/sys/fs/cgroup/pids.max".to_owned()));
        assert_eq!(pids_max_path("0::/system.slice/a:b"), Some("/sys/fs/cgroup/system.slice/a:b/pids.max".to_owned()));
        assert_eq!(pids_max_path("8:pids:/user"), Some("/sys/fs/cgroup/pids/user/pids.max".to_owned()));
        assert_eq!(pids_max_path("4:memory:/x"), None);
        assert_eq!(pids_max_path(""), None);
    }

    #[test]
    fn there_is_a_ceiling_and_it_says_why() {
        let ceiling = ceiling();
        assert!(ceiling.clients >= 1 && ceiling.clients < 1_000_000, "{ceiling:?}");
        assert!(ceiling.because.contains("raise it with"), "{ceiling:?}");
    }
}
