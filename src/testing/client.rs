//! [`TestClient`]: a client that never hangs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown as Direction, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::paired::Paired;

/// At most this many bytes are shown in a failure.
const MAX_SHOWN: usize = 200;

/// A client with a timeout for every read and write. Its methods panic if something else happens than the test expects.
#[derive(Debug)]
pub struct TestClient {
    stream: TcpStream,
    /// The other end, for a client that has no server.
    paired: Option<Paired>,
}

impl TestClient {
    pub(super) fn new(stream: TcpStream, paired: Option<Paired>) -> io::Result<TestClient> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(TestClient { stream, paired })
    }

    /// The client's socket, for what the methods here don't do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sets how long each read and write waits, in place of [`PATIENCE`].
    #[track_caller]
    pub fn set_patience(&mut self, patience: Duration) {
        let timeout = Some(patience);
        let outcome = self.stream.set_read_timeout(timeout).and_then(|()| self.stream.set_write_timeout(timeout));
        if let Err(error) = outcome {
            panic!("can't wait for {patience:?}: {error}");
        }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.stream.write_all(bytes.as_ref()) {
            panic!("can't send {}: {}", shown(bytes.as_ref()), describe(&error));
        }
    }

    /// Ends the output: the handler finds the end of its input, and can still reply.
    #[track_caller]
    pub fn end_output(&mut self) {
        if let Err(error) = self.stream.shutdown(Direction::Write) {
            panic!("can't end the output: {error}");
        }
    }

    /// Reads as many bytes as `expected` has, and compares them.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        match self.read_up_to(expected.len()) {
            (received, None) if received == expected => {}
            (received, None) => panic!("received {}, and expected {}", shown(&received), shown(expected)),
            (received, Some(error)) => {
                panic!("{} after {}, and expected {}", describe(&error), shown(&received), shown(expected))
            }
        }
    }

    /// Reads exactly so many bytes, for what a test takes apart itself, such as a frame.
    #[track_caller]
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        match self.read_up_to(count) {
            (received, None) if received.len() == count => received,
            (received, None) => panic!("the stream ended after {}, and {count} bytes were expected", shown(&received)),
            (received, Some(error)) => {
                panic!("{} after {}, and {count} bytes were expected", describe(&error), shown(&received))
            }
        }
    }

    /// Reads `count` bytes, or what comes before the end or an error.
    fn read_up_to(&mut self, count: usize) -> (Vec<u8>, Option<io::Error>) {
        let mut received = Vec::new();
        let outcome = (&self.stream).take(count as u64).read_to_end(&mut received);
        (received, outcome.err())
    }

    /// Waits for the end of the stream. Fails if anything comes before it, and if the connection is reset.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "received {}, and expected the end of the stream", shown(&rest));
    }

    /// Reads everything up to the end of the stream. Fails if the connection is reset.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(error) => panic!("{} after {}, and expected the end of the stream", describe(&error), shown(&rest)),
        }
    }

    /// The next line, without its line end (LF or CRLF).
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => panic!("the stream ended after {}, and a line was expected", shown(&line)),
                Ok(_) if byte == *b"\n" => break,
                Ok(_) => line.extend(byte),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{} after {}, and a line was expected", describe(&error), shown(&line)),
            }
        }
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned()
    }

    /// Drains the handler of a [pair](crate::Connection::pair), as [`Shutdown::request`](crate::Shutdown::request) does in
    /// a server. There is no deadline.
    #[track_caller]
    pub fn drain(&self) {
        self.paired("drain").drain();
    }

    /// Cuts the handler of a [pair](crate::Connection::pair), as a server does at the drain deadline, with this farewell.
    ///
    /// A handler that is still sending is reset instead, as everywhere. The end of a message that was received may not have
    /// reached the handler yet: [`ClientHandle::is_idle`](crate::ClientHandle::is_idle) tells when it has.
    #[track_caller]
    pub fn cut(&self, farewell: impl AsRef<[u8]>) {
        self.paired("cut").cut(farewell.as_ref());
    }

    #[track_caller]
    fn paired(&self, what: &str) -> &Paired {
        match &self.paired {
            Some(paired) => paired,
            None => panic!("this client has a server: {what} it through TestServer::shutdown"),
        }
    }
}

/// Bytes as text, and no more of them than are readable in a failure.
fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..MAX_SHOWN).unwrap_or(bytes);
    let text = format!("{:?}", String::from_utf8_lossy(start));
    if start.len() < bytes.len() { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "nothing more happened in time".to_owned(),
        _ => error.to_string(),
    }
}
