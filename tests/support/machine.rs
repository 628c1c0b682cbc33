//! What a machine may lack. A test that needs it is skipped in plain sight, and never in CI.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use super::PATIENCE;

/// Says on the terminal what is not tested, why, and how to have it tested. In CI it fails instead.
pub fn skip(what: &str, remedy: &str) {
    let text = format!("skipped: {what}; {remedy}");
    assert!(!is_ci(std::env::var("CI").ok().as_deref()), "{text}");
    tell(&text);
}

/// To the terminal itself, past what the test harness captures.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What services for continuous integration set the variable `CI` to.
fn is_ci(value: Option<&str>) -> bool {
    value.is_some_and(|value| !["", "0", "false"].contains(&value))
}

/// Whether this machine can be reached over IPv6. Many containers can't.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        skip("what is about IPv6", "this machine has no address ::1 (sysctl net.ipv6.conf.lo.disable_ipv6=0)");
    }
    has
}

/// The longest time that something may take. It is meant in an optimized build on a machine that does nothing else
/// (`cargo test --release --test bounds`); in any other, that it ends at all is what is tested.
pub fn at_most(time: Duration) -> Duration {
    if cfg!(debug_assertions) { time.max(PATIENCE) } else { time }
}

/// Whether ratios of times are measured. In a build that is not optimized, or beside other tests, they are noise.
pub fn measures_ratios(what: &str) -> bool {
    let measures = !cfg!(debug_assertions);
    if !measures {
        // In CI too, since it measures them in another step.
        tell(&format!("skipped: {what}; cargo test --release --test bounds measures it"));
    }
    measures
}

#[test]
fn ci_is_what_the_variable_says() {
    for (value, is) in
        [(None, false), (Some(""), false), (Some("false"), false), (Some("true"), true), (Some("1"), true)]
    {
        assert_eq!(is_ci(value), is, "{value:?}");
    }
}
