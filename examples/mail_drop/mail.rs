//! A mail: how it is received line by line, and how it is written. Both double a dot at the start of a line, so that a line
//! with one dot can end the mail (RFC 1939, section 3).

use std::io::{self, Write};

/// The longest mail, in bytes.
pub const MAX_MAIL: usize = 1024 * 1024;

/// A mail that is on its way. It belongs to nobody until its last line has arrived.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    fault: Option<&'static str>,
}

impl Incoming {
    /// Adds a line without its line end. Returns true at the line that ends the mail.
    pub fn add(&mut self, line: &[u8]) -> bool {
        if line == b"." {
            return true;
        }
        let line = if line.starts_with(b".") { line.get(1..).unwrap_or_default() } else { line };
        if self.bytes.len() + line.len() + 2 > MAX_MAIL {
            self.refuse("the mail is longer than 1 MiB");
        } else {
            self.bytes.extend_from_slice(line);
            self.bytes.extend_from_slice(b"\r\n");
        }
        false
    }

    /// The mail can't be stored. The rest of it is read and dropped, so that it is not taken for commands.
    pub fn refuse(&mut self, fault: &'static str) {
        self.fault.get_or_insert(fault);
        self.bytes = Vec::new();
    }

    /// The complete mail.
    ///
    /// # Errors
    ///
    /// Why it can't be stored.
    pub fn finish(self) -> Result<Vec<u8>, &'static str> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.bytes),
        }
    }
}

/// Writes a mail, and the dot that ends it.
///
/// # Errors
///
/// Those of `out`.
pub fn write_mail(mail: &[u8], out: &mut dyn Write) -> io::Result<()> {
    write_lines(lines(mail), out)
}

/// Writes the header of a mail, the empty line behind it and the first `count` lines of its body, and the dot.
///
/// # Errors
///
/// Those of `out`.
pub fn write_top(mail: &[u8], count: usize, out: &mut dyn Write) -> io::Result<()> {
    let header = lines(mail).take_while(|line| line != b"\r\n").count();
    write_lines(lines(mail).take((header + 1).saturating_add(count)), out)
}

fn lines(mail: &[u8]) -> impl Iterator<Item = &[u8]> {
    mail.split_inclusive(|&byte| byte == b'\n')
}

fn write_lines<'a>(lines: impl Iterator<Item = &'a [u8]>, out: &mut dyn Write) -> io::Result<()> {
    for line in lines {
        if line.starts_with(b".") {
            out.write_all(b".")?;
        }
        out.write_all(line)?;
    }
    out.write_all(b".\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(lines: &[&str]) -> Result<Vec<u8>, &'static str> {
        let mut incoming = Incoming::default();
        for line in lines {
            assert!(!incoming.add(line.as_bytes()));
        }
        assert!(incoming.add(b"."));
        incoming.finish()
    }

    fn written(mail: &[u8]) -> String {
        let mut out = Vec::new();
        write_mail(mail, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_mail_is_written_as_it_was_sent() {
        let lines = ["Subject: dots", "", "..", "..a line with a dot", "no dot.", ""];
        let mail = received(&lines).unwrap();
        assert_eq!(mail, b"Subject: dots\r\n\r\n.\r\n.a line with a dot\r\nno dot.\r\n\r\n");
        assert_eq!(written(&mail), lines.map(|line| format!("{line}\r\n")).concat() + ".\r\n");
    }

    #[test]
    fn a_mail_without_a_line_is_a_dot() {
        assert_eq!(written(&received(&[]).unwrap()), ".\r\n");
    }

    #[test]
    fn top_is_the_header_and_some_lines_of_the_body() {
        let top = |mail: &[u8], count| {
            let mut out = Vec::new();
            write_top(mail, count, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let mail = b"A: 1\r\nB: 2\r\n\r\none\r\n.two\r\n";
        assert_eq!(top(mail, 0), "A: 1\r\nB: 2\r\n\r\n.\r\n");
        assert_eq!(top(mail, 1), "A: 1\r\nB: 2\r\n\r\none\r\n.\r\n");
        assert_eq!(top(mail, usize::MAX), "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n");
        assert_eq!(top(b"A: 1\r\n", 5), "A: 1\r\n.\r\n", "a mail without a body");
    }

    #[test]
    fn a_mail_that_is_too_long_is_refused_whole_and_costs_no_memory() {
        let mut incoming = Incoming::default();
        for _ in 0..2 * MAX_MAIL / 1000 {
            assert!(!incoming.add(&[b'x'; 998]));
            assert!(incoming.bytes.capacity() <= 2 * MAX_MAIL);
        }
        assert_eq!(incoming.finish(), Err("the mail is longer than 1 MiB"));
    }
}
