//! The log: one function for each event, one line for each time it happens. Nothing else in the server logs, except for
//! panics.
//!
//! Text that a client may have influenced is shown without control characters, so no client can forge a line.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::io;
use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::{Level, debug, info, log, warn};

use super::Summary;
use super::system::advice_for;
use crate::connection::{ClosedConnection, EndReason};
use crate::farewell::FarewellReason;
use crate::panics;
use crate::terminal::is_obeyed;
use crate::throttle::{LogRate, Throttle};

/// At most this many characters of foreign text are shown.
const MAX_SHOWN: usize = 500;

pub(super) fn bound(address: SocketAddr, error: Option<&io::Error>) {
    match error {
        None => debug!("bound {address}"),
        Some(error) => warn!("not listening on {address}: {error}"),
    }
}

/// The kernel does not know a socket option. `lost` says what is missing without it.
pub(super) fn unsupported(option: &str, lost: &str, error: &io::Error) {
    warn!("the kernel does not take the socket option {option}, so {lost}: {error}");
}

/// The system allows fewer clients than were asked for.
pub(super) fn max_connections_lowered(asked: usize, allowed: usize, limited_by: &str) {
    warn!("serving at most {} at once, not {asked}: {limited_by}", Count(allowed as u64, "client"));
}

pub(super) fn opened(id: u64, peer: SocketAddr) {
    debug!("opened id={id} peer={peer}");
}

/// A client closed or reset its connection before it was accepted.
pub(super) fn aborted_before_accept(error: &io::Error) {
    debug!("a client was gone before it was accepted: {error}");
}

pub(super) fn draining(count: usize, timeout: Duration) {
    info!("draining {}, at most {}", Count(count as u64, "connection"), Span(timeout));
}

pub(super) fn cutting(count: usize) {
    info!("cutting {}", Count(count as u64, "connection"));
}

pub(super) fn ended(summary: &Summary) {
    info!("{summary}");
}

/// Logs the events that any peer can cause thousands of times a second: a few lines of each kind at their own level, then
/// the number of suppressed lines. At debug level, all of them.
pub(super) struct RateLimitedLog {
    /// Which limit keeps the server from having more slots, and how to raise it.
    limited_by: String,
    /// The size of a client's stack, for advice when a thread can't be started.
    stack_size: usize,
    kinds: Mutex<HashMap<Kind, ThrottledKind>>,
}

/// A kind of line. There are a few dozen, which bounds the map.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Closed(Discriminant<EndReason>),
    Refused(Discriminant<FarewellReason>),
    AcceptFailed,
}

impl Kind {
    fn rate(self) -> LogRate {
        match self {
            // The addresses and reasons may help against an attack.
            Kind::Closed(_) => LogRate { lines: 10, interval: Duration::from_secs(1) },
            // One line says it all.
            Kind::Refused(_) | Kind::AcceptFailed => LogRate { lines: 1, interval: Duration::from_secs(5) },
        }
    }
}

struct ThrottledKind {
    throttle: Throttle,
    /// The last line that was suppressed, and its level.
    last: Option<(Level, String)>,
}

impl RateLimitedLog {
    pub(super) fn new(limited_by: String, stack_size: usize) -> RateLimitedLog {
        RateLimitedLog { limited_by, stack_size, kinds: Mutex::default() }
    }

    pub(super) fn closed(&self, ended: &ClosedConnection) {
        match ended.reason.level() {
            // An ordinary end. The line is not even formatted unless it is wanted.
            Level::Debug => debug!("{}", ClosedLine(ended)),
            level => self.log(Kind::Closed(discriminant(&ended.reason)), level, &ClosedLine(ended).to_string()),
        }
    }

    pub(super) fn refused(&self, peer: SocketAddr, why: FarewellReason) {
        debug!("refused peer={peer} reason=\"{why}\"");
        let reason = match why {
            // Reported as trouble.
            FarewellReason::NoThread => return,
            FarewellReason::Full { limit } => format!("the limit of {limit} is reached, {}", self.limited_by),
            other => other.to_string(),
        };
        self.log(Kind::Refused(discriminant(&why)), Level::Warn, &format!("refusing clients: {reason}"));
    }

    /// The system has no descriptor, memory or thread for another client.
    pub(super) fn accept_failed(&self, error: &io::Error) {
        let advice = advice_for(error, self.stack_size);
        let line = format!("can't take in clients, will try again: {error}; {advice}");
        self.log(Kind::AcceptFailed, Level::Warn, &line);
    }

    fn log(&self, kind: Kind, level: Level, line: &str) {
        match self.admit(kind, level, line) {
            Some(0) => log!(level, "{line}"),
            Some(suppressed) => log!(level, "{line} ({suppressed} more like it since the last such line)"),
            None => debug!("{line}"),
        }
    }

    /// `None`: suppress this line. `Some(count)`: write it; so many lines before it were suppressed.
    fn admit(&self, kind: Kind, level: Level, line: &str) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = panics::lock_ignoring_poison(&self.kinds);
        let new = || ThrottledKind { throttle: Throttle::new(kind.rate()), last: None };
        let of_kind = kinds.entry(kind).or_insert_with(new);
        let due = of_kind.throttle.admit(now);
        of_kind.last = if due.is_none() { Some((level, line.to_owned())) } else { None };
        due
    }

    /// Logs how many lines were suppressed that no later line has counted.
    pub(super) fn finish(&self) {
        let kinds = std::mem::take(&mut *panics::lock_ignoring_poison(&self.kinds));
        for mut of_kind in kinds.into_values() {
            if let (count @ 1.., Some((level, line))) = (of_kind.throttle.take_suppressed(), of_kind.last) {
                log!(level, "{count} more like this: {line}");
            }
        }
    }
}

struct ClosedLine<'a>(&'a ClosedConnection);

impl fmt::Display for ClosedLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClosedConnection { id, peer_addr, reason, duration, bytes_in, bytes_out } = self.0;
        let (reason, seconds) = (reason.to_string(), duration.as_secs_f64());
        let reason = OneLine(&reason);
        write!(
            f,
            "closed id={id} peer={peer_addr} reason=\"{reason}\" seconds={seconds:.3} in={bytes_in} out={bytes_out}"
        )
    }
}

/// `1 connection`, `3 connections`.
pub(super) struct Count(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// A length of time as people write it: `5 s`, `250 ms`.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (0, millis) => write!(f, "{millis} ms"),
            (seconds, 0) => write!(f, "{seconds} s"),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// Text of foreign origin on one line, cut off where it gets long: control characters, and those that change the
/// direction of text, are escaped.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(MAX_SHOWN) {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                obeyed if is_obeyed(obeyed) => write!(f, "{}", obeyed.escape_default())?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line_for_every_character() {
        for character in (0..=0x2100).filter_map(char::from_u32) {
            let shown = OneLine(&character.to_string()).to_string();
            assert!(!shown.contains(char::is_control));
            assert!(!shown.contains(['\u{061C}', '\u{202E}', '\u{2028}', '\u{2067}']));
        }
        assert_eq!(OneLine("a\r\n\x1b[31m\"").to_string(), "a\\r\\n\\u{1b}[31m\\\"");
        assert_eq!(OneLine(&"x".repeat(100_000)).to_string().len(), MAX_SHOWN);
    }

    #[test]
    fn lengths_of_time_are_readable() {
        let shown = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!([shown(5000), shown(250), shown(1500)], ["5 s", "250 ms", "1.5 s"]);
    }

    #[test]
    fn a_burst_of_one_kind_is_a_few_lines_and_a_count_and_hides_no_other_kind() {
        let log = RateLimitedLog::new(String::new(), 1);
        let admit = |reason: EndReason| log.admit(Kind::Closed(discriminant(&reason)), Level::Info, "line");
        let lines = (0..1000).filter(|_| admit(EndReason::TooLong(7)).is_some()).count();
        assert!(lines < 500, "{lines} lines");
        assert_eq!(admit(EndReason::Idle), Some(0));
        let mut kinds = log.kinds.lock().unwrap();
        let suppressed = |kind: &mut ThrottledKind| kind.throttle.take_suppressed();
        assert!(kinds.values_mut().map(suppressed).sum::<u64>() >= 1, "and what was suppressed last is remembered");
    }

    #[test]
    fn a_poisoned_lock_is_used_on() {
        let log = RateLimitedLog::new(String::new(), 1);
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = log.kinds.lock().unwrap();
            panic!("while holding the lock");
        }));
        assert_eq!(log.admit(Kind::AcceptFailed, Level::Warn, "line"), Some(0));
    }
}
