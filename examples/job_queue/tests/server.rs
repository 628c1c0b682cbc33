//! Many clients of a server: lost workers, slow watchers, refusals and the shutdown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use acceptd::Limits;
use acceptd::testing::{PATIENCE, TestClient, TestServer};

use super::requests::{ask, done, expect, job, put, reserve, watch};
use crate::frame::{Event, Reply};
use crate::handler::JobQueue;
use crate::shared::Shared;

/// A wait that a test does not see the end of, in milliseconds.
const LONG: u32 = 60_000;

fn start(capacity: usize, limits: Limits) -> (TestServer, Arc<Shared>) {
    let shared = Shared::new(capacity);
    (TestServer::start_with(JobQueue(Arc::clone(&shared)), limits), shared)
}

/// A worker with the job 1.
fn worker_with_a_job(server: &TestServer) -> TestClient {
    let mut worker = server.connect();
    ask(&mut worker, put("a", 0), Reply::Stored(1));
    ask(&mut worker, reserve(0), job(1, "a"));
    worker
}

/// The next frame, without its length.
fn read_frame(client: &mut TestClient) -> Vec<u8> {
    let length = client.receive(4).try_into().unwrap();
    client.receive(u32::from_be_bytes(length) as usize)
}

#[test]
fn the_job_of_a_lost_worker_goes_to_one_that_waits() {
    let (server, _) = start(10, Limits::default());
    let lost = worker_with_a_job(&server);
    let mut next = server.connect();
    next.send(reserve(LONG));
    drop(lost);
    expect(&mut next, &[job(1, "a")]);
}

#[test]
fn a_client_too_many_is_refused_with_a_frame() {
    let (server, _) = start(10, Limits { max_connections: 1, ..Limits::default() });
    let _first = worker_with_a_job(&server);
    let mut second = server.connect();
    expect(&mut second, &[Reply::Error("too many connections (the limit is 1), try again later".into())]);
    second.expect_end();
}

#[test]
fn a_shutdown_waits_for_a_worker_and_sends_the_others_home() {
    let (mut server, shared) = start(10, Limits { drain_timeout: PATIENCE, ..Limits::default() });
    let (mut worker, mut idle) = (worker_with_a_job(&server), server.connect());
    ask(&mut idle, reserve(0), Reply::Empty);
    server.shutdown().request();
    expect(&mut idle, &[Reply::Closing]);
    idle.expect_end();
    ask(&mut worker, done(1), Reply::Ok);
    expect(&mut worker, &[Reply::Closing]);
    worker.expect_end();
    let summary = server.wait();
    assert_eq!((summary.drained, summary.cut, summary.stuck), (2, 0, 0));
    assert_eq!(shared.change(|queue| queue.counts()), [0; 4]);
}

#[test]
fn a_watcher_that_does_not_read_is_dropped_alone() {
    const ROUNDS: u64 = 100;
    let (server, _) = start(10, Limits::default());
    let (mut deaf, mut watcher, mut worker) = (server.connect(), server.connect(), server.connect());
    for client in [&mut deaf, &mut watcher] {
        ask(client, watch(), Reply::Ok);
    }
    ask(&mut worker, reserve(0), Reply::Empty);
    let deadline = Instant::now() + PATIENCE;
    let mut last_id = 0;
    while server.stats().connections == 3 {
        assert!(Instant::now() < deadline, "all of {last_id} jobs fitted somewhere");
        let ids = last_id + 1..=last_id + ROUNDS;
        last_id += ROUNDS;
        worker.send(ids.clone().flat_map(|id| [put("x", 0), reserve(0), done(id)].concat()).collect::<Vec<u8>>());
        let replies = |id| [Reply::Stored(id), job(id, "x"), Reply::Ok];
        expect(&mut worker, &ids.clone().flat_map(replies).collect::<Vec<Reply>>());
        let events = |id| [Event::Put, Event::Reserved, Event::Done].map(|event| Reply::Event(event, id));
        expect(&mut watcher, &ids.flat_map(events).collect::<Vec<Reply>>());
    }
    let farewell = Reply::Error("you read too slowly, closing".into()).encode();
    while read_frame(&mut deaf) != farewell[4..] {}
    deaf.expect_end();
}

/// Reserves jobs until one says "stop", and reports which are done. Loses its connection now and then, with a job in hand.
fn work(server: &TestServer, report: &Sender<u64>) {
    let mut worker = server.connect();
    for round in 1.. {
        worker.send(reserve(LONG));
        let frame = read_frame(&mut worker);
        let (b'j', Some(id)) = (frame[0], frame[1..].first_chunk()) else { panic!("{frame:?}") };
        let id = u64::from_be_bytes(*id);
        let is_last = frame.ends_with(b"stop");
        if round % 3 == 0 && !is_last {
            worker = server.connect();
            continue;
        }
        ask(&mut worker, done(id), Reply::Ok);
        if is_last {
            return;
        }
        report.send(id).unwrap();
    }
}

#[test]
fn no_job_is_lost_or_done_twice_when_workers_are_lost() {
    const CLIENTS: usize = 4;
    const JOBS: usize = 50;
    let (server, shared) = start(7, Limits::default());
    let (sender, done_jobs) = mpsc::channel();
    let put_all = |count: usize, body: &str| {
        let mut producer = server.connect();
        for _ in 0..count {
            producer.send(put(body, LONG));
            assert_eq!(read_frame(&mut producer)[0], b'p');
        }
    };
    let mut ids = BTreeSet::new();
    thread::scope(|scope| {
        for report in vec![sender; CLIENTS] {
            scope.spawn(|| put_all(JOBS, "x"));
            let server = &server;
            scope.spawn(move || work(server, &report));
        }
        while ids.len() < CLIENTS * JOBS {
            assert!(ids.insert(done_jobs.recv_timeout(PATIENCE).unwrap()), "done twice");
        }
        put_all(CLIENTS, "stop");
    });
    assert_eq!(done_jobs.iter().count(), 0);
    assert_eq!(shared.change(|queue| queue.counts()), [0; 4]);
}
