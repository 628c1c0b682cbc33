//! The signals that end the program, and one that must not.
//!
//! The first SIGINT, SIGTERM or SIGHUP starts a drain, and a later one cuts it short. The program installs its handlers
//! before it does anything that may take long: as PID 1 of a container it gets no signal that it doesn't handle.

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

/// Signals that arrive this soon after the first one belong to the same event: a closed terminal, `timeout` and systemd's
/// `SendSIGHUP=` each send two.
const SAME_EVENT_TIME: Duration = Duration::from_secs(1);

/// Handles SIGXFSZ, which would otherwise end the process when a file reaches `ulimit -f`. The handler does nothing, and
/// the write fails with EFBIG.
///
/// # Errors
///
/// The handler can't be installed.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
}

/// What the program does when a signal arrives.
pub(crate) struct SignalHandler {
    /// Set once the server is bound.
    shutdown: OnceLock<Shutdown>,
    /// When the first signal arrived.
    first_signal_at: OnceLock<Instant>,
    log_writer: LogWriter,
}

/// Installs the handlers, except for signals that were ignored when the program started: nohup and a script's background
/// jobs ignore them on purpose.
///
/// # Errors
///
/// A thread or a descriptor can't be created.
pub(crate) fn install(log_writer: &LogWriter) -> io::Result<Arc<SignalHandler>> {
    let handler = Arc::new(SignalHandler::new(log_writer.clone()));
    let ignored = ignored_signals();
    if !ignored.contains(SIGINT) {
        let handler = Arc::clone(&handler);
        ctrlc::set_handler(move || handler.on_signal(Instant::now())).map_err(|error| match error {
            ctrlc::Error::System(error) => error,
            other => io::Error::other(other),
        })?;
    }
    let others: Vec<i32> = [SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored.contains(*signal)).collect();
    if !others.is_empty() {
        let mut signals = Signals::new(others)?;
        let handler = Arc::clone(&handler);
        let builder = thread::Builder::new().name("signals".into()).stack_size(64 * 1024);
        builder.spawn(move || signals.forever().for_each(|_| handler.on_signal(Instant::now())))?;
    }
    Ok(handler)
}

impl SignalHandler {
    fn new(log_writer: LogWriter) -> SignalHandler {
        SignalHandler { shutdown: OnceLock::new(), first_signal_at: OnceLock::new(), log_writer }
    }

    /// Sets the server that signals shut down. Before this, a signal ends the program.
    pub(crate) fn set_shutdown(&self, shutdown: Shutdown) {
        // This can't fail, because the program calls it once.
        let _ = self.shutdown.set(shutdown);
    }

    fn on_signal(&self, now: Instant) {
        let Some(shutdown) = self.shutdown.get() else {
            log::info!("ended by a signal before clients could connect");
            self.log_writer.finish();
            process::exit(0);
        };
        let first_signal_at = *self.first_signal_at.get_or_init(|| now);
        if now.saturating_duration_since(first_signal_at) < SAME_EVENT_TIME {
            shutdown.request();
        } else {
            shutdown.cut();
        }
    }
}

/// A set of signals, as `/proc/self/status` shows it: bit 0 is signal 1.
struct SignalSet(u64);

impl SignalSet {
    fn contains(&self, signal: i32) -> bool {
        u32::try_from(signal - 1).is_ok_and(|bit| self.0.checked_shr(bit).is_some_and(|set| set & 1 == 1))
    }
}

/// The signals that this process ignores now. None, if `/proc` can't be read.
fn ignored_signals() -> SignalSet {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    SignalSet(parse_ignored(&status).unwrap_or_default())
}

fn parse_ignored(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use acceptd::{Limits, Server};

    use super::*;

    /// Sends signals this many milliseconds after the first one. Returns whether shutdown is requested, and whether
    /// clients are cut.
    fn after_signals_at(milliseconds: &[u64]) -> (bool, bool) {
        let shutdown = Server::bind("127.0.0.1:0", Limits::default()).unwrap().shutdown();
        let handler = SignalHandler::new(LogWriter::default());
        handler.set_shutdown(shutdown.clone());
        let first = Instant::now();
        for delay in milliseconds {
            handler.on_signal(first + Duration::from_millis(*delay));
        }
        (shutdown.is_requested(), shutdown.is_cut())
    }

    #[test]
    fn signals_within_a_second_are_one_event_and_later_ones_cut() {
        assert_eq!(after_signals_at(&[]), (false, false));
        assert_eq!(after_signals_at(&[0]), (true, false));
        assert_eq!(after_signals_at(&[0, 1]), (true, false));
        assert_eq!(after_signals_at(&[0, 0, 500, 999]), (true, false));
        assert_eq!(after_signals_at(&[0, 1000]), (true, true));
        assert_eq!(after_signals_at(&[0, 1, 1500]), (true, true));
    }

    #[test]
    fn ignored_signals_are_read_from_the_process_status() {
        let set = SignalSet(parse_ignored("Name:\tx\nSigBlk:\t0\nSigIgn:\t0000000000001001\nSigCgt:\tff\n").unwrap());
        assert!(set.contains(SIGHUP));
        assert!(!set.contains(SIGINT) && !set.contains(SIGTERM));
        assert!(!set.contains(0) && !set.contains(-1) && !set.contains(1000));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
    }
}
