//! The log: one function for each event, and one line each time. Nothing else in the server writes to it, but for a
//! panic.
//!
//! Text that a client may have had a hand in is shown without control characters, so no client can forge a line.

use std::fmt::{self, Write};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::{debug, info, log, warn};

use super::Summary;
use super::system::Ceiling;
use crate::connection::Ended;
use crate::farewell::Farewell;
use crate::panics;

/// A trouble that lasts is reported this often.
const SELDOM: Duration = Duration::from_secs(5);

/// At most this many characters of what somebody else has written are shown.
const SHOWN_AT_MOST: usize = 500;

pub(super) fn bound(address: SocketAddr, error: Option<&io::Error>) {
    match error {
        None => debug!("bound {address}"),
        Some(error) => warn!("not listening on {address}: {error}"),
    }
}

pub(super) fn lowered(asked: usize, ceiling: &Ceiling) {
    warn!("serving at most {} clients at once, not {asked}: {}", ceiling.clients, ceiling.because);
}

pub(super) fn opened(id: u64, peer: SocketAddr) {
    debug!("opened id={id} peer={peer}");
}

pub(super) fn closed(ended: &Ended) {
    log!(
        ended.reason.level(),
        "closed id={} peer={} reason=\"{}\" seconds={:.3} in={} out={}",
        ended.id,
        ended.peer,
        OneLine(&ended.reason.to_string()),
        ended.lasted.as_secs_f64(),
        ended.received,
        ended.sent,
    );
}

/// Somebody was gone before they were accepted.
pub(super) fn gone(error: &io::Error) {
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

/// Two events that can come in thousands a second: at most one line of each in `SELDOM`, with the number of those that
/// were left out; at debug level, all of them.
#[derive(Default)]
pub(super) struct Seldom {
    refused: Mutex<Hushed>,
    trouble: Mutex<Hushed>,
}

#[derive(Default)]
struct Hushed {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    pub(super) fn refused(&self, peer: SocketAddr, why: Farewell) {
        debug!("refused peer={peer} reason=\"{why}\"");
        if why == Farewell::NoThread {
            // The trouble is reported by itself.
            return;
        }
        let reason = match why {
            Farewell::Full { limit } => format!("{limit} are connected, and no more are allowed (max_connections)"),
            other => other.to_string(),
        };
        if let Some(left_out) = hush(&self.refused) {
            warn!("refusing clients: {}{}", reason, LeftOut(left_out));
        }
    }

    /// Clients can't be taken in, for want of something that the system gives.
    pub(super) fn trouble(&self, error: &io::Error) {
        debug!("can't take in clients: {error}");
        if let Some(left_out) = hush(&self.trouble) {
            warn!("can't take in clients, will try again: {error}; {}{}", advice(error), LeftOut(left_out));
        }
    }
}

/// Whether a line is due, and how many were left out before it.
fn hush(hushed: &Mutex<Hushed>) -> Option<u64> {
    let mut hushed = panics::lock(hushed);
    let now = Instant::now();
    if hushed.last.is_some_and(|last| now.duration_since(last) < SELDOM) {
        hushed.left_out += 1;
        return None;
    }
    hushed.last = Some(now);
    Some(std::mem::take(&mut hushed.left_out))
}

/// What a person can do about an error of accept or of a new thread.
fn advice(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "raise the limit on descriptors of the process (ulimit -n)",
        Some(Errno::NFILE) => "raise the limit on descriptors of the system (sysctl fs.file-max)",
        Some(Errno::AGAIN) => "raise the limit on threads (ulimit -u, TasksMax= in systemd)",
        Some(Errno::NOBUFS | Errno::NOMEM) => "the system is short of memory",
        _ => "this should pass",
    }
}

struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " ({} more since the last such line)", self.0) }
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
        for character in self.0.chars().take(SHOWN_AT_MOST) {
            match character {
                '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                    write!(f, "{}", character.escape_unicode())?;
                }
                '"' | '\\' => write!(f, "\\{character}")?,
                control if control.is_control() => write!(f, "{}", control.escape_default())?,
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
        assert_eq!(OneLine(&"x".repeat(100_000)).to_string().len(), SHOWN_AT_MOST);
    }

    #[test]
    fn lengths_of_time_are_readable() {
        let shown = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!([shown(5000), shown(250), shown(1500)], ["5 s", "250 ms", "1.5 s"]);
    }

    #[test]
    fn a_trouble_that_lasts_is_one_line_with_a_count() {
        let hushed = Mutex::default();
        assert_eq!(hush(&hushed), Some(0));
        assert_eq!(hush(&hushed), None);
        assert_eq!(hush(&hushed), None);
        hushed.lock().unwrap().last = None;
        assert_eq!(hush(&hushed), Some(2));
    }

    #[test]
    fn a_poisoned_lock_is_used_on() {
        let hushed = Mutex::default();
        let _ = std::panic::catch_unwind(|| {
            let _held = hushed.lock().unwrap();
            panic!("while holding the lock");
        });
        assert_eq!(hush(&hushed), Some(0));
    }
}
