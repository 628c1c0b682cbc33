//! What the system allows: how many clients can be served at once, whatever was configured, and which limit it was when
//! there is no thread for one.
//!
//! A client takes a descriptor or more, a thread, address space, and four memory maps (the thread's stack and its signal
//! stack, each with a guard page). Running out of maps or of address space can abort the process (rust-lang/rust#78497),
//! so the number of clients is kept well below what there is of them.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod limit;
mod memory;
mod proc;
mod threads;

use limit::Limit;

/// Descriptors that the server opens later, besides those of its clients: event descriptors, files, and a few sockets that
/// linger.
const OTHER_DESCRIPTORS: u64 = 32;

/// The lowest of the system's limits, in clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    pub(super) clients: usize,
    /// The limit's name, and how to raise it.
    pub(super) limited_by: String,
    /// Descriptors that clients and others can still take, `OTHER_DESCRIPTORS` included.
    pub(super) descriptors: usize,
}

/// Raises the soft limit on descriptors to the hard one, and finds the lowest limit. What the process has already taken
/// of each counts.
pub(super) fn ceiling(descriptors_per_client: usize, stack_size: usize) -> Ceiling {
    let descriptors = raise_descriptors().saturating_sub(proc::open_descriptors());
    let for_clients = Limit {
        what: "descriptors (RLIMIT_NOFILE)",
        how: "ulimit -n",
        clients: descriptors.saturating_sub(OTHER_DESCRIPTORS) / descriptors_per_client as u64,
        is_met: false,
    };
    let limits = [for_clients].into_iter().chain(threads::limits(stack_size as u64));
    let (clients, limited_by) = match limits.min_by_key(|limit| limit.clients) {
        Some(limit) => {
            (limit.clients, format!("the limit on {} allows no more, raise it with {}", limit.what, limit.how))
        }
        None => (u64::MAX, String::new()),
    };
    Ceiling {
        clients: usize::try_from(clients.max(1)).unwrap_or(usize::MAX),
        limited_by,
        descriptors: usize::try_from(descriptors).unwrap_or(usize::MAX),
    }
}

fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum.unwrap_or(u64::MAX);
    }
    current.unwrap_or(u64::MAX)
}

/// What an operator can do about an error of the system, of [`Server::bind`](crate::Server::bind) or of a thread that
/// could not be started: the limit that was met, and how to raise it.
///
/// ```no_run
/// if let Err(error) = std::thread::Builder::new().spawn(|| println!("hello")) {
///     eprintln!("can't start a thread: {error}; {}", acceptd::advice(&error));
/// }
/// ```
pub fn advice(error: &io::Error) -> String {
    advice_for(error, SMALL_STACK)
}

/// The stack of a thread that does little.
const SMALL_STACK: usize = 64 * 1024;

/// [`advice`] about a thread with a stack of that many bytes, which may have been what was too large.
pub(super) fn advice_for(error: &io::Error, stack_size: usize) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "raise the limit on descriptors of the process (ulimit -n)".to_owned(),
        Some(Errno::NFILE) => "raise the limit on descriptors of the system (sysctl fs.file-max)".to_owned(),
        // For a new thread, the C library makes this of every error, a lack of address space included (pthread_create(3)).
        Some(Errno::AGAIN) => match threads::limits(stack_size as u64).into_iter().find(|limit| limit.is_met) {
            Some(Limit { what, how, .. }) => format!("the limit on {what} is met, raise it with {how}"),
            None => "raise the limit on threads (ulimit -u, TasksMax= in systemd)".to_owned(),
        },
        Some(Errno::NOBUFS | Errno::NOMEM) => "the system is short of memory".to_owned(),
        _ => "this should pass".to_owned(),
    }
}

/// Adds [`advice_for`] to an error of the system that a limit can cause, and leaves others as they are.
pub(super) fn with_advice(error: io::Error, stack_size: usize) -> io::Error {
    use Errno as E;
    match Errno::from_io_error(&error) {
        Some(E::MFILE | E::NFILE | E::AGAIN | E::NOBUFS | E::NOMEM) => {
            let advice = advice_for(&error, stack_size);
            io::Error::new(error.kind(), format!("{error}; {advice}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: usize = 256 * 1024;

    #[test]
    fn there_is_a_ceiling_and_it_says_why() {
        let ceiling = ceiling(1, STACK);
        assert!(ceiling.clients >= 1 && ceiling.clients < 1_000_000, "{ceiling:?}");
        assert!(ceiling.limited_by.contains("raise it with"), "{ceiling:?}");
    }

    #[test]
    fn descriptors_that_are_open_already_are_not_for_clients() {
        let before = ceiling(1, STACK).descriptors;
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close some of their own.
        let after = ceiling(1, STACK).descriptors;
        assert!(after < before - 20, "{before} before, {after} with {} more open", files.len());
    }

    #[test]
    fn advice_is_added_to_errors_that_limits_cause_and_to_no_others() {
        let advised = |errno: Errno| with_advice(errno.into(), STACK).to_string();
        assert!(advised(Errno::MFILE).contains("ulimit -n"));
        assert!(advised(Errno::AGAIN).contains("raise"));
        assert_eq!(with_advice(Errno::AGAIN.into(), STACK).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(with_advice(Errno::ADDRINUSE.into(), STACK).raw_os_error(), Some(Errno::ADDRINUSE.raw_os_error()));
    }
}
