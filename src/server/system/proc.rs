//! What `/proc` and `/sys` tell about this process and its system. `None` is what can't be read, or is no number.

use std::fs;
use std::path::Path;

pub(super) fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// How many descriptors this process has open.
pub(super) fn open_descriptors() -> u64 {
    // One of them is the folder's own.
    entries("/proc/self/fd").saturating_sub(1)
}

/// How many threads this process has.
pub(super) fn own_threads() -> u64 {
    entries("/proc/self/task")
}

/// How many memory maps this process has.
pub(super) fn own_maps() -> u64 {
    fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count() as u64)
}

/// How many threads there are in the system: `0.00 0.01 0.05 1/345 6789` (proc_loadavg(5)).
pub(super) fn all_threads() -> u64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let threads = load.split(' ').nth(3).and_then(|ratio| ratio.split_once('/'));
    threads.and_then(|(_, all)| all.parse().ok()).unwrap_or_default()
}

/// A field of `/proc/self/status` in bytes, which it shows in kB: `VmSize:     1234 kB`.
pub(super) fn status_bytes(name: &str) -> Option<u64> {
    kib_in(&fs::read_to_string("/proc/self/status").ok()?, name)
}

/// A field of `/proc/meminfo` in bytes.
pub(super) fn memory_bytes(name: &str) -> Option<u64> {
    kib_in(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

fn kib_in(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether this process may have more processes than RLIMIT_NPROC says: it is root's or has CAP_SYS_ADMIN or
/// CAP_SYS_RESOURCE (fork(2)), and not in a user namespace, where these count for nothing.
pub(super) fn is_above_nproc() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    is_above_nproc_in(&status, &ids)
}

fn is_above_nproc_in(status: &str, ids: &str) -> bool {
    const ADMIN: u64 = 1 << 21;
    const RESOURCE: u64 = 1 << 24;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let is_root = field("Uid:").split_whitespace().next() == Some("0");
    let capabilities = u64::from_str_radix(field("CapEff:").trim(), 16).unwrap_or_default();
    let is_initial = ids.split_whitespace().eq(["0", "0", "4294967295"]);
    is_initial && (is_root || capabilities & (ADMIN | RESOURCE) != 0)
}

fn entries(folder: &str) -> u64 {
    fs::read_dir(folder).map_or(0, |entries| entries.count() as u64)
}

/// The fewest threads that the control groups that this process is in, and those around them, have left: `pids.max`
/// without `pids.current`. "max" is no number, and no limit.
pub(super) fn left_of_pids_max() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let left = |folder: String| {
        let most = number_in(&format!("{folder}pids.max"))?;
        Some(most.saturating_sub(number_in(&format!("{folder}pids.current")).unwrap_or_else(own_threads)))
    };
    groups.lines().flat_map(folders_of_group).filter_map(left).min()
}

/// Where the limits of a line of `/proc/self/cgroup` are: `hierarchy:controllers:group` (cgroups(7)).
fn folders_of_group(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let root = match controllers {
        "" => "/sys/fs/cgroup",
        "pids" => "/sys/fs/cgroup/pids",
        _ => return Vec::new(),
    };
    Path::new(group).ancestors().map(|group| format!("{root}{}/", group.display()).replace("//", "/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_of_both_versions_are_found() {
        assert_eq!(folders_of_group("0::/"), ["/sys/fs/cgroup/"]);
        let expected = ["system.slice/a:b/", "system.slice/", ""].map(|group| format!("/sys/fs/cgroup/{group}"));
        assert_eq!(folders_of_group("0::/system.slice/a:b"), expected);
        assert_eq!(folders_of_group("8:pids:/user"), ["/sys/fs/cgroup/pids/user/", "/sys/fs/cgroup/pids/"]);
        assert_eq!(folders_of_group("4:memory:/x"), [""; 0]);
        assert_eq!(folders_of_group(""), [""; 0]);
    }

    #[test]
    fn this_process_is_seen() {
        assert!(open_descriptors() >= 3);
        assert!(own_threads() >= 1 && all_threads() >= own_threads());
        assert!(own_maps() > 10);
        assert!(status_bytes("VmSize").unwrap() > status_bytes("VmData").unwrap());
        assert!(memory_bytes("CommitLimit").is_some());
        assert_eq!(status_bytes("VmNothing"), None);
    }

    #[test]
    fn the_limit_on_processes_does_not_bind_root_but_does_in_a_user_namespace() {
        let status =
            |uid: u32, capabilities: &str| format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities}\n");
        let initial = "         0          0 4294967295\n";
        assert!(is_above_nproc_in(&status(0, "0000000000000000"), initial));
        assert!(is_above_nproc_in(&status(1000, "0000000001000000"), initial));
        assert!(is_above_nproc_in(&status(1000, "0000000000200000"), initial));
        assert!(!is_above_nproc_in(&status(1000, "0000000000000400"), initial));
        assert!(!is_above_nproc_in(&status(0, "000001ffffffffff"), "0 1000 1\n"));
        assert!(!is_above_nproc_in("", ""));
    }
}
