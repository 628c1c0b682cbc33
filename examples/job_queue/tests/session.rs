//! Sessions without a socket: requests in, replies out. A fake link counts wake-ups and keeps what a watcher is sent.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::frame::{Event, Reply, Request};
use crate::session::{ClientLink, Session};
use crate::shared::{Shared, Watcher};

#[derive(Default)]
struct FakeLink {
    log: Arc<Log>,
}

/// What a watcher was told, and how much of it was flushed.
#[derive(Default)]
struct Log {
    messages: Mutex<Vec<Vec<u8>>>,
    flushed: AtomicUsize,
}

impl ClientLink for FakeLink {
    fn watcher(&mut self) -> io::Result<Watcher> {
        let (queued, flushed) = (Arc::clone(&self.log), Arc::clone(&self.log));
        Ok(Watcher {
            queue: Arc::new(move |message| {
                queued.messages.lock().unwrap().push(message.to_vec());
                true
            }),
            flush: Arc::new(move || {
                flushed.flushed.store(flushed.messages.lock().unwrap().len(), Ordering::Relaxed);
            }),
        })
    }
}

/// A session with its client.
struct Client {
    session: Session,
    link: FakeLink,
    is_draining: bool,
    wakes: Arc<AtomicUsize>,
}

impl Client {
    fn new(shared: &Arc<Shared>) -> Client {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let wake = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        Client { session: Session::new(Arc::clone(shared), wake), link: FakeLink::default(), is_draining: false, wakes }
    }

    fn ask(&mut self, request: Request) -> Option<Reply> {
        self.session.on_request(request, self.is_draining, &mut self.link).unwrap()
    }

    fn put(&mut self, body: &str, wait: Duration) -> Option<Reply> {
        self.ask(Request::Put { wait, body: body.as_bytes().into() })
    }

    fn reserve(&mut self, wait: Duration) -> Option<Reply> {
        self.ask(Request::Reserve { wait })
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::Relaxed)
    }
}

const LONG: Duration = Duration::from_secs(60);

fn job(id: u64, body: &str) -> Option<Reply> {
    Some(Reply::Job { id, body: body.as_bytes().into() })
}

#[test]
fn a_job_is_put_reserved_and_done() {
    let shared = Shared::new(2);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    assert_eq!(worker.reserve(Duration::ZERO), Some(Reply::Empty));
    assert_eq!(producer.put("a", Duration::ZERO), Some(Reply::Stored(1)));
    assert_eq!(worker.reserve(LONG), job(1, "a"), "there is nothing to wait for");
    assert!(worker.session.has_jobs() && worker.session.waits_until().is_none());
    assert_eq!(producer.ask(Request::Done(1)), Some(Reply::NotYours));
    assert_eq!(worker.ask(Request::Done(1)), Some(Reply::Ok));
    assert_eq!(producer.ask(Request::Stats), Some(Reply::Stats([0, 0, 0, 0])));
}

#[test]
fn a_waiting_worker_is_woken_for_its_job() {
    let shared = Shared::new(2);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    assert_eq!(worker.reserve(LONG), None);
    assert!(worker.session.waits_until().is_some());
    assert_eq!(worker.session.on_woken(), None, "woken for nothing, it waits on");
    producer.put("a", Duration::ZERO);
    assert_eq!(worker.wakes(), 1);
    assert_eq!(worker.session.on_woken(), job(1, "a"));
    assert!(worker.session.waits_until().is_none());
}

#[test]
fn a_worker_that_waited_in_vain_gets_no_job_later() {
    let shared = Shared::new(2);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    worker.reserve(LONG);
    assert_eq!(worker.session.on_deadline(), Some(Reply::Empty));
    producer.put("a", Duration::ZERO);
    assert_eq!((worker.wakes(), worker.session.has_jobs()), (0, false));
}

#[test]
fn a_job_that_comes_at_the_deadline_is_not_lost() {
    let shared = Shared::new(2);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    worker.reserve(LONG);
    producer.put("a", Duration::ZERO);
    assert_eq!(worker.session.on_deadline(), job(1, "a"));
}

#[test]
fn a_producer_waits_for_room() {
    let shared = Shared::new(1);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    producer.put("a", Duration::ZERO);
    assert_eq!(producer.put("b", Duration::ZERO), Some(Reply::Full));
    assert_eq!(producer.put("b", LONG), None);
    assert_eq!(producer.session.on_client_end(), None, "what it has sent whole is carried out");
    worker.reserve(Duration::ZERO);
    worker.ask(Request::Done(1));
    assert_eq!(producer.wakes(), 1);
    assert_eq!(producer.session.on_woken(), Some(Reply::Stored(2)));
    assert_eq!(producer.put("c", LONG), None);
    assert_eq!(producer.session.on_deadline(), Some(Reply::Full));
    assert_eq!(producer.ask(Request::Stats), Some(Reply::Stats([1, 0, 0, 0])));
}

#[test]
fn a_client_that_has_jobs_never_waits() {
    let shared = Shared::new(1);
    let mut worker = Client::new(&shared);
    worker.put("a", Duration::ZERO);
    assert_eq!(worker.reserve(LONG), job(1, "a"));
    assert_eq!(worker.reserve(LONG), Some(Reply::Empty));
    assert_eq!(worker.put("b", LONG), Some(Reply::Full));
}

#[test]
fn the_jobs_of_a_worker_that_leaves_go_to_the_next() {
    let shared = Shared::new(3);
    let (mut lost, mut next) = (Client::new(&shared), Client::new(&shared));
    for body in ["a", "b"] {
        next.put(body, Duration::ZERO);
        lost.reserve(Duration::ZERO);
    }
    assert_eq!(next.reserve(LONG), None);
    drop(lost);
    assert_eq!(next.session.on_woken(), job(1, "a"));
    assert_eq!(next.reserve(LONG), job(2, "b"));
}

#[test]
fn a_drain_refuses_new_work_and_takes_confirmations() {
    let shared = Shared::new(3);
    let mut worker = Client::new(&shared);
    worker.put("a", Duration::ZERO);
    worker.reserve(Duration::ZERO);
    worker.is_draining = true;
    assert_eq!(worker.put("b", LONG), Some(Reply::Closing));
    assert_eq!(worker.reserve(LONG), Some(Reply::Closing));
    assert_eq!(worker.ask(Request::Done(1)), Some(Reply::Ok));
}

#[test]
fn a_drain_ends_a_wait_and_a_job_of_the_last_moment_goes_back() {
    let shared = Shared::new(3);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    worker.reserve(LONG);
    producer.put("a", Duration::ZERO);
    assert_eq!(worker.session.on_drain(), Some(Reply::Closing));
    assert_eq!(producer.ask(Request::Stats), Some(Reply::Stats([1, 0, 0, 0])));
}

#[test]
fn a_worker_that_can_not_confirm_gets_no_job() {
    let shared = Shared::new(3);
    let (mut producer, mut worker) = (Client::new(&shared), Client::new(&shared));
    worker.reserve(LONG);
    assert_eq!(worker.session.on_client_end(), Some(Reply::Empty));
    producer.put("a", Duration::ZERO);
    assert!(!worker.session.has_jobs());
}

#[test]
fn a_watcher_gets_its_reply_and_then_each_event_and_all_of_it_is_flushed() {
    let shared = Shared::new(3);
    let (mut watcher, mut worker) = (Client::new(&shared), Client::new(&shared));
    worker.put("before", Duration::ZERO);
    assert_eq!(watcher.ask(Request::Watch), None);
    worker.reserve(Duration::ZERO);
    worker.ask(Request::Release(1));
    worker.reserve(Duration::ZERO);
    drop(worker);
    let events = [Event::Reserved, Event::Released, Event::Reserved, Event::Released];
    let expected = std::iter::once(Reply::Ok).chain(events.map(|event| Reply::Event(event, 1)));
    let expected: Vec<Vec<u8>> = expected.map(|reply| reply.encode()).collect();
    assert_eq!(*watcher.link.log.messages.lock().unwrap(), expected);
    assert_eq!(watcher.link.log.flushed.load(Ordering::Relaxed), expected.len());
}

#[test]
fn a_bad_length_ends_the_session_and_a_bad_frame_does_not() {
    let mut client = Client::new(&Shared::new(1));
    assert_eq!(client.ask(Request::Unknown("why")), Some(Reply::Error("why".into())));
    assert_eq!(client.session.fault(), None);
    assert_eq!(client.ask(Request::BadLength(0)), Some(Reply::Error("no frame has 0 bytes, closing".into())));
    assert!(client.session.fault().is_some());
}
