//! Key-value stores to be tested, and both of their dialects as a client speaks them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use acceptd::handler::kv::{Fsync, Kv, Options};

use super::{Client, TestServer};

/// A way to keep the keys. What holds for one holds for all.
#[derive(Clone, Copy)]
pub struct Engine {
    /// A store of the library, with nothing in it.
    pub open: fn(Options) -> Kv,
    /// What the program is told, besides `--handler kv`, to have such a store.
    pub arguments: fn() -> Vec<String>,
}

pub const MEMORY: Engine =
    Engine { open: |options| Kv::in_memory(options).expect("a store in memory"), arguments: Vec::new };

/// In a file of its own, which is left to the system's temporary folder.
pub const STORE: Engine = Engine {
    open: |options| Kv::in_file(&new_file(), Fsync::Always, options).expect("a store in a file"),
    arguments: || vec!["--store".into(), new_file().display().to_string()],
};

/// A file that is not there yet.
fn new_file() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join(format!("acceptd-tests-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder.join(format!("store-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Runs tests for each engine; a test is a function that takes an [`Engine`]. A new engine is a line here.
#[macro_export]
macro_rules! for_each_engine {
    ($($test:ident)*) => {
        $crate::for_one_engine! { memory MEMORY $($test)* }
        $crate::for_one_engine! { store STORE $($test)* }
    };
}

/// The same for tests that are about memory.
#[macro_export]
macro_rules! for_memory {
    ($($test:ident)*) => {
        $crate::for_one_engine! { memory_only MEMORY $($test)* }
    };
}

/// A module of tests, each with this engine.
#[macro_export]
macro_rules! for_one_engine {
    ($module:ident $engine:ident $($test:ident)*) => {
        mod $module {
            $(#[test]
            fn $test() {
                super::$test($crate::support::kv::$engine);
            })*
        }
    };
}

impl Engine {
    pub fn serve(self) -> TestServer {
        self.serve_with(Options::default())
    }

    pub fn serve_with(self, options: Options) -> TestServer {
        TestServer::start((self.open)(options))
    }
}

/// A request as Redis's clients send it.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(&bulk(word));
    }
    bytes
}

/// A request whose words have no spaces.
pub fn words(line: &str) -> Vec<u8> {
    request(&line.split(' ').collect::<Vec<_>>())
}

/// A value, as it stands in a request and in a reply.
pub fn bulk(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// A reply in RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Verbatim(String),
    /// `$-1` or `*-1`.
    Nil2,
    /// `_`.
    Nil3,
    Array(Vec<Reply>),
    Set(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
}

impl From<&str> for Reply {
    fn from(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }
}

impl From<i64> for Reply {
    fn from(number: i64) -> Reply {
        Reply::Integer(number)
    }
}

impl Reply {
    pub fn text(&self) -> &str {
        match self {
            Reply::Simple(text) | Reply::Error(text) | Reply::Verbatim(text) => text,
            Reply::Bulk(bytes) => std::str::from_utf8(bytes).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            Reply::Integer(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub fn elements(&self) -> &[Reply] {
        match self {
            Reply::Array(elements) | Reply::Set(elements) => elements,
            other => panic!("{other:?} has no elements"),
        }
    }
}

impl Client {
    /// Sends words, which have no spaces, and reads the reply.
    pub fn ask(&mut self, line: &str) -> Reply {
        self.send(words(line));
        self.reply()
    }

    /// Sends a line, and reads a line.
    pub fn type_line(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    pub fn reply(&mut self) -> Reply {
        let line = self.line();
        let Some((kind, rest)) = line.split_at_checked(1) else { panic!("an empty line is no reply") };
        let length = || rest.parse::<usize>().unwrap_or_else(|_| panic!("{line:?} has no length"));
        match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse().unwrap()),
            "_" => Reply::Nil3,
            "$" | "*" if rest == "-1" => Reply::Nil2,
            "$" => Reply::Bulk(self.bytes(length())),
            "=" => {
                let text = String::from_utf8(self.bytes(length())).unwrap();
                Reply::Verbatim(text.strip_prefix("txt:").expect("a verbatim string says what it is").to_owned())
            }
            "*" => Reply::Array((0..length()).map(|_| self.reply()).collect()),
            "~" => Reply::Set((0..length()).map(|_| self.reply()).collect()),
            "%" => Reply::Map((0..length()).map(|_| (self.reply(), self.reply())).collect()),
            _ => panic!("{line:?} is no reply"),
        }
    }

    /// The bytes of a string, with the line end after it.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length + 2];
        std::io::Read::read_exact(&mut self.stream, &mut bytes).unwrap();
        assert!(bytes.ends_with(b"\r\n"), "a string ends with a line end");
        bytes.truncate(length);
        bytes
    }

    /// A field of INFO, which is a number.
    pub fn info(&mut self, field: &str) -> u64 {
        let info = self.ask("INFO").text().to_owned();
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{info} has no {field}")).parse().unwrap()
    }
}
