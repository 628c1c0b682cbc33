//! Panics of handlers: their message and place, for one line in the log, and what they mean for locks.

use std::any::Any;
use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The name of the threads that serve clients.
pub(crate) const CLIENT_THREAD: &str = "client";

thread_local! {
    /// Where this thread panicked, until that is reported.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// A panic hook for daemons. With it, a panic is one line of the log. For a panic in a handler, that is the line about the
/// end of the connection. Without it, std's own hook prints several lines to standard error first.
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

/// The message of a caught panic, and its place if [`log_panic`] has noted it.
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

/// Takes a lock and ignores poison. The server's locks guard values that change in single steps (a push, an insert, a
/// count), so a panic under a lock leaves whole values behind. Where a change takes several steps (the rooms of a chat),
/// no code relies on all of them having happened.
pub(crate) fn lock_ignoring_poison<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
