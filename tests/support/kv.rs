//! Starts key-value stores for tests, and gives test clients both of their dialects.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use acceptd::handler::kv::{Fsync, Kv, KvOptions};

use super::{Client, TestServer};

/// An engine of the store. All engines must pass the same tests.
#[derive(Clone, Copy)]
pub struct TestEngine {
    /// Opens an empty store of the library.
    pub open: fn(KvOptions) -> Kv,
    /// The arguments with which the program opens such a store, besides `--handler kv`.
    pub arguments: fn() -> Vec<String>,
}

pub const MEMORY: TestEngine =
    TestEngine { open: |options| Kv::in_memory(options).expect("a store in memory"), arguments: Vec::new };

/// A store in a new file. The file stays in the system's temporary directory.
pub const STORE: TestEngine = TestEngine {
    open: |options| Kv::in_file(&new_file(), Fsync::Always, options).expect("a store in a file"),
    arguments: || vec!["--store".into(), new_file().display().to_string()],
};

/// The path of a file that does not exist yet.
fn new_file() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let directory = std::env::temp_dir().join(format!("acceptd-tests-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a temporary directory");
    directory.join(format!("store-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Runs tests for each engine. A test is a function that takes an [`TestEngine`]. A new engine is one more line here.
#[macro_export]
macro_rules! for_each_engine {
    ($($test:ident)*) => {
        $crate::for_one_engine! { memory MEMORY $($test)* }
        $crate::for_one_engine! { store STORE $($test)* }
    };
}

/// Runs tests for the engine in memory only.
#[macro_export]
macro_rules! for_memory {
    ($($test:ident)*) => {
        $crate::for_one_engine! { memory_only MEMORY $($test)* }
    };
}

/// Defines a module with a test for each function, run with one engine.
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

impl TestEngine {
    pub fn serve(self) -> TestServer {
        self.serve_with(KvOptions::default())
    }

    pub fn serve_with(self, options: KvOptions) -> TestServer {
        TestServer::start((self.open)(options))
    }
}

/// Encodes a request in RESP.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(&bulk(word));
    }
    bytes
}

/// Encodes a request in RESP from words that are separated by spaces.
pub fn words(line: &str) -> Vec<u8> {
    request(&line.split(' ').collect::<Vec<_>>())
}

/// Encodes a bulk string, as requests and replies contain it.
pub fn bulk(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// A reply in RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RespReply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Verbatim(String),
    /// `$-1` or `*-1`.
    Nil2,
    /// `_`.
    Nil3,
    Array(Vec<RespReply>),
    Set(Vec<RespReply>),
    Map(Vec<(RespReply, RespReply)>),
}

impl From<&str> for RespReply {
    fn from(text: &str) -> RespReply {
        RespReply::Bulk(text.as_bytes().to_vec())
    }
}

impl From<i64> for RespReply {
    fn from(number: i64) -> RespReply {
        RespReply::Integer(number)
    }
}

impl RespReply {
    pub fn text(&self) -> &str {
        match self {
            RespReply::Simple(text) | RespReply::Error(text) | RespReply::Verbatim(text) => text,
            RespReply::Bulk(bytes) => std::str::from_utf8(bytes).unwrap(),
            other => panic!("{other:?} is not text"),
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            RespReply::Integer(number) => *number,
            other => panic!("{other:?} is not a number"),
        }
    }

    pub fn elements(&self) -> &[RespReply] {
        match self {
            RespReply::Array(elements) | RespReply::Set(elements) => elements,
            other => panic!("{other:?} has no elements"),
        }
    }
}

impl Client {
    /// Sends a request in RESP, from words that are separated by spaces, and reads the reply.
    pub fn ask(&mut self, line: &str) -> RespReply {
        self.send(words(line));
        self.reply()
    }

    /// Sends a line and reads a line.
    pub fn type_line(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    pub fn reply(&mut self) -> RespReply {
        let line = self.line();
        let Some((kind, rest)) = line.split_at_checked(1) else { panic!("an empty line is not a reply") };
        let length = || rest.parse::<usize>().unwrap_or_else(|_| panic!("{line:?} has no length"));
        match kind {
            "+" => RespReply::Simple(rest.to_owned()),
            "-" => RespReply::Error(rest.to_owned()),
            ":" => RespReply::Integer(rest.parse().unwrap()),
            "_" => RespReply::Nil3,
            "$" | "*" if rest == "-1" => RespReply::Nil2,
            "$" => RespReply::Bulk(self.bytes(length())),
            "=" => {
                let text = String::from_utf8(self.bytes(length())).unwrap();
                RespReply::Verbatim(
                    text.strip_prefix("txt:").expect("a verbatim string begins with its format").to_owned(),
                )
            }
            "*" => RespReply::Array((0..length()).map(|_| self.reply()).collect()),
            "~" => RespReply::Set((0..length()).map(|_| self.reply()).collect()),
            "%" => RespReply::Map((0..length()).map(|_| (self.reply(), self.reply())).collect()),
            _ => panic!("{line:?} is not a reply"),
        }
    }

    /// Reads a string of this length and the line end after it.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length + 2];
        std::io::Read::read_exact(&mut self.stream, &mut bytes).unwrap();
        assert!(bytes.ends_with(b"\r\n"), "a string ends with a line end");
        bytes.truncate(length);
        bytes
    }

    /// A numeric field of INFO.
    pub fn info(&mut self, field: &str) -> u64 {
        let info = self.ask("INFO").text().to_owned();
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{info} has no {field}")).parse().unwrap()
    }
}
