//! A handler's panic: what it said, and where it was, for the one line that the log gets; and what it means for locks.

use std::any::Any;
use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The name of the threads that serve clients.
pub(crate) const CLIENT_THREAD: &str = "client";

thread_local! {
    /// Where the last panic of this thread was, until it is reported.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// A panic hook for a daemon, whose log is all that people read.
///
/// A panic is then one line: for a handler's, the line that reports the end of its connection says where it was.
/// Without this hook std's own prints some lines of its own to standard error first.
///
/// ```
/// std::panic::set_hook(Box::new(acceptd::log_panic));
/// ```
pub fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    if thread::current().name() == Some(CLIENT_THREAD) {
        PLACE.set(Some(place));
    } else {
        log::error!("panicked at {place}: {:?}", text_of(panic.payload()));
    }
}

/// What a caught panic said, and where it was if [`log_panic`] has noted it.
pub(crate) fn describe(panic: &(dyn Any + Send)) -> String {
    match PLACE.take() {
        Some(place) => format!("{}, at {place}", text_of(panic)),
        None => text_of(panic).to_owned(),
    }
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Takes a lock, poisoned or not. What the server guards with one is changed in single steps (a push, an insert, a count),
/// so a panic while it is held leaves whole values behind. Where one change takes several steps (a chat's state), nothing
/// relies on all of them having been made.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
