//! APOP (RFC 1939, section 7): the client proves that it knows the password, without sending it.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The timestamp of a greeting. No two are the same, so that a digest is of no use a second time.
pub fn timestamp() -> String {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("<{}.{session}.{clock}@localhost>", process::id())
}

/// What a client answers to a timestamp.
pub fn digest(timestamp: &str, password: &str) -> String {
    format!("{:x}", md5::compute(format!("{timestamp}{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_rfc() {
        let digest = digest("<1896.697170952@dbc.mtview.ca.us>", "tanstaaf");
        assert_eq!(digest, "c4c9334bac560ecc979e58001b3e22fb");
    }

    #[test]
    fn no_two_timestamps_are_the_same() {
        assert_ne!(timestamp(), timestamp());
    }
}
