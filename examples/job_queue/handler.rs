//! What connects a [`Session`] with acceptd: the loop that reads or waits, the limits, and the farewells.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use acceptd::{Connection, FarewellReason, Handler, Limits, Next, Paused, Server, Summary, protocol_error};

use crate::frame::{MAX_FRAME, Reply, Request};
use crate::session::{ClientLink, Session};
use crate::shared::{Shared, Watcher};

/// Serves a queue until Ctrl-C is pressed.
///
/// # Errors
///
/// The address can't be bound.
pub fn serve(address: &str, queue: Arc<Shared>) -> io::Result<Summary> {
    let server = Server::bind(address, Limits::default())?;
    let shutdown = server.shutdown();
    ctrlc::set_handler(move || shutdown.request()).map_err(io::Error::other)?;
    println!("listening on {}", server.local_addr());
    Ok(server.run(JobQueue(queue)))
}

/// The protocol.
pub struct JobQueue(pub Arc<Shared>);

impl Handler for JobQueue {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        // Dropped when this returns for whatever reason. So the jobs of a lost worker go back.
        let waker = client.waker()?;
        let mut session = Session::new(Arc::clone(&self.0), move || waker.wake());
        loop {
            // A worker may confirm its jobs during a drain.
            let _until_confirmed = session.has_jobs().then(|| client.keep_reading());
            let reply = match session.waits_until() {
                None => match client.read_request_until(None, MAX_FRAME, Request::decode)? {
                    Next::Request(request) => session.on_request(request, client.is_draining(), client)?,
                    Next::End | Next::Draining => return Ok(()),
                    // A wake that came after the wait was over, or the beginning of a drain: nothing to do.
                    Next::Deadline | Next::Woken => None,
                },
                // What the client sends meanwhile stays unread: the back-pressure.
                Some(until) => match client.pause(until)? {
                    Paused::Woken => session.on_woken(),
                    Paused::Deadline => session.on_deadline(),
                    Paused::ClientEnded => session.on_client_end(),
                    Paused::Draining => session.on_drain(),
                },
            };
            if let Some(reply) = reply {
                client.write_all(&reply.encode())?;
            }
            if let Some(fault) = session.fault() {
                return Err(protocol_error(fault));
            }
        }
    }

    fn limits(&self, limits: Limits) -> Limits {
        // A socket, and the event behind the waker and the outbox. Only events to watchers go through an outbox.
        Limits { descriptors_per_client: 2, max_outbox: limits.max_outbox.min(64 * 1024), ..limits }
    }

    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        let is_drain = matches!(reason, FarewellReason::Draining | FarewellReason::ShuttingDown);
        let reply = if is_drain { Reply::Closing } else { Reply::Error(reason.to_string()) };
        reply.encode().into()
    }
}

impl ClientLink for Connection {
    fn watcher(&mut self) -> io::Result<Watcher> {
        self.set_idle_timeout(None);
        // Replies to earlier requests come first.
        self.flush()?;
        // Two handles of one outbox, because events are queued under a lock and sent after it.
        let (queue, flush) = (self.outbox()?, self.outbox()?);
        // A watcher that has left is removed when its session ends.
        Ok(Watcher { queue: Arc::new(move |event| queue.queue(event)), flush: Arc::new(move || flush.flush()) })
    }
}
