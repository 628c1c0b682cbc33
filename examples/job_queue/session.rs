//! One client's session: what it is answered, what it waits for, and what becomes of its jobs when it leaves.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::frame::{Reply, Request};
use crate::queue::{Answer, ClientId, Job};
use crate::shared::{Shared, Watcher};

/// The longest wait that a client can ask for.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// What a session needs of its connection.
pub trait ClientLink {
    /// How to send events to this client, after the replies so far. The client may be silent from now on.
    ///
    /// # Errors
    ///
    /// The client is gone, or the system has no descriptor left.
    fn watcher(&mut self) -> io::Result<Watcher>;
}

/// A session. Dropped for whatever reason, it gives its jobs back.
pub struct Session {
    shared: Arc<Shared>,
    id: ClientId,
    waiting: Option<Waiting>,
    /// How the client has violated the protocol.
    fault: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    Job,
    Room,
}

/// A wait of the client. Its requests are not read meanwhile: that is the back-pressure.
struct Waiting {
    until: Instant,
    /// The reply if it does not get that before the end of its wait.
    timeout_reply: Reply,
    waits_for: WaitsFor,
}

impl Session {
    /// `wake` wakes this client's thread while it waits.
    pub fn new(shared: Arc<Shared>, wake: impl Fn() + Send + Sync + 'static) -> Session {
        let id = shared.join(Arc::new(wake));
        Session { shared, id, waiting: None, fault: None }
    }

    /// Until when the client waits. `None` if its next request is to be read.
    pub fn waits_until(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.until)
    }

    /// Whether the client has jobs that it has not confirmed.
    pub fn has_jobs(&self) -> bool {
        self.shared.change(|queue| queue.has_jobs(self.id))
    }

    /// Why the session has to end, after the reply is sent.
    pub fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// Carries out a request. Returns the reply, if there is one now: a client may have to wait for it. A client that has jobs
    /// never waits, because it has to confirm them first. Two such clients could wait for each other, and a drain could not tell
    /// them that it has begun.
    ///
    /// # Errors
    ///
    /// Those of `link`.
    pub fn on_request(
        &mut self,
        request: Request,
        is_draining: bool,
        link: &mut dyn ClientLink,
    ) -> io::Result<Option<Reply>> {
        let id = self.id;
        let reply = match request {
            Request::Put { .. } | Request::Reserve { .. } if is_draining => Reply::Closing,
            Request::Put { wait, body } => return Ok(self.put(wait, body)),
            Request::Reserve { wait } => return Ok(self.reserve(wait)),
            Request::Done(job) => ok_or_not_yours(self.shared.change(|queue| queue.done(id, job))),
            Request::Release(job) => ok_or_not_yours(self.shared.change(|queue| queue.release(id, job))),
            Request::Watch => {
                self.shared.watch(id, &link.watcher()?);
                return Ok(None);
            }
            Request::Stats => {
                let counts = self.shared.change(|queue| queue.counts());
                Reply::Stats(counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
            }
            Request::Unknown(why) => Reply::Error(why.to_owned()),
            Request::BadLength(length) => {
                self.fault = Some("a length that no frame has");
                Reply::Error(format!("no frame has {length} bytes, closing"))
            }
        };
        Ok(Some(reply))
    }

    /// The client was woken: perhaps it has what it waits for.
    pub fn on_woken(&mut self) -> Option<Reply> {
        let answer = self.shared.change(|queue| queue.take_answer(self.id))?;
        self.waiting = None;
        Some(to_reply(answer))
    }

    /// The client has waited as long as it wanted to.
    pub fn on_deadline(&mut self) -> Option<Reply> {
        let waiting = self.waiting.take()?;
        let answer = self.shared.change(|queue| queue.stop_waiting(self.id));
        Some(answer.map_or(waiting.timeout_reply, to_reply))
    }

    /// The client has closed its side while it waits. It could not confirm a job, so it gets none. A job that it wants to
    /// store has arrived whole, and is stored.
    pub fn on_client_end(&mut self) -> Option<Reply> {
        match &self.waiting {
            Some(Waiting { waits_for: WaitsFor::Job, .. }) => self.give_up(Reply::Empty),
            _ => None,
        }
    }

    /// The server shuts down while the client waits.
    pub fn on_drain(&mut self) -> Option<Reply> {
        self.give_up(Reply::Closing)
    }

    /// Stops waiting, and takes no job any more.
    fn give_up(&mut self, reply: Reply) -> Option<Reply> {
        self.waiting.take()?;
        let id = self.id;
        let stored = self.shared.change(|queue| match queue.stop_waiting(id) {
            Some(Answer::Job(job)) => {
                queue.release(id, job.id);
                None
            }
            stored => stored,
        });
        Some(stored.map_or(reply, to_reply))
    }

    fn put(&mut self, wait: Duration, body: Arc<[u8]>) -> Option<Reply> {
        let id = self.id;
        if wait.is_zero() || self.has_jobs() {
            let stored = self.shared.change(|queue| queue.put(body));
            return Some(stored.map_or(Reply::Full, Reply::Stored));
        }
        self.shared.change(|queue| queue.wait_for_room(id, body));
        self.wait(wait, WaitsFor::Room, Reply::Full)
    }

    fn reserve(&mut self, wait: Duration) -> Option<Reply> {
        let id = self.id;
        if wait.is_zero() || self.has_jobs() {
            let job = self.shared.change(|queue| queue.reserve(id));
            return Some(job.map_or(Reply::Empty, |job| to_reply(Answer::Job(job))));
        }
        self.shared.change(|queue| queue.wait_for_job(id));
        self.wait(wait, WaitsFor::Job, Reply::Empty)
    }

    /// Waits, unless the answer is there already.
    fn wait(&mut self, wait: Duration, waits_for: WaitsFor, timeout_reply: Reply) -> Option<Reply> {
        self.waiting = Some(Waiting { until: Instant::now() + wait.min(MAX_WAIT), timeout_reply, waits_for });
        self.on_woken()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

fn to_reply(answer: Answer) -> Reply {
    match answer {
        Answer::Stored(id) => Reply::Stored(id),
        Answer::Job(Job { id, body }) => Reply::Job { id, body },
    }
}

fn ok_or_not_yours(was_owner: bool) -> Reply {
    if was_owner { Reply::Ok } else { Reply::NotYours }
}
