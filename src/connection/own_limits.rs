//! The limits of one connection: those of its server, until its handler changes them.

use std::sync::Arc;
use std::time::Duration;

use super::Connection;
use crate::limits::{Limits, bounded};

/// A length of time that is too short or too long for a limit becomes the shortest (1 ms) or the longest (a year).
impl Connection {
    /// The limits of this connection: its server's, with the changes that were made here.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes [`Limits::idle_timeout`] for this client: for one that has logged in, a worker, or a client that only listens.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.own_limits().idle_timeout = timeout.map(bounded);
    }

    /// Changes [`Limits::request_timeout`] for this client. It applies to a request that has begun as well.
    pub fn set_request_timeout(&mut self, timeout: Duration) {
        self.own_limits().request_timeout = bounded(timeout);
    }

    /// Changes [`Limits::write_timeout`] for this client.
    pub fn set_write_timeout(&mut self, timeout: Duration) {
        self.own_limits().write_timeout = bounded(timeout);
        self.transport.set_write_timeout(bounded(timeout));
    }

    /// Changes [`Limits::max_outbox`] for this client, in bytes. Messages that wait already stay.
    ///
    /// ```
    /// # fn work(client: &mut acceptd::Connection) -> std::io::Result<()> {
    /// // A worker may have a whole job on its way.
    /// client.set_max_outbox(1 << 20);
    /// let outbox = client.outbox()?;
    /// # drop(outbox);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_max_outbox(&mut self, bytes: usize) {
        self.own_limits().max_outbox = bytes;
        self.transport.set_max_outbox(bytes);
    }

    /// Shared with the server until the first change.
    fn own_limits(&mut self) -> &mut Limits {
        Arc::make_mut(&mut self.limits)
    }
}
