//! The store beside Redis itself: the same bytes are sent to a real redis-server and to acceptd, and the same bytes
//! must come back.
//!
//! Sequences of commands are made at random and shrunk when they fail, to the few commands that show the difference.
//! `PROPTEST_CASES` sets how many there are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod compare;
mod generate;
mod malformed;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::time::Instant;

use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRunner};

use compare::{Comparison, Slack};
use generate::{Case, Step, cases};
use servers::{Pair, Redis, start_acceptd};

/// Sequences for each engine.
const SEQUENCES: u32 = 10_000;

// A test for each engine.

#[test]
fn the_store_in_memory_replies_as_redis_does() {
    compare_with_redis(&[], SEQUENCES);
}

/// The commands are the same ones, so a tenth of the sequences is enough to see that the file gives back what was put
/// into it; each write waits for the disk.
#[test]
fn the_store_in_a_file_replies_as_redis_does() {
    let folder = std::env::temp_dir().join(format!("acceptd-differential-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let file = folder.join("store").display().to_string();
    compare_with_redis(&["--store", &file, "--fsync", "everysec"], SEQUENCES / 10);
    std::fs::remove_dir_all(&folder).expect("it was made above");
}

/// Compares acceptd, started with these arguments, with redis-server.
fn compare_with_redis(arguments: &[&str], sequences: u32) {
    let Some(redis) = Redis::start() else { return };
    let acceptd = start_acceptd(arguments);
    let pair = RefCell::new(Pair::connect(redis.addr, acceptd.addr));
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: wanted.unwrap_or(sequences),
        // In a build that is not optimized, the default generator takes most of the test's time.
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&cases(), |case| {
        let mut pair = pair.borrow_mut();
        let mut try_it = || {
            run(&mut pair, &case).inspect_err(|_| {
                // Whatever the connections are in the middle of, the next sequence is to begin anew.
                *pair = Pair::connect(redis.addr, acceptd.addr);
            })
        };
        // The clock may have gone on between two commands for one of the servers only, so that with EXPIRE's GT the same time
        // from now is later for that one alone. A real difference shows again.
        try_it().or_else(|_| try_it()).map_err(TestCaseError::fail)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Runs a sequence on both servers. What they differ in, if they do.
fn run(pair: &mut Pair, case: &Case) -> Result<(), String> {
    let began = Instant::now();
    let mut comparison = Comparison::default();
    pair.begin(case.resp3)?;
    let mut steps = case.steps.iter().peekable();
    while let Some(step) = steps.next() {
        match step {
            Step::Say(talker, command) => {
                // All that one client says until another one speaks goes out in one go.
                let mut batch = vec![command];
                while let Some(Step::Say(next, command)) = steps.peek()
                    && next == talker
                {
                    batch.push(command);
                    steps.next();
                }
                let replies = pair.exchange(*talker, &batch)?;
                comparison.note(*talker, &batch, replies);
            }
            Step::Lapse(key, value) => pair.let_expire(key, value)?,
        }
    }
    comparison.check(Slack { elapsed: began.elapsed(), expired: case.expired() })?;
    match &case.scan {
        Some(options) => pair.compare_scans(options),
        None => Ok(()),
    }
}
