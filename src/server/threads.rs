//! One thread per client. A thread whose client has left is parked for a while and serves the next one. Waking it is
//! cheaper than a new stack: a short connection takes a third less time.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::panics::{CLIENT_THREAD, lock_ignoring_poison};

/// What a thread runs: serves one client from its first byte to its end.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A thread that has been parked for this long ends. It does not end earlier, however many are parked: thousands of threads
/// that end at once contend for the process's memory map, and a shutdown has no time for that.
const PARK_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Threads {
    stack_size: usize,
    parked: Arc<Parked>,
}

/// The parked threads, last in, first out: threads that are not needed stay parked until they end.
#[derive(Default)]
struct Parked {
    threads: Mutex<Vec<Arc<ParkedThread>>>,
}

/// One parked thread, which waits here for its next job.
#[derive(Default)]
struct ParkedThread {
    next: Mutex<Option<Job>>,
    assigned: Condvar,
}

impl Threads {
    pub(super) fn new(stack_size: usize) -> Threads {
        Threads { stack_size, parked: Arc::default() }
    }

    /// Runs `job` on a thread of its own: a parked one if there is one, or a new one.
    ///
    /// # Errors
    ///
    /// The system gives no more threads. The job is dropped and was not run.
    pub(super) fn run(&self, job: Job) -> io::Result<()> {
        // The lock is released before the thread is woken: other threads want to park meanwhile.
        let parked = lock_ignoring_poison(&self.parked.threads).pop();
        if let Some(thread) = parked {
            thread.assign(job);
            return Ok(());
        }
        let parked = Arc::clone(&self.parked);
        let builder = thread::Builder::new().name(CLIENT_THREAD.into()).stack_size(self.stack_size);
        // Never `thread::spawn`, which panics when the system refuses.
        builder.spawn(move || work(job, &parked)).map(|_| ())
    }
}

/// A thread: runs one job after another until none comes for a while.
fn work(first: Job, parked: &Parked) {
    first();
    let thread = Arc::new(ParkedThread::default());
    while let Some(job) = parked.wait(&thread) {
        job();
    }
}

impl Parked {
    /// Parks the calling thread. `None`: no job came, so the thread is to end.
    fn wait(&self, thread: &Arc<ParkedThread>) -> Option<Job> {
        lock_ignoring_poison(&self.threads).push(Arc::clone(thread));
        thread.wait(Some(PARK_TIMEOUT)).or_else(|| self.remove(thread))
    }

    /// Removes a thread that got no job in time. If it was just taken out for a job, waits for that job.
    fn remove(&self, thread: &Arc<ParkedThread>) -> Option<Job> {
        let mut threads = lock_ignoring_poison(&self.threads);
        if let Some(place) = threads.iter().position(|other| Arc::ptr_eq(other, thread)) {
            threads.remove(place);
            return None;
        }
        drop(threads);
        thread.wait(None)
    }
}

impl ParkedThread {
    fn assign(&self, job: Job) {
        *lock_ignoring_poison(&self.next) = Some(job);
        self.assigned.notify_one();
    }

    /// The next job; `None` if none came in time.
    fn wait(&self, timeout: Option<Duration>) -> Option<Job> {
        let next = lock_ignoring_poison(&self.next);
        let is_idle = |next: &mut Option<Job>| next.is_none();
        let mut next = match timeout {
            Some(time) => {
                self.assigned.wait_timeout_while(next, time, is_idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.assigned.wait_while(next, is_idle).unwrap_or_else(PoisonError::into_inner),
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
        while lock_ignoring_poison(&threads.parked.threads).len() != count {
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
        let thread = Arc::new(ParkedThread::default());
        // The thread has been picked, the call is on its way: what a thread finds that wakes at just that moment.
        let (tell, told) = mpsc::channel();
        thread.assign(Box::new(move || tell.send(()).unwrap()));
        parked.remove(&thread).unwrap()();
        told.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn poisoned_locks_are_used_on() {
        let threads = Threads::new(STACK);
        worker(&threads);
        wait_for_parked(&threads, 1);
        let parked = Arc::clone(&threads.parked);
        let panicked = thread::spawn(move || {
            let threads = parked.threads.lock().unwrap();
            let _next = threads[0].next.lock().unwrap();
            panic!("while holding both locks");
        });
        assert!(panicked.join().is_err());
        assert!(threads.parked.threads.is_poisoned());
        worker(&threads);
    }
}
