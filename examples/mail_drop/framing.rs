//! Lines as POP3 frames them: up to LF, with a limit. A line that is too long does not end the session.

/// What a client has sent next.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// A line, without its line end.
    Line(Vec<u8>),
    /// A part of a line that is too long. It was dropped, and there is nothing to answer yet.
    Dropped,
    /// The end of a line that is too long.
    TooLong,
}

/// Splits a client's bytes into lines.
#[derive(Default)]
pub struct Framing {
    /// The beginning of this line was dropped.
    overlong: bool,
}

impl Framing {
    /// The next input among the `unread` bytes, and how many of them it takes. `None` if more have to arrive. A line, line
    /// end included, may have `limit` bytes.
    ///
    /// It never returns `None` when there are `limit` bytes, so `limit` bytes are all that has to be held.
    pub fn next(&mut self, unread: &[u8], limit: usize) -> Option<(Input, usize)> {
        let Some(end) = unread.iter().take(limit).position(|&byte| byte == b'\n') else {
            if unread.len() < limit {
                return None;
            }
            self.overlong = true;
            return Some((Input::Dropped, limit));
        };
        let line = unread.get(..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let was_overlong = std::mem::take(&mut self.overlong);
        let input = if was_overlong { Input::TooLong } else { Input::Line(line.to_vec()) };
        Some((input, end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream contains, if it arrives in pieces of `size` bytes.
    fn inputs(stream: &[u8], size: usize, limit: usize) -> Vec<Input> {
        let (mut framing, mut unread, mut inputs) = (Framing::default(), Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            unread.extend_from_slice(piece);
            while let Some((input, length)) = framing.next(&unread, limit) {
                unread.drain(..length);
                inputs.push(input);
            }
            assert!(unread.len() < limit);
        }
        inputs
    }

    fn line(text: &str) -> Input {
        Input::Line(text.into())
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_split() {
        for size in 1..20 {
            let expected = [line("NOOP"), line("STAT"), line("")];
            assert_eq!(inputs(b"NOOP\r\nSTAT\n\r\nhalf a li", size, 512), expected);
        }
    }

    #[test]
    fn a_line_of_the_limit_is_taken_and_a_longer_one_is_reported_once_at_its_end() {
        let longest = [b"x".repeat(8), b"\r\n".to_vec()].concat();
        assert_eq!(inputs(&longest, 100, 10), [line("xxxxxxxx")]);
        let stream = [b"x".repeat(25), b"\r\nNOOP\r\n".to_vec()].concat();
        for size in 1..40 {
            let expected = [Input::Dropped, Input::Dropped, Input::TooLong, line("NOOP")];
            assert_eq!(inputs(&stream, size, 10), expected);
        }
    }
}
