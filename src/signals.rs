//! The signals that end the program, and one that must not.
//!
//! SIGINT (by ctrlc), SIGTERM and SIGHUP ask for a drain. Handlers are there before anything that may take long, since a
//! signal without one does not exist for PID 1.

use std::fs;
use std::io;
use std::process;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::Shutdown;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::log_writer::LogWriter;

/// Signals that follow the first one this closely are the same event: a closed terminal, `timeout` and systemd's
/// `SendSIGHUP=` each send two.
const SAME_EVENT: Duration = Duration::from_secs(1);

/// Replaces the default of SIGXFSZ, which would end the process when a file reaches `ulimit -f`. A handler that does
/// nothing is enough: the write then fails with EFBIG.
///
/// # Errors
///
/// The system refuses.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
}

/// What signals end.
pub(crate) struct Ending {
    /// Set when the program serves.
    shutdown: OnceLock<Shutdown>,
    /// When the first signal arrived.
    first: OnceLock<Instant>,
    log_writer: LogWriter,
}

/// Handles the signals from now on, but for those that were ignored when the program started: nohup and a script's
/// background jobs do that on purpose.
///
/// # Errors
///
/// The system gives no thread or no descriptor.
pub(crate) fn handle(log_writer: &LogWriter) -> io::Result<Arc<Ending>> {
    let ending = Arc::new(Ending { shutdown: OnceLock::new(), first: OnceLock::new(), log_writer: log_writer.clone() });
    let ignored = ignored_signals();
    if !ignored.contains(SIGINT) {
        let ending = Arc::clone(&ending);
        ctrlc::set_handler(move || ending.on_signal(Instant::now())).map_err(|error| match error {
            ctrlc::Error::System(error) => error,
            other => io::Error::other(other),
        })?;
    }
    let others: Vec<i32> = [SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored.contains(*signal)).collect();
    if !others.is_empty() {
        let mut signals = Signals::new(others)?;
        let ending = Arc::clone(&ending);
        let builder = thread::Builder::new().name("signals".into()).stack_size(64 * 1024);
        builder.spawn(move || signals.forever().for_each(|_| ending.on_signal(Instant::now())))?;
    }
    Ok(ending)
}

impl Ending {
    /// From now on, the first signal drains this server.
    pub(crate) fn serves(&self, shutdown: Shutdown) {
        // Can't be set already: a program serves once.
        let _ = self.shutdown.set(shutdown);
    }

    fn on_signal(&self, now: Instant) {
        let Some(shutdown) = self.shutdown.get() else {
            log::info!("ended by a signal before clients could connect");
            self.log_writer.finish();
            process::exit(0);
        };
        let first = *self.first.get_or_init(|| now);
        if now.saturating_duration_since(first) < SAME_EVENT { shutdown.request() } else { shutdown.cut() }
    }
}

/// A set of signals, as `/proc/self/status` shows it: bit 0 is signal 1.
struct SignalSet(u64);

impl SignalSet {
    fn contains(&self, signal: i32) -> bool {
        u32::try_from(signal - 1).is_ok_and(|bit| self.0.checked_shr(bit).is_some_and(|set| set & 1 == 1))
    }
}

/// What is ignored at this moment; nothing, if `/proc` does not say.
fn ignored_signals() -> SignalSet {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    SignalSet(ignored_in(&status).unwrap_or_default())
}

fn ignored_in(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use acceptd::{Limits, Server};

    use super::*;

    /// What has happened to a server after signals that arrived so many milliseconds after the first.
    fn after(milliseconds: &[u64]) -> (bool, bool) {
        let shutdown = Server::bind("127.0.0.1:0", Limits::default()).unwrap().shutdown();
        let ending = Ending { shutdown: OnceLock::new(), first: OnceLock::new(), log_writer: LogWriter::default() };
        ending.serves(shutdown.clone());
        let first = Instant::now();
        for later in milliseconds {
            ending.on_signal(first + Duration::from_millis(*later));
        }
        (shutdown.is_requested(), shutdown.is_cut())
    }

    #[test]
    fn signals_within_a_second_are_one_event_and_later_ones_cut() {
        assert_eq!(after(&[]), (false, false));
        assert_eq!(after(&[0]), (true, false));
        assert_eq!(after(&[0, 1]), (true, false));
        assert_eq!(after(&[0, 0, 500, 999]), (true, false));
        assert_eq!(after(&[0, 1000]), (true, true));
        assert_eq!(after(&[0, 1, 1500]), (true, true));
    }

    #[test]
    fn ignored_signals_are_read_from_the_process_status() {
        let set = SignalSet(ignored_in("Name:\tx\nSigBlk:\t0\nSigIgn:\t0000000000001001\nSigCgt:\tff\n").unwrap());
        assert!(set.contains(SIGHUP));
        assert!(!set.contains(SIGINT) && !set.contains(SIGTERM));
        assert!(!set.contains(0) && !set.contains(-1) && !set.contains(1000));
        assert_eq!(ignored_in("Name:\tx\n"), None);
    }
}
