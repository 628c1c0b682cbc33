//! The file of a store: its mode, and the errors about files that are not a store.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::daemon::{Daemon, acceptd};

/// Creates a directory for one test.
fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn start(file: &Path) -> Daemon {
    Daemon::start(&["--handler", "kv", "--store", file.to_str().unwrap()])
}

/// The error message of the program for a file that it can't use as a store.
fn refusal(file: &Path) -> String {
    let output = acceptd(&["--handler", "kv", "--store", file.to_str().unwrap(), "127.0.0.1:0"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with(&format!("acceptd: can't open the store {}: ", file.display())), "{stderr}");
    stderr
}

#[test]
fn only_its_owner_can_read_a_new_store() {
    let directory = directory("mode");
    let file = directory.join("store");
    let daemon = start(&file);
    assert_eq!(daemon.connect().talk("SET a 1\n"), "OK\n");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    daemon.end(Signal::TERM);
    // An existing file keeps its mode.
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(start(&file).connect().talk("GET a\n"), "1\n");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_foreign_file_is_refused_and_left_untouched() {
    let directory = directory("foreign");
    for (name, content, expected) in [
        ("notes.txt", &b"buy milk\n"[..], "it is a text file, not a store of acceptd"),
        ("sqlite", b"SQLite format 3\0 and more", "it is a database of SQLite"),
        ("elf", b"\x7FELF\x02\x01\x01\0", "it is a program"),
        ("noise", b"\x80\x81\x82\x83\0\x01", "it is not a store of acceptd"),
        ("zeros", &[0; 4096], "one that was not finished"),
        ("damaged", b"redb\x1A\x0A\xA9\x0D\x0A", "it is damaged; restore it from a copy"),
    ] {
        let file = directory.join(name);
        fs::write(&file, content).unwrap();
        let refusal = refusal(&file);
        assert!(refusal.contains(expected), "{refusal}");
        assert!(!refusal.contains("magic"), "{refusal}");
        assert_eq!(fs::read(&file).unwrap(), content, "{name}");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = directory("redb");
    let file = directory.join("other.redb");
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(refusal(&file).contains("it is a database of another program"));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_error_says_what_a_path_is_that_is_not_a_regular_file() {
    let directory = directory("kinds");
    let fifo = directory.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    for (path, expected) in [
        (directory.clone(), "it is a directory; name a file in it, as in "),
        (fifo, "it is a named pipe, and a store needs an ordinary file"),
        (directory.join("socket"), "it is a socket"),
        (PathBuf::from("/dev/null"), "it is a device"),
        (directory.join("missing/store"), "Make it first"),
        (PathBuf::from("/proc/version/store"), "/proc/version is not a directory"),
    ] {
        let refusal = refusal(&path);
        assert!(refusal.contains(expected), "{refusal}");
    }
    fs::remove_dir_all(directory).unwrap();
}
