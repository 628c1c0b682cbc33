//! Standard error, which may be closed, full, non-blocking, or at a limit on the size of files.

use std::io::{ErrorKind, Write};

use rustix::event::{PollFd, PollFlags, poll};

/// Writes whole lines, and says how many are missing where it could not.
pub(super) struct LogOutput<W> {
    stream: W,
    /// Lines that could not be written since the last one that was.
    lost: u64,
    /// The last line was written in part.
    is_torn: bool,
}

impl<W: Write> LogOutput<W> {
    pub(super) fn new(stream: W) -> LogOutput<W> {
        LogOutput { stream, lost: 0, is_torn: false }
    }

    /// Writes a line; `missing_before` lines before it have given way in the queue.
    pub(super) fn write(&mut self, line: &[u8], missing_before: u64) {
        self.lost += missing_before;
        if self.lost > 0 {
            let (count, are) =
                if self.lost == 1 { ("1 line", "is") } else { (&*format!("{} lines", self.lost), "are") };
            let note = format!("({count} {are} missing here: the log was not read in time, or could not be written)\n");
            if self.write_whole(note.as_bytes()) {
                self.lost = 0;
            }
        }
        if !self.write_whole(line) {
            self.lost += 1;
        }
    }

    /// Whether a line was written to its end. It begins on a line of its own, also after a torn one.
    fn write_whole(&mut self, line: &[u8]) -> bool {
        if self.is_torn && !self.write_all(b"\n") {
            return false;
        }
        self.is_torn = false;
        self.write_all(line)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> bool {
        let length = bytes.len();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count @ 1..) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_until_writable(),
                // There is nowhere to say so: standard error is closed, or its disk is full.
                Ok(_) | Err(_) => {
                    self.is_torn |= bytes.len() < length;
                    return false;
                }
            }
        }
        true
    }
}

/// A standard error that was inherited non-blocking is waited for as any other.
fn wait_until_writable() {
    // An error shows again at the next write.
    let _ = poll(&mut [PollFd::new(&std::io::stderr(), PollFlags::OUT)], None);
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A file that takes so many bytes, as at `ulimit -f`.
    struct Limited {
        written: Vec<u8>,
        room: usize,
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::FileTooLarge.into());
            }
            self.room -= count;
            self.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_a_torn_one_is_ended() {
        let mut output = LogOutput::new(Limited { written: Vec::new(), room: 9 });
        output.write(b"first\n", 0);
        output.write(b"second\n", 0);
        output.write(b"third\n", 2);
        output.stream.room = 1000;
        output.write(b"fourth\n", 1);
        output.write(b"fifth\n", 0);
        let expected = "first\nsec\n(5 lines are missing here: the log was not read in time, or could not be written)\n\
                        fourth\nfifth\n";
        assert_eq!(String::from_utf8(output.stream.written).unwrap(), expected);
    }
}
