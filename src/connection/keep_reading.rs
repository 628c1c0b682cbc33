//! [`KeepReading`]: a guard that keeps a client's input open in a drain.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::shutdown::Shutdown;
use crate::socket::Socket;

/// Keeps a client's input open in a drain until it is dropped: see
/// [`Connection::keep_reading`](crate::Connection::keep_reading).
///
/// ```
/// use acceptd::Connection;
/// use std::io::{self, Write};
///
/// /// Receives a mail, up to a line with a dot. A drain that begins meanwhile waits for the dot.
/// fn receive_mail(client: &mut Connection) -> io::Result<()> {
///     let _whole_mail = client.keep_reading();
///     let mut mail = Vec::new();
///     while let Some(line) = client.read_line()? {
///         if line == b"." {
///             // Store it.
///             return writeln!(client, "250 stored {} lines", mail.len());
///         }
///         mail.push(line);
///     }
///     Ok(())
/// }
/// # let _ = receive_mail;
/// ```
#[must_use = "the input is kept open only as long as the guard lives"]
pub struct KeepReading {
    socket: Weak<Socket>,
    shutdown: Shutdown,
}

impl KeepReading {
    pub(super) fn new(socket: &Arc<Socket>, shutdown: Shutdown) -> KeepReading {
        socket.drain_state().add_guard();
        KeepReading { socket: Arc::downgrade(socket), shutdown }
    }
}

impl Drop for KeepReading {
    fn drop(&mut self) {
        let Some(socket) = self.socket.upgrade() else { return };
        socket.drain_state().remove_guard();
        if self.shutdown.is_requested() || socket.drain_state().is_requested() {
            // For a guard that is dropped by another thread, while the client's own thread waits.
            socket.end_input_for_drain();
        }
    }
}

impl fmt::Debug for KeepReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepReading").finish_non_exhaustive()
    }
}
