//! A thread that an engine owns. It ends before the engine is dropped.

use std::io;
use std::thread::{self, JoinHandle};

/// Dropping it waits for the thread to end. The owner tells the thread to end before that.
pub(super) struct BackgroundThread(Option<JoinHandle<()>>);

impl BackgroundThread {
    /// # Errors
    ///
    /// The thread can't be started.
    pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<BackgroundThread> {
        Ok(BackgroundThread(Some(thread::Builder::new().name(name.into()).spawn(body)?)))
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // An error means that the thread has panicked, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}
