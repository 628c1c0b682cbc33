//! Writes the log to standard error, which may be closed, non-blocking, on a full disk, or at a file size limit.

use std::io::{ErrorKind, Write};

use rustix::event::{PollFd, PollFlags, poll};

/// Writes whole lines. Where lines are missing, it says how many.
pub(super) struct LogOutput<W> {
    stream: W,
    /// How many lines are missing since the last line that was written.
    missing: u64,
    /// Only a part of the last line was written.
    is_last_line_partial: bool,
}

impl<W: Write> LogOutput<W> {
    pub(super) fn new(stream: W) -> LogOutput<W> {
        LogOutput { stream, missing: 0, is_last_line_partial: false }
    }

    /// Writes a line. The queue has dropped `missing_before` lines before it.
    pub(super) fn write_line(&mut self, line: &[u8], missing_before: u64) {
        self.missing += missing_before;
        if self.missing > 0 {
            let (lines, are) =
                if self.missing == 1 { ("1 line", "is") } else { (&*format!("{} lines", self.missing), "are") };
            let note = format!("({lines} {are} missing here: the log was not read in time, or could not be written)\n");
            if self.try_write_line(note.as_bytes()) {
                self.missing = 0;
            }
        }
        if !self.try_write_line(line) {
            self.missing += 1;
        }
    }

    /// Writes a line, after the line end that a partial line lacks. Returns whether all of it was written.
    fn try_write_line(&mut self, line: &[u8]) -> bool {
        if self.is_last_line_partial && !self.write_all(b"\n") {
            return false;
        }
        self.is_last_line_partial = false;
        self.write_all(line)
    }

    /// Returns whether all bytes were written.
    fn write_all(&mut self, mut bytes: &[u8]) -> bool {
        let length = bytes.len();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count @ 1..) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_until_writable(),
                // Standard error is closed, or its disk is full. There is no other place to report this.
                Ok(_) | Err(_) => {
                    self.is_last_line_partial |= bytes.len() < length;
                    return false;
                }
            }
        }
        true
    }
}

/// Standard error is non-blocking if the program has inherited it so.
fn wait_until_writable() {
    // The next write reports an error.
    let _ = poll(&mut [PollFd::new(&std::io::stderr(), PollFlags::OUT)], None);
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A file with room for a number of bytes, like one at `ulimit -f`.
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
    fn lines_that_can_t_be_written_are_counted_and_a_partial_line_gets_its_end() {
        let mut output = LogOutput::new(Limited { written: Vec::new(), room: 9 });
        output.write_line(b"first\n", 0);
        output.write_line(b"second\n", 0);
        output.write_line(b"third\n", 2);
        output.stream.room = 1000;
        output.write_line(b"fourth\n", 1);
        output.write_line(b"fifth\n", 0);
        let expected = "first\nsec\n(5 lines are missing here: the log was not read in time, or could not be written)\n\
                        fourth\nfifth\n";
        assert_eq!(String::from_utf8(output.stream.written).unwrap(), expected);
    }
}
