//! Starts both servers and exchanges commands with them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::{RawReply, show};
use crate::generate::TestCommand;
use crate::support::PATIENCE;
use crate::support::daemon::{Daemon, acceptd};
use crate::support::machine::skip;
use crate::words::Word;

/// Starts acceptd with a store and these further arguments.
pub fn start_acceptd(arguments: &[&str]) -> Daemon {
    Daemon::spawn(acceptd(&["--handler", "kv"]).args(arguments).arg("127.0.0.1:0"))
}

/// A running redis-server that stores nothing on disk. It is killed when the value is dropped.
pub struct Redis {
    pub addr: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Redis {
    /// Returns `None`, and says so, if redis-server is not installed.
    pub fn start() -> Option<Redis> {
        // Several attempts, because another process may take the port before Redis does.
        for _ in 0..10 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let directory = std::env::temp_dir().join(format!("acceptd-differential-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let mut process = Process::new("redis-server");
            process.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            // acceptd has one database.
            process.args(["--databases", "1"]).current_dir(&directory).stdin(Stdio::null()).stdout(Stdio::null());
            let child = match process.spawn() {
                Ok(child) => child,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let _ = std::fs::remove_dir_all(&directory);
                    skip(
                        "the comparison of the store with Redis, since redis-server is not installed",
                        "apt-get install redis-server, or what your system calls it",
                    );
                    return None;
                }
                Err(error) => panic!("redis-server can't be started: {error}"),
            };
            let mut redis = Redis { addr: (Ipv4Addr::LOCALHOST, port).into(), child, directory };
            if redis.becomes_ready() {
                return Some(redis);
            }
        }
        panic!("redis-server does not accept connections");
    }

    fn becomes_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            if TcpStream::connect(self.addr).is_ok() {
                return true;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Two connections execute the sequences. The third is for commands that must not become part of a transaction.
const CONNECTIONS: usize = 3;
const CONTROL: usize = 2;

/// The same connections to both servers.
pub struct ServerPair {
    redis: Vec<RespConnection>,
    acceptd: Vec<RespConnection>,
}

impl ServerPair {
    pub fn connect(redis: SocketAddr, acceptd: SocketAddr) -> ServerPair {
        let connect = |addr| (0..CONNECTIONS).map(|_| RespConnection::connect(addr)).collect();
        ServerPair { redis: connect(redis), acceptd: connect(acceptd) }
    }

    /// Removes all keys, and resets transactions and protocol versions.
    pub fn reset(&mut self, resp3: bool) -> Result<(), String> {
        let mut commands = vec![TestCommand::of(&["RESET"]), TestCommand::of(&["FLUSHALL"])];
        if resp3 {
            commands.push(TestCommand::of(&["HELLO", "3"]));
        }
        for connection in 0..CONNECTIONS {
            let replies = self.exchange(connection, &commands.iter().collect::<Vec<_>>())?;
            for (redis, acceptd) in &replies[..2] {
                if redis != acceptd {
                    return Err(format!("before the sequence: Redis {redis:?}, acceptd {acceptd:?}"));
                }
            }
            // The replies to HELLO differ in the server's version and the connection's id.
        }
        Ok(())
    }

    /// Sends the commands to both servers at once. Returns the replies to each, Redis's first.
    pub fn exchange(
        &mut self,
        connection: usize,
        commands: &[&TestCommand],
    ) -> Result<Vec<(RawReply, RawReply)>, String> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| command.request()).collect();
        self.redis[connection].send(&bytes).map_err(|error| format!("to Redis: {error}"))?;
        self.acceptd[connection].send(&bytes).map_err(|error| format!("to acceptd: {error}"))?;
        let reply = |connection: &mut RespConnection, whose: &str, command: &TestCommand| {
            connection.reply().map_err(|error| format!("instead of {whose} reply to {command:?}: {error}"))
        };
        let mut replies = Vec::new();
        for command in commands {
            let redis = reply(&mut self.redis[connection], "Redis's", command)?;
            replies.push((redis, reply(&mut self.acceptd[connection], "acceptd's", command)?));
        }
        Ok(replies)
    }

    /// Sets a key and waits until it has expired.
    ///
    /// Reading the key would delete it, but the next command is meant to find an expired key that is still stored. So
    /// this asks both servers for their time until it is past the key's expiry time.
    pub fn let_expire(&mut self, key: &Word, value: &Word) -> Result<(), String> {
        let set = TestCommand(vec![b"PSETEX".to_vec(), key.clone(), b"1".to_vec(), value.clone()]);
        self.exchange(CONTROL, &[&set])?;
        let (redis, acceptd) = self.times()?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let (redis_now, acceptd_now) = self.times()?;
            if redis_now > redis + 1 && acceptd_now > acceptd + 1 {
                return Ok(());
            }
        }
        Err(format!("a millisecond has not passed within {PATIENCE:?}"))
    }

    /// The clocks of Redis and of acceptd, in milliseconds since 1970.
    fn times(&mut self) -> Result<(u64, u64), String> {
        let replies = self.exchange(CONTROL, &[&TestCommand(vec![b"TIME".to_vec()])])?;
        let millis = |reply: &RawReply| {
            let number = |item: &RawReply| std::str::from_utf8(&item.body).ok()?.parse::<u64>().ok();
            let [seconds, micros] = &reply.items[..] else { return None };
            Some(number(seconds)? * 1000 + number(micros)? / 1000)
        };
        let [(redis, acceptd)] = &replies[..] else { return Err("there is no reply to TIME".to_owned()) };
        millis(redis).zip(millis(acceptd)).ok_or_else(|| format!("the replies to TIME are {redis:?} and {acceptd:?}"))
    }

    /// Iterates over all keys of both servers and compares them.
    pub fn compare_scans(&mut self, options: &[Word]) -> Result<(), String> {
        let redis = scan(&mut self.redis[CONTROL], options)?;
        let acceptd = scan(&mut self.acceptd[CONTROL], options)?;
        if redis == acceptd {
            return Ok(());
        }
        let listed = |keys: &BTreeSet<Word>| keys.iter().map(|key| show(key)).collect::<Vec<_>>().join(" ");
        Err(format!(
            "SCAN {}: Redis has {}; acceptd has {}",
            options.iter().map(|option| show(option)).collect::<Vec<_>>().join(" "),
            listed(&redis),
            listed(&acceptd),
        ))
    }
}

/// Iterates over all keys. Some may be returned twice.
fn scan(connection: &mut RespConnection, options: &[Word]) -> Result<BTreeSet<Word>, String> {
    let (mut keys, mut cursor) = (BTreeSet::new(), b"0".to_vec());
    for _ in 0..10_000 {
        let mut words = vec![b"SCAN".to_vec(), cursor];
        words.extend_from_slice(options);
        connection.send(&TestCommand(words).request()).map_err(|error| error.to_string())?;
        let reply = connection.reply().map_err(|error| error.to_string())?;
        let [next, found] = &reply.items[..] else { return Err(format!("the reply to SCAN is {reply:?}")) };
        keys.extend(found.items.iter().map(|key| key.body.clone()));
        if next.body == b"0" {
            return Ok(keys);
        }
        cursor = next.body.clone();
    }
    Err("SCAN does not end".into())
}

/// A connection and the input that was received on it.
pub struct RespConnection {
    stream: TcpStream,
    received: Vec<u8>,
    /// Replies have been parsed up to here.
    position: usize,
}

impl RespConnection {
    pub fn connect(addr: SocketAddr) -> RespConnection {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        RespConnection { stream, received: Vec::new(), position: 0 }
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn end_output(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until the server closes the connection.
    pub fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// The next reply.
    pub fn reply(&mut self) -> std::io::Result<RawReply> {
        if self.position == self.received.len() {
            self.received.clear();
            self.position = 0;
        }
        let line = self.line()?;
        let [kind, ref text @ ..] = line[..] else {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "an empty line"));
        };
        let mut frame = RawReply { kind, line: text.to_vec(), ..RawReply::default() };
        let count = || String::from_utf8_lossy(text).parse::<i64>().unwrap_or(-1);
        match kind {
            b'$' | b'=' => {
                if let Ok(length) = usize::try_from(count()) {
                    self.receive(self.position + length + 2)?;
                    frame.body = self.received[self.position..self.position + length].to_vec();
                    self.position += length + 2;
                }
            }
            b'*' | b'~' | b'%' => {
                let pairs = if kind == b'%' { 2 } else { 1 };
                frame.items = (0..count() * pairs).map(|_| self.reply()).collect::<std::io::Result<_>>()?;
            }
            b'+' | b'-' | b':' | b'_' => {}
            _ => {
                let message = format!("a reply that begins with {:?}", show(&line));
                return Err(std::io::Error::new(ErrorKind::InvalidData, message));
            }
        }
        Ok(frame)
    }

    /// The next line, without CR LF.
    fn line(&mut self) -> std::io::Result<Vec<u8>> {
        let mut end = self.position;
        loop {
            self.receive(end + 2)?;
            if &self.received[end..end + 2] == b"\r\n" {
                let line = self.received[self.position..end].to_vec();
                self.position = end + 2;
                return Ok(line);
            }
            end += 1;
        }
    }

    /// Waits until this many bytes have been received.
    fn receive(&mut self, count: usize) -> std::io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while self.received.len() < count {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => self.received.extend_from_slice(&buffer[..more]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
