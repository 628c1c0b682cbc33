//! The jobs, the workers that have them, and the clients that wait. Pure state, without locks or clocks.
//!
//! Waiting clients are served in the order of arrival. The queue itself assigns a job to a waiting worker. So no job is lost
//! if the worker leaves before it takes the job: the job goes back like any other of that worker.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::frame::Event;

pub type ClientId = u64;

/// A job. Its body is held once, whoever has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: u64,
    pub body: Arc<[u8]>,
}

/// What a waiting client has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Stored(u64),
    Job(Job),
}

/// What clients have to be told after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This client was waiting, and has an answer now.
    Answered(ClientId),
    Event(Event, u64),
}

/// The queue. A client waits for one thing at a time.
pub struct Queue {
    /// How many jobs there may be, ready or reserved.
    capacity: usize,
    last_id: u64,
    ready: VecDeque<Job>,
    reserved: BTreeMap<u64, (ClientId, Job)>,
    /// Workers that wait for a job. No job is ready while there are any.
    workers: VecDeque<ClientId>,
    /// Producers that wait for room, with what they want to store. There is no room while there are any.
    producers: VecDeque<(ClientId, Arc<[u8]>)>,
    /// Answers that the clients have not taken yet.
    answers: HashMap<ClientId, Answer>,
    changes: Vec<Change>,
}

impl Queue {
    pub fn new(capacity: usize) -> Queue {
        Queue {
            capacity,
            last_id: 0,
            ready: VecDeque::new(),
            reserved: BTreeMap::new(),
            workers: VecDeque::new(),
            producers: VecDeque::new(),
            answers: HashMap::new(),
            changes: Vec::new(),
        }
    }

    /// Stores a job. `None` if there is no room.
    pub fn put(&mut self, body: Arc<[u8]>) -> Option<u64> {
        if !self.has_room() {
            return None;
        }
        let id = self.store(body);
        self.serve();
        Some(id)
    }

    /// Stores a job as soon as there is room. `client` gets an [`Answer::Stored`] then.
    pub fn wait_for_room(&mut self, client: ClientId, body: Arc<[u8]>) {
        self.producers.push_back((client, body));
        self.serve();
    }

    /// Gives the next job to `client`. `None` if none is ready.
    pub fn reserve(&mut self, client: ClientId) -> Option<Job> {
        let job = self.ready.pop_front()?;
        self.give(client, &job);
        Some(job)
    }

    /// Gives the next job to `client` as soon as there is one. It gets an [`Answer::Job`] then.
    pub fn wait_for_job(&mut self, client: ClientId) {
        self.workers.push_back(client);
        self.serve();
    }

    /// The answer that the client has been waiting for, if there is one.
    pub fn take_answer(&mut self, client: ClientId) -> Option<Answer> {
        self.answers.remove(&client)
    }

    /// Stops the client's wait. Returns the answer if it came at the last moment.
    pub fn stop_waiting(&mut self, client: ClientId) -> Option<Answer> {
        self.workers.retain(|worker| *worker != client);
        self.producers.retain(|(producer, _)| *producer != client);
        self.take_answer(client)
    }

    /// Removes a job that `client` has. Returns whether it has it.
    pub fn done(&mut self, client: ClientId, id: u64) -> bool {
        let was_owner = self.take_back(client, id).is_some();
        if was_owner {
            self.changes.push(Change::Event(Event::Done, id));
            self.serve();
        }
        was_owner
    }

    /// Makes a job that `client` has the next one. Returns whether it has it.
    pub fn release(&mut self, client: ClientId, id: u64) -> bool {
        let was_owner = self.give_back(client, id);
        self.serve();
        was_owner
    }

    /// The client has left. Its wait ends, and its jobs go back in front of all others, in their order.
    pub fn leave(&mut self, client: ClientId) {
        self.stop_waiting(client);
        let ids: Vec<u64> = self.jobs_of(client).collect();
        for id in ids.into_iter().rev() {
            self.give_back(client, id);
        }
        self.serve();
    }

    pub fn has_jobs(&self, client: ClientId) -> bool {
        self.jobs_of(client).next().is_some()
    }

    /// Ready, reserved, waiting workers, waiting producers.
    pub fn counts(&self) -> [usize; 4] {
        [self.ready.len(), self.reserved.len(), self.workers.len(), self.producers.len()]
    }

    /// What has happened since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn has_room(&self) -> bool {
        self.ready.len() + self.reserved.len() < self.capacity
    }

    fn jobs_of(&self, client: ClientId) -> impl Iterator<Item = u64> {
        self.reserved.iter().filter(move |(_, (owner, _))| *owner == client).map(|(id, _)| *id)
    }

    fn store(&mut self, body: Arc<[u8]>) -> u64 {
        self.last_id += 1;
        self.ready.push_back(Job { id: self.last_id, body });
        self.changes.push(Change::Event(Event::Put, self.last_id));
        self.last_id
    }

    fn give(&mut self, client: ClientId, job: &Job) {
        self.reserved.insert(job.id, (client, job.clone()));
        self.changes.push(Change::Event(Event::Reserved, job.id));
    }

    fn give_back(&mut self, client: ClientId, id: u64) -> bool {
        let Some(job) = self.take_back(client, id) else { return false };
        self.ready.push_front(job);
        self.changes.push(Change::Event(Event::Released, id));
        true
    }

    fn take_back(&mut self, client: ClientId, id: u64) -> Option<Job> {
        let was_owner = self.reserved.get(&id).is_some_and(|(owner, _)| *owner == client);
        if was_owner { self.reserved.remove(&id).map(|(_, job)| job) } else { None }
    }

    /// Gives waiting clients what they wait for, as far as there is any.
    fn serve(&mut self) {
        while self.has_room() {
            let Some((producer, body)) = self.producers.pop_front() else { break };
            let id = self.store(body);
            self.answer(producer, Answer::Stored(id));
        }
        while !self.ready.is_empty() {
            let Some(worker) = self.workers.pop_front() else { break };
            if let Some(job) = self.reserve(worker) {
                self.answer(worker, Answer::Job(job));
            }
        }
    }

    fn answer(&mut self, client: ClientId, answer: Answer) {
        self.answers.insert(client, answer);
        self.changes.push(Change::Answered(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    fn with_jobs(capacity: usize, count: usize) -> Queue {
        let mut queue = Queue::new(capacity);
        for _ in 0..count {
            queue.put(body("job")).unwrap();
        }
        queue.take_changes();
        queue
    }

    fn id_of(answer: Option<Answer>) -> Option<u64> {
        answer.map(|answer| match answer {
            Answer::Job(job) => job.id,
            Answer::Stored(id) => id,
        })
    }

    #[test]
    fn jobs_are_given_in_order_and_each_once() {
        let mut queue = with_jobs(10, 2);
        assert_eq!(queue.reserve(1).map(|job| job.id), Some(1));
        assert_eq!(queue.reserve(2).map(|job| job.id), Some(2));
        assert_eq!(queue.reserve(1), None);
        assert!(!queue.done(2, 1), "another worker has it");
        assert!(queue.done(1, 1));
        assert!(!queue.done(1, 1), "once");
        assert_eq!(queue.counts(), [0, 1, 0, 0]);
    }

    #[test]
    fn a_released_job_is_the_next_one() {
        let mut queue = with_jobs(10, 2);
        queue.reserve(1).unwrap();
        assert!(queue.release(1, 1));
        assert_eq!(queue.reserve(2).map(|job| job.id), Some(1));
    }

    #[test]
    fn a_waiting_worker_gets_the_next_job_and_the_first_one_first() {
        let mut queue = Queue::new(10);
        queue.wait_for_job(1);
        queue.wait_for_job(2);
        assert_eq!(queue.take_answer(1), None);
        queue.put(body("a")).unwrap();
        queue.put(body("b")).unwrap();
        assert_eq!(id_of(queue.take_answer(2)), Some(2));
        assert_eq!(id_of(queue.take_answer(1)), Some(1));
        assert!(queue.done(1, 1) && queue.done(2, 2));
    }

    #[test]
    fn all_jobs_of_a_worker_that_leaves_go_back_in_their_order() {
        let mut queue = with_jobs(10, 3);
        (0..3).for_each(|_| drop(queue.reserve(1)));
        queue.leave(1);
        assert!(!queue.has_jobs(1));
        let order: Vec<u64> = std::iter::from_fn(|| queue.reserve(2)).map(|job| job.id).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn a_job_given_to_a_waiting_worker_that_leaves_goes_to_the_next() {
        let mut queue = Queue::new(10);
        queue.wait_for_job(1);
        queue.wait_for_job(2);
        queue.put(body("a")).unwrap();
        queue.leave(1);
        assert_eq!(queue.take_answer(1), None);
        assert_eq!(id_of(queue.take_answer(2)), Some(1));
    }

    #[test]
    fn a_worker_that_stops_waiting_gets_what_came_at_the_last_moment_and_nothing_later() {
        let mut queue = Queue::new(10);
        queue.wait_for_job(1);
        assert_eq!(queue.stop_waiting(1), None);
        queue.put(body("a")).unwrap();
        assert_eq!(queue.counts(), [1, 0, 0, 0]);
        queue.wait_for_job(1);
        assert_eq!(id_of(queue.stop_waiting(1)), Some(1));
    }

    #[test]
    fn a_producer_waits_for_room_which_a_finished_job_makes() {
        let mut queue = with_jobs(2, 2);
        assert_eq!(queue.put(body("c")), None);
        queue.wait_for_room(7, body("c"));
        queue.wait_for_room(8, body("d"));
        queue.reserve(1).unwrap();
        assert_eq!(queue.take_answer(7), None, "a reserved job takes room: it may come back");
        assert!(queue.done(1, 1));
        assert_eq!(queue.take_answer(7), Some(Answer::Stored(3)));
        assert_eq!(queue.counts(), [2, 0, 0, 1]);
        queue.leave(8);
        queue.reserve(1).unwrap();
        assert!(queue.done(1, 2));
        assert_eq!(queue.counts(), [1, 0, 0, 0], "a producer that has left stores nothing");
    }

    #[test]
    fn changes_are_told_in_order() {
        let mut queue = Queue::new(1);
        queue.wait_for_job(1);
        queue.put(body("a")).unwrap();
        queue.wait_for_room(2, body("b"));
        assert!(queue.done(1, 1));
        let event = |event, id| Change::Event(event, id);
        let expected = [
            event(Event::Put, 1),
            event(Event::Reserved, 1),
            Change::Answered(1),
            event(Event::Done, 1),
            event(Event::Put, 2),
            Change::Answered(2),
        ];
        assert_eq!(queue.take_changes(), expected);
        assert_eq!(queue.take_changes(), []);
    }
}
