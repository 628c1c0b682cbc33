//! A connection as the stream that std's own code takes it for: [`BufRead`], [`Read`] and [`Write`].

use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Connection;
use super::wait::{OnWake, Received};

impl BufRead for Connection {
    /// What has arrived and is not consumed. Waits for it if that is nothing. Empty when the client has closed its side. The end
    /// of the input in a drain is an error, so that it is never taken for the end of an upload.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check_open()?;
        self.output.note_whole();
        if self.input.unread().is_empty() && self.receive(None, OnWake::Remember)? == Received::Draining {
            return Err(self.end(self.drain_reason()));
        }
        Ok(self.input.unread())
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        if count > 0 {
            self.request_waited = Duration::ZERO;
        }
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }

    /// Fails with the reason why the input has ended, which the server then knows not to be the handler's fault.
    fn read_exact(&mut self, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let count = self.read(into)?;
            if count == 0 {
                return Err(self.end(self.unfinished()));
            }
            into = into.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limits = self.send_limits();
        self.check_writable()?;
        match self.output.write(bytes, &mut self.transport, limits) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => Err(self.fail_output(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let limits = self.send_limits();
        self.check_open()?;
        self.output.flush(&mut self.transport, limits).map_err(|error| self.fail_output(error))
    }
}

/// For the options of the socket (setsockopt(2)). Reading, writing or closing it by this descriptor confuses the connection.
///
/// ```
/// # fn set(client: &mut acceptd::Connection) -> std::io::Result<()> {
/// // An interactive protocol: its packets go before those of bulk transfers (RFC 2474, class selector 4).
/// socket2::SockRef::from(&*client).set_tos_v4(4 << 5)?;
/// # Ok(())
/// # }
/// ```
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.socket().as_fd()
    }
}
