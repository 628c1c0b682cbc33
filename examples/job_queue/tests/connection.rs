//! Clients of the handler without a server: waits, back-pressure, drains and what becomes of jobs.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use acceptd::testing::TestClient;
use acceptd::{ClosedConnection, Connection, EndReason, Handler, Limits};

use super::requests::{ask, done, expect, frame, job, put, reserve, stats, watch};
use crate::frame::{Event, Reply};
use crate::handler::JobQueue;
use crate::shared::Shared;

/// A wait that a test does not see the end of, in milliseconds.
const LONG: u32 = 60_000;

fn connect(shared: &Arc<Shared>) -> (TestClient, JoinHandle<ClosedConnection>) {
    connect_with(shared, Limits::default())
}

fn connect_with(shared: &Arc<Shared>, limits: Limits) -> (TestClient, JoinHandle<ClosedConnection>) {
    let handler = JobQueue(Arc::clone(shared));
    let (connection, client) = Connection::pair(handler.limits(limits)).unwrap();
    (client, thread::spawn(move || connection.serve(&handler)))
}

fn reason(served: JoinHandle<ClosedConnection>) -> EndReason {
    served.join().unwrap().reason
}

/// Waits until so many workers and producers wait.
fn wait_for_waiting(client: &mut TestClient, [ready, reserved, workers, producers]: [u32; 4]) {
    loop {
        client.send(stats());
        if client.receive(21) == Reply::Stats([ready, reserved, workers, producers]).encode() {
            return;
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_split() {
    let (mut client, served) = connect(&Shared::new(10));
    let requests = [put("a", 0), reserve(LONG), done(1), frame(b'Z', &[]), stats()].concat();
    let (first, rest) = requests.split_at(3);
    client.send(first);
    client.send(rest);
    let unknown = Reply::Error("unknown kind of frame".into());
    expect(&mut client, &[Reply::Stored(1), job(1, "a"), Reply::Ok, unknown, Reply::Stats([0; 4])]);
    client.end_output();
    client.expect_end();
    assert_eq!(reason(served), EndReason::ClientClosed);
}

#[test]
fn a_malformed_length_is_answered_and_closed() {
    for length in [0, 65_533, u32::MAX] {
        let (mut client, served) = connect(&Shared::new(10));
        client.send([&put("a", 0)[..], &length.to_be_bytes()].concat());
        expect(&mut client, &[Reply::Stored(1), Reply::Error(format!("no frame has {length} bytes, closing"))]);
        client.expect_end();
        assert_eq!(reason(served), EndReason::ProtocolError("a length that no frame has".into()));
    }
}

#[test]
fn a_worker_waits_until_its_deadline_and_goes_on() {
    let (mut worker, _) = connect(&Shared::new(10));
    ask(&mut worker, reserve(20), Reply::Empty);
    ask(&mut worker, put("a", 0), Reply::Stored(1));
    ask(&mut worker, reserve(20), job(1, "a"));
}

#[test]
fn a_waiting_worker_gets_the_job_of_another_client() {
    let shared = Shared::new(10);
    let ((mut worker, _), (mut producer, _)) = (connect(&shared), connect(&shared));
    worker.send(reserve(LONG));
    wait_for_waiting(&mut producer, [0, 0, 1, 0]);
    ask(&mut producer, put("a", 0), Reply::Stored(1));
    expect(&mut worker, &[job(1, "a")]);
}

#[test]
fn the_requests_of_a_producer_that_waits_for_room_wait_with_it() {
    let shared = Shared::new(1);
    let ((mut producer, _), (mut worker, _)) = (connect(&shared), connect(&shared));
    producer.send([put("a", 0), put("b", LONG), stats(), put("c", 0)].concat());
    expect(&mut producer, &[Reply::Stored(1)]);
    wait_for_waiting(&mut worker, [1, 0, 0, 1]);
    ask(&mut worker, reserve(0), job(1, "a"));
    ask(&mut worker, done(1), Reply::Ok);
    expect(&mut producer, &[Reply::Stored(2), Reply::Stats([1, 0, 0, 0]), Reply::Full]);
}

#[test]
fn a_worker_that_closes_its_side_while_it_waits_gets_no_job() {
    let shared = Shared::new(10);
    let ((mut worker, served), (mut producer, _)) = (connect(&shared), connect(&shared));
    worker.send(reserve(LONG));
    wait_for_waiting(&mut producer, [0, 0, 1, 0]);
    worker.end_output();
    expect(&mut worker, &[Reply::Empty]);
    worker.expect_end();
    assert_eq!(reason(served), EndReason::ClientClosed);
    ask(&mut producer, put("a", 0), Reply::Stored(1));
    ask(&mut producer, stats(), Reply::Stats([1, 0, 0, 0]));
}

#[test]
fn a_drain_lets_a_worker_confirm_its_job_and_refuses_new_ones() {
    let shared = Shared::new(10);
    let (mut worker, served) = connect(&shared);
    ask(&mut worker, put("a", 0), Reply::Stored(1));
    ask(&mut worker, reserve(0), job(1, "a"));
    worker.drain();
    ask(&mut worker, put("b", LONG), Reply::Closing);
    ask(&mut worker, reserve(LONG), Reply::Closing);
    ask(&mut worker, done(1), Reply::Ok);
    expect(&mut worker, &[Reply::Closing]);
    worker.expect_end();
    assert_eq!(reason(served), EndReason::Drained);
}

#[test]
fn a_drain_ends_a_wait() {
    let shared = Shared::new(10);
    let ((mut worker, served), (mut other, _)) = (connect(&shared), connect(&shared));
    worker.send(reserve(LONG));
    wait_for_waiting(&mut other, [0, 0, 1, 0]);
    worker.drain();
    // The reply, and the farewell.
    expect(&mut worker, &[Reply::Closing, Reply::Closing]);
    worker.expect_end();
    assert_eq!(reason(served), EndReason::Drained);
}

#[test]
fn the_job_of_a_worker_that_is_silent_is_free_before_the_worker_sees_the_end() {
    let shared = Shared::new(10);
    let limits = Limits { idle_timeout: Some(Duration::from_millis(500)), ..Limits::default() };
    let (mut worker, served) = connect_with(&shared, limits);
    ask(&mut worker, put("a", 0), Reply::Stored(1));
    ask(&mut worker, reserve(0), job(1, "a"));
    expect(&mut worker, &[Reply::Error("nothing was sent for 500ms, closing".into())]);
    worker.expect_end();
    assert_eq!(shared.change(|queue| queue.counts()), [1, 0, 0, 0]);
    assert_eq!(reason(served), EndReason::Idle);
}

#[test]
fn a_watcher_gets_its_replies_in_order_and_then_events_and_may_be_silent() {
    let shared = Shared::new(10);
    let limits = Limits { idle_timeout: Some(Duration::from_millis(500)), ..Limits::default() };
    let ((mut watcher, _), (mut other, _)) = (connect_with(&shared, limits), connect(&shared));
    watcher.send([put("a", 0), watch(), reserve(0)].concat());
    let own = [Reply::Stored(1), Reply::Ok, Reply::Event(Event::Reserved, 1), job(1, "a")];
    expect(&mut watcher, &own);
    // Longer than the idle timeout.
    ask(&mut other, reserve(700), Reply::Empty);
    ask(&mut other, put("b", 0), Reply::Stored(2));
    expect(&mut watcher, &[Reply::Event(Event::Put, 2)]);
}
