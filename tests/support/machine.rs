//! Checks what this machine can do. A test that needs more is skipped with a message, and fails in CI.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use super::PATIENCE;

/// Prints what is not tested and how to test it. Panics in CI.
pub fn skip(what: &str, remedy: &str) {
    let text = format!("skipped: {what}; {remedy}");
    assert!(!is_ci(std::env::var("CI").ok().as_deref()), "{text}");
    print_uncaptured(&text);
}

/// Prints to standard error directly, because the test harness captures `eprintln!`.
fn print_uncaptured(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether this value of the variable `CI` means that a CI service runs the tests.
fn is_ci(value: Option<&str>) -> bool {
    value.is_some_and(|value| !["", "0", "false"].contains(&value))
}

/// Whether this machine can be reached over IPv6. Many containers can't.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        skip("IPv6", "this machine has no address ::1 (sysctl net.ipv6.conf.lo.disable_ipv6=0)");
    }
    has
}

/// An upper bound for a measured time. It applies in an optimized build on an otherwise idle machine
/// (`cargo test --release --test bounds`). In any other build, a test only checks that the operation ends.
pub fn at_most(time: Duration) -> Duration {
    if cfg!(debug_assertions) { time.max(PATIENCE) } else { time }
}

/// Whether this build can measure ratios of times. They mean nothing in an unoptimized build, or while other tests run.
pub fn can_measure_ratios(what: &str) -> bool {
    let can_measure = !cfg!(debug_assertions);
    if !can_measure {
        // Not `skip`, which would fail in CI: another step there measures them.
        print_uncaptured(&format!("skipped: {what}; cargo test --release --test bounds measures it"));
    }
    can_measure
}

#[test]
fn is_ci_understands_the_usual_values() {
    for (value, expected) in
        [(None, false), (Some(""), false), (Some("false"), false), (Some("true"), true), (Some("1"), true)]
    {
        assert_eq!(is_ci(value), expected, "{value:?}");
    }
}
