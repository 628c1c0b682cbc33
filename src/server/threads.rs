//! One thread per client. A thread whose client has left is parked for a while, and serves the next one: that costs a
//! wake-up instead of a new stack, a third less time for a client that comes, asks and goes.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::panics::{CLIENT_THREAD, lock};

/// What a thread does: serves one client from its first byte to its end.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A thread that has been parked this long ends. Not earlier, however many are parked: that many threads ending at
/// once would fight over the process's memory map, and a shutdown has no time for that.
const PARKED_FOR: Duration = Duration::from_secs(5);

pub(super) struct Threads {
    stack_size: usize,
    parked: Arc<Parked>,
}

/// The parked threads; the last one in is the first one out, so that those that are not needed grow cold and end.
#[derive(Default)]
struct Parked {
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// Where one thread waits for its next client.
#[derive(Default)]
struct Seat {
    next: Mutex<Option<Job>>,
    call: Condvar,
}

impl Threads {
    pub(super) fn new(stack_size: usize) -> Threads {
        Threads { stack_size, parked: Arc::default() }
    }

    /// Has a thread of its own do `job`: a parked one if there is one, else a new one.
    ///
    /// # Errors
    ///
    /// The system gives no more threads. The job is dropped, undone.
    pub(super) fn run(&self, job: Job) -> io::Result<()> {
        if let Some(seat) = lock(&self.parked.seats).pop() {
            seat.call(job);
            return Ok(());
        }
        let parked = Arc::clone(&self.parked);
        let builder = thread::Builder::new().name(CLIENT_THREAD.into()).stack_size(self.stack_size);
        // Never `thread::spawn`, which panics when the system refuses.
        builder.spawn(move || work(job, &parked)).map(|_| ())
    }
}

/// The life of a thread: job after job, until none comes for a while.
fn work(first: Job, parked: &Parked) {
    first();
    let seat = Arc::new(Seat::default());
    while let Some(job) = parked.wait(&seat) {
        job();
    }
}

impl Parked {
    /// Parks the calling thread. `None`: nobody has called in a while, it is to end.
    fn wait(&self, seat: &Arc<Seat>) -> Option<Job> {
        lock(&self.seats).push(Arc::clone(seat));
        seat.wait(Some(PARKED_FOR)).or_else(|| self.leave(seat))
    }

    /// Takes the seat out of the pool after a wait in vain, unless somebody has just picked it: then the call is on its
    /// way.
    fn leave(&self, seat: &Arc<Seat>) -> Option<Job> {
        let mut seats = lock(&self.seats);
        if let Some(place) = seats.iter().position(|other| Arc::ptr_eq(other, seat)) {
            seats.remove(place);
            return None;
        }
        drop(seats);
        seat.wait(None)
    }
}

impl Seat {
    fn call(&self, job: Job) {
        *lock(&self.next) = Some(job);
        self.call.notify_one();
    }

    /// The next job; `None` if none came in time.
    fn wait(&self, patience: Option<Duration>) -> Option<Job> {
        let next = lock(&self.next);
        let nobody = |next: &mut Option<Job>| next.is_none();
        let mut next = match patience {
            Some(time) => self.call.wait_timeout_while(next, time, nobody).unwrap_or_else(PoisonError::into_inner).0,
            None => self.call.wait_while(next, nobody).unwrap_or_else(PoisonError::into_inner),
        };
        next.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const STACK: usize = 256 * 1024;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Which thread does a job, told when the job is done.
    fn worker(threads: &Threads) -> thread::ThreadId {
        let (tell, told) = mpsc::channel();
        threads.run(Box::new(move || tell.send(thread::current().id()).unwrap())).unwrap();
        told.recv_timeout(PATIENCE).unwrap()
    }

    fn wait_for_parked(threads: &Threads, count: usize) {
        let start = std::time::Instant::now();
        while lock(&threads.parked.seats).len() != count {
            assert!(start.elapsed() < PATIENCE, "{count} threads should be parked");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_parked_thread_is_used_again() {
        let threads = Threads::new(STACK);
        let first = worker(&threads);
        for _ in 0..100 {
            wait_for_parked(&threads, 1);
            assert_eq!(worker(&threads), first);
        }
    }

    #[test]
    fn a_parked_thread_ends_after_a_while_also_when_the_pool_has_gone() {
        let threads = Threads::new(STACK);
        worker(&threads);
        wait_for_parked(&threads, 1);
        let parked = Arc::downgrade(&threads.parked);
        drop(threads);
        let start = std::time::Instant::now();
        while parked.strong_count() > 0 {
            assert!(start.elapsed() < PATIENCE, "the thread still holds the pool");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    #[test]
    fn no_job_is_lost_between_threads_that_park_and_leave() {
        let threads = Threads::new(STACK);
        let (tell, told) = mpsc::channel();
        for n in 0..20_000 {
            let tell = tell.clone();
            threads.run(Box::new(move || tell.send(n).unwrap())).unwrap();
        }
        let mut done: Vec<i32> = (0..20_000).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..20_000));
    }

    #[test]
    fn a_job_that_comes_when_the_thread_has_given_up_waiting_is_done() {
        let parked = Parked::default();
        let seat = Arc::new(Seat::default());
        // The seat has been picked, the call is on its way: what a thread finds that wakes at just that moment.
        let (tell, told) = mpsc::channel();
        seat.call(Box::new(move || tell.send(()).unwrap()));
        parked.leave(&seat).unwrap()();
        told.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn poisoned_locks_are_used_on() {
        let threads = Threads::new(STACK);
        worker(&threads);
        wait_for_parked(&threads, 1);
        let parked = Arc::clone(&threads.parked);
        let panicked = thread::spawn(move || {
            let seats = parked.seats.lock().unwrap();
            let _next = seats[0].next.lock().unwrap();
            panic!("while holding both locks");
        });
        assert!(panicked.join().is_err());
        assert!(threads.parked.seats.is_poisoned());
        worker(&threads);
    }
}
