//! What connects a [`Session`] with acceptd: the loop that reads, the limits, and the farewells.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use acceptd::{Connection, FarewellReason, Handler, Limits, Next, Server, Summary};

use crate::apop;
use crate::framing::Framing;
use crate::session::{Flow, Session};
use crate::store::Store;

/// Serves the maildrops of a store until Ctrl-C is pressed.
///
/// # Errors
///
/// The address can't be bound.
pub fn serve(address: &str, store: Arc<Store>) -> io::Result<Summary> {
    let server = Server::bind(address, Limits::default())?;
    let shutdown = server.shutdown();
    ctrlc::set_handler(move || shutdown.request()).map_err(io::Error::other)?;
    println!("listening on {}", server.local_addr());
    Ok(server.run(MailDrop(store)))
}

/// The protocol.
pub struct MailDrop(pub Arc<Store>);

impl Handler for MailDrop {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        // Dropped when this returns for whatever reason, and before the client sees the end. So the maildrop is free by then.
        let mut session = Session::new(Arc::clone(&self.0), apop::timestamp());
        let mut framing = Framing::default();
        client.write_all(session.greeting().as_bytes())?;
        loop {
            // A mail that has begun to arrive may be completed during a drain. The guard is renewed with each line.
            let _until_the_dot = session.is_receiving().then(|| client.keep_reading());
            let limit = session.line_limit();
            match client.read_request_until(None, limit, |unread| framing.next(unread, limit))? {
                Next::Request(input) => {
                    let is_draining = client.is_draining();
                    if session.on_input(input, is_draining, client)? == Flow::Close {
                        return Ok(());
                    }
                }
                Next::End => return session.on_end(client),
                Next::Draining => return Ok(()),
                // There is neither a deadline nor a waker.
                Next::Deadline | Next::Woken => {}
            }
        }
    }

    fn limits(&self, limits: Limits) -> Limits {
        // RFC 1939, section 3: at least ten minutes.
        Limits { idle_timeout: Some(Duration::from_secs(600)), ..limits }
    }

    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        match reason {
            // RFC 1939, section 3: no response when the autologout timer expires.
            FarewellReason::Idle { .. } => Cow::Borrowed(b""),
            reason => format!("-ERR {reason}\r\n").into_bytes().into(),
        }
    }
}
