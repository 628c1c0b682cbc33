//! Files that are not a store: recognizes them before anything is written to them, and says what to do instead.

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The first bytes of every store.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// How much of a file is read to recognize it, in bytes.
const HEAD_LENGTH: u64 = 512;

/// Checks that the file is a store, is empty or does not exist.
///
/// # Errors
///
/// The file is something else, or can't be read. The message says what it is, and what to do.
pub(super) fn check_is_store(path: &Path) -> io::Result<()> {
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(with_advice(&error, path)),
    };
    if kind.is_dir() {
        let inside = path.join("store");
        return Err(not_a_store(&format!("it is a directory; name a file in it, as in {}", inside.display())));
    }
    if !kind.is_file() {
        return Err(not_a_store(&format!("it is a {}, and a store needs an ordinary file", file_type_name(kind))));
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| with_advice(&error, path))?;
    file.take(HEAD_LENGTH).read_to_end(&mut head).map_err(|error| with_advice(&error, path))?;
    match describe_foreign(&head) {
        None => Ok(()),
        Some(what) => Err(not_a_store(&format!("it is {what}; choose another file, a new one is made"))),
    }
}

/// The error for a file that is not a store.
pub(super) fn not_a_store(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

fn file_type_name(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

/// Describes a file by its first bytes. Returns `None` for a store and for an empty file.
fn describe_foreign(head: &[u8]) -> Option<&'static str> {
    if head.is_empty() || head.starts_with(MAGIC) {
        None
    } else if head.iter().all(|byte| *byte == 0) {
        Some("not a store, or one that was not finished when it was made")
    } else if head.starts_with(b"SQLite format 3\0") {
        Some("a database of SQLite, not a store of acceptd")
    } else if head.starts_with(b"\x7FELF") {
        Some("a program, not a store of acceptd")
    } else if is_text(head) {
        Some("a text file, not a store of acceptd")
    } else {
        Some("not a store of acceptd")
    }
}

/// Whether a file that begins with `head` is text in UTF-8.
fn is_text(head: &[u8]) -> bool {
    let Some(chunk) = head.utf8_chunks().next() else { return false };
    // The head may end in the middle of a character, which has at most four bytes.
    let is_utf8 = chunk.valid().len() + 4 > head.len();
    let is_binary = |character: char| character.is_control() && !character.is_whitespace();
    is_utf8 && !chunk.valid().contains(is_binary)
}

/// Adds advice for the operator to an error of the system.
pub(super) fn with_advice(error: &io::Error, path: &Path) -> io::Error {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.display();
    let advice = match error.kind() {
        ErrorKind::NotFound => format!("is there a directory {directory}? Make it first"),
        ErrorKind::PermissionDenied => {
            format!("this user must be allowed to read and write it, and to make files in {directory}")
        }
        ErrorKind::ReadOnlyFilesystem => format!("{directory} can only be read; choose another place"),
        ErrorKind::NotADirectory => format!("{directory} is not a directory"),
        _ => return io::Error::new(error.kind(), error.to_string()),
    };
    io::Error::new(error.kind(), format!("{error}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_recognized_by_its_first_bytes() {
        for (head, expected) in [
            (&b""[..], None),
            (b"redb\x1A\x0A\xA9\x0D\x0A and more", None),
            (b"SQLite format 3\0", Some("SQLite")),
            (b"\x7FELF\x02\x01\x01", Some("a program")),
            ("notes\n\tgr\u{FC}n\r\n".as_bytes(), Some("a text file")),
            ("cut off: \u{FC}".as_bytes().split_last().unwrap().1, Some("a text file")),
            (b"\x00\x00\x00\x00", Some("not finished")),
            (b"\x00\x01\xFE\xFF", Some("not a store")),
            (b"ab\xFF\xFFcdefgh", Some("not a store")),
        ] {
            let description = describe_foreign(head);
            assert_eq!(description.is_none(), expected.is_none(), "{head:?}");
            let text = description.unwrap_or_default();
            assert!(text.contains(expected.unwrap_or_default()), "{head:?}: {text}");
        }
    }

    #[test]
    fn an_error_of_the_system_comes_with_advice() {
        for (kind, advice) in [
            (ErrorKind::NotFound, "is there a directory data? Make it first"),
            (ErrorKind::PermissionDenied, "this user must be allowed to read and write it"),
            (ErrorKind::ReadOnlyFilesystem, "data can only be read; choose another place"),
            (ErrorKind::NotADirectory, "data is not a directory"),
            (ErrorKind::StorageFull, "no storage space"),
        ] {
            let error = with_advice(&kind.into(), Path::new("data/store"));
            assert!(error.to_string().contains(advice) && error.kind() == kind, "{error}");
        }
        let here = with_advice(&ErrorKind::ReadOnlyFilesystem.into(), Path::new("store"));
        assert!(here.to_string().contains(". can only be read"), "{here}");
    }
}
