//! Test support: a server that stops at the end of a scope, and clients that never hang.

// Each test crate uses a part of this module.
#![allow(dead_code)]

#[cfg(feature = "daemon")]
pub mod chat;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod kv;
pub mod machine;
pub mod telnet;

use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown as Direction, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Handler, Limits, Server, Shutdown, Summary, testing};
use socket2::{Domain, Socket, Type};

/// The timeout of every wait for something that should happen at once. It allows for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The library's test server, with a log that tests can read, and with clients that do more.
pub struct TestServer {
    pub addr: SocketAddr,
    pub shutdown: Shutdown,
    server: testing::TestServer,
}

impl TestServer {
    pub fn start(handler: impl Handler) -> TestServer {
        TestServer::with(Limits::default(), handler)
    }

    pub fn with(limits: Limits, handler: impl Handler) -> TestServer {
        TestServer::at("127.0.0.1:0", limits, handler)
    }

    pub fn at(address: &str, limits: Limits, handler: impl Handler) -> TestServer {
        collect_log();
        let server = testing::TestServer::run(Server::bind(address, limits).unwrap(), handler);
        TestServer { addr: server.local_addr(), shutdown: server.shutdown(), server }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Shuts the server down, and waits until it has drained.
    pub fn stop(self) -> Summary {
        self.server.stop()
    }

    /// Waits until `run` has returned.
    pub fn wait(&mut self) -> Summary {
        self.server.wait()
    }
}

/// A client with a timeout on every read and write.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Connects. Over IPv4, each client has its own address (127.1.x.y), so that a test finds its lines in the log.
    pub fn connect(addr: SocketAddr) -> Client {
        Client::connect_with(addr, None)
    }

    /// Connects with a small receive buffer, so that the server soon notices that this client does not read.
    pub fn connect_with_buffer(addr: SocketAddr, bytes: usize) -> Client {
        Client::connect_with(addr, Some(bytes))
    }

    fn connect_with(addr: SocketAddr, receive_buffer: Option<usize>) -> Client {
        static CLIENTS: AtomicU16 = AtomicU16::new(1);
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        if addr.is_ipv4() {
            let [high, low] = CLIENTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            socket.bind(&SocketAddr::from(([127, 1, high, low], 0)).into()).unwrap();
        }
        socket.connect_timeout(&addr.into(), PATIENCE).unwrap();
        Client::from_stream(socket.into())
    }

    pub fn from_stream(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends, and ignores an error: the server may have closed the connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn end_output(&mut self) {
        self.stream.shutdown(Direction::Write).unwrap();
    }

    /// Reads as many bytes as `expected` has, and compares them.
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut got = vec![0; expected.len()];
        let mut count = 0;
        while count < got.len() {
            match self.stream.read(&mut got[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}, waiting for {:?}", text(&got[..count]), text(expected)),
            }
        }
        assert_eq!(text(&got[..count]), text(expected));
    }

    /// The next line, without its line ending. If the connection ends first, the incomplete line.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => break,
                Ok(_) if byte[0] == b'\n' => break,
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} in a line after {:?}", text(&line)),
            }
        }
        text(&line).trim_end_matches('\r').to_owned()
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => text(&rest),
            Err(error) => panic!("{error} instead of the end, after {:?}", text(&rest)),
        }
    }

    /// Everything up to the end of the connection, which may be a reset.
    pub fn rest_or_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error} instead of the end"),
            _ => rest,
        }
    }

    /// Sends, ends its output, and reads until the server closes.
    pub fn talk(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes);
        self.end_output();
        self.rest()
    }

    /// Like [`talk`](Client::talk), in pieces that arrive one by one. The server may close the connection before the last
    /// piece.
    pub fn talk_in_pieces(&mut self, pieces: &[&[u8]]) -> String {
        for piece in pieces {
            self.try_send(piece);
            if pieces.len() > 1 {
                thread::park_timeout(Duration::from_micros(300));
            }
        }
        let _ = self.stream.shutdown(Direction::Write);
        self.rest()
    }
}

/// Bytes as text that is readable in the message of a failed assertion.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// The body of the HTTP response at the end of `output`. Panics if there is none, or if it is incomplete.
pub fn http_response(output: &str) -> &str {
    let start = output.find("HTTP/1.1 400 Bad Request\r\n").unwrap_or_else(|| panic!("no HTTP in {output:?}"));
    let (head, body) = output[start..].split_once("\r\n\r\n").expect("a head that ends");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{output:?}");
    assert!(head.ends_with("\r\nConnection: close"), "{head:?}");
    body
}

/// Polls until `holds` returns true. Panics with `what` after `PATIENCE`.
pub fn eventually<T: Display>(what: T, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "timed out waiting until {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

static LOG: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.lock().unwrap().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Collects what all servers of this process log.
pub fn collect_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The log lines that contain all of `parts`.
pub fn logged(parts: &[&str]) -> Vec<(log::Level, String)> {
    let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
    LOG.lock().unwrap().iter().filter(|(_, line)| has_all(line)).cloned().collect()
}
