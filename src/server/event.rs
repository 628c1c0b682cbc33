//! [`Event`]: what happens to a server's clients. [`Events`] passes each one to the log, then to the subscribers.

use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};

use super::event_log::{self, RateLimitedLog};
use crate::connection::ClosedConnection;
use crate::farewell::FarewellReason;
use crate::panics;

/// Something that has happened to a client. [`Server::on_event`](crate::Server::on_event) subscribes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client has connected, and its thread has begun to serve it.
    #[non_exhaustive]
    Opened {
        /// The number of the connection.
        id: u64,
        /// The client's address.
        peer_addr: SocketAddr,
    },
    /// A client was refused.
    #[non_exhaustive]
    Refused {
        /// The client's address.
        peer_addr: SocketAddr,
        /// Why, as the client is told.
        reason: FarewellReason,
    },
    /// A connection that was opened has ended. Its client may not have read everything yet.
    Closed(&'a ClosedConnection),
}

type Subscriber = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// Passes events on to the log and to subscribers.
pub(super) struct Events {
    log: RateLimitedLog,
    subscribers: Vec<Subscriber>,
}

/// The subscribers, until the server runs.
#[derive(Default)]
pub(super) struct Subscribers(Vec<Subscriber>);

impl Subscribers {
    pub(super) fn add(&mut self, subscriber: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.0.push(Box::new(subscriber));
    }

    pub(super) fn with_log(self, log: RateLimitedLog) -> Events {
        Events { log, subscribers: self.0 }
    }
}

impl Events {
    pub(super) fn log(&self) -> &RateLimitedLog {
        &self.log
    }

    pub(super) fn publish(&self, event: &Event<'_>) {
        match event {
            Event::Opened { id, peer_addr } => event_log::opened(*id, *peer_addr),
            Event::Refused { peer_addr, reason } => self.log.refused(*peer_addr, *reason),
            Event::Closed(closed) => self.log.closed(closed),
        }
        for subscriber in &self.subscribers {
            // A panic here would end the accept loop.
            if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| subscriber(event))) {
                log::error!("a subscriber to the server's events panicked: {:?}", panics::describe(&*panic));
            }
        }
    }
}
