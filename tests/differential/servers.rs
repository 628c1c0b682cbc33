//! Both servers, and the connections to them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::{Frame, show};
use crate::generate::{Command, Word};
use crate::support::PATIENCE;
use crate::support::daemon::{Daemon, acceptd};
use crate::support::machine::skip;

/// acceptd with its store, and with these arguments besides.
pub fn start_acceptd(arguments: &[&str]) -> Daemon {
    Daemon::spawn(acceptd(&["--handler", "kv"]).args(arguments).arg("127.0.0.1:0"))
}

/// A running redis-server without a file, killed when it goes out of scope.
pub struct Redis {
    pub addr: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Redis {
    /// `None`: it is not installed, which has been told.
    pub fn start() -> Option<Redis> {
        // Another process may take the port before Redis does.
        for _ in 0..10 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let folder = std::env::temp_dir().join(format!("acceptd-differential-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let mut process = Process::new("redis-server");
            process.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            // acceptd has one database.
            process.args(["--databases", "1"]).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null());
            let child = match process.spawn() {
                Ok(child) => child,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let _ = std::fs::remove_dir_all(&folder);
                    skip(
                        "the comparison of the store with Redis, since redis-server is not installed",
                        "apt-get install redis-server, or what your system calls it",
                    );
                    return None;
                }
                Err(error) => panic!("redis-server can't be started: {error}"),
            };
            let mut redis = Redis { addr: (Ipv4Addr::LOCALHOST, port).into(), child, folder };
            if redis.comes_up() {
                return Some(redis);
            }
        }
        panic!("redis-server does not come up");
    }

    fn comes_up(&mut self) -> bool {
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
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Two clients speak in a sequence; the third is there for what must not become a part of a transaction.
const TALKERS: usize = 3;
const ASIDE: usize = 2;

/// The same connections to both servers.
pub struct Pair {
    redis: Vec<Talker>,
    acceptd: Vec<Talker>,
}

impl Pair {
    pub fn connect(redis: SocketAddr, acceptd: SocketAddr) -> Pair {
        let connect = |addr| (0..TALKERS).map(|_| Talker::connect(addr)).collect();
        Pair { redis: connect(redis), acceptd: connect(acceptd) }
    }

    /// Forgets all that was, keys, transactions and versions of the protocol.
    pub fn begin(&mut self, resp3: bool) -> Result<(), String> {
        let mut commands = vec![Command::of(&["RESET"]), Command::of(&["FLUSHALL"])];
        if resp3 {
            commands.push(Command::of(&["HELLO", "3"]));
        }
        for talker in 0..TALKERS {
            let replies = self.exchange(talker, &commands.iter().collect::<Vec<_>>())?;
            for (redis, acceptd) in &replies[..2] {
                if redis != acceptd {
                    return Err(format!("before the sequence: Redis {redis:?}, acceptd {acceptd:?}"));
                }
            }
            // What HELLO says differs: who the server is, and the number of the connection.
        }
        Ok(())
    }

    /// Sends commands to both in one go each: their replies, Redis's first.
    pub fn exchange(&mut self, talker: usize, commands: &[&Command]) -> Result<Vec<(Frame, Frame)>, String> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| command.request()).collect();
        self.redis[talker].send(&bytes).map_err(|error| format!("to Redis: {error}"))?;
        self.acceptd[talker].send(&bytes).map_err(|error| format!("to acceptd: {error}"))?;
        let reply = |talker: &mut Talker, whose: &str, command: &Command| {
            talker.reply().map_err(|error| format!("instead of {whose} reply to {command:?}: {error}"))
        };
        let mut replies = Vec::new();
        for command in commands {
            let redis = reply(&mut self.redis[talker], "Redis's", command)?;
            replies.push((redis, reply(&mut self.acceptd[talker], "acceptd's", command)?));
        }
        Ok(replies)
    }

    /// Sets a key, and lets it expire.
    ///
    /// Asking for the key would delete it, and what comes next shall find one that has expired and is still kept. So
    /// both are asked for their time, until it is later than the time at which the key expires.
    pub fn let_expire(&mut self, key: &Word, value: &Word) -> Result<(), String> {
        let set = Command(vec![b"PSETEX".to_vec(), key.clone(), b"1".to_vec(), value.clone()]);
        self.exchange(ASIDE, &[&set])?;
        let (redis, acceptd) = self.times()?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let (redis_now, acceptd_now) = self.times()?;
            if redis_now > redis + 1 && acceptd_now > acceptd + 1 {
                return Ok(());
            }
        }
        Err(format!("a millisecond has not passed within {PATIENCE:?}"))
    }

    /// What time it is for Redis and for acceptd, in milliseconds since 1970.
    fn times(&mut self) -> Result<(u64, u64), String> {
        let replies = self.exchange(ASIDE, &[&Command(vec![b"TIME".to_vec()])])?;
        let millis = |reply: &Frame| {
            let number = |item: &Frame| std::str::from_utf8(&item.body).ok()?.parse::<u64>().ok();
            let [seconds, micros] = &reply.items[..] else { return None };
            Some(number(seconds)? * 1000 + number(micros)? / 1000)
        };
        let [(redis, acceptd)] = &replies[..] else { return Err("TIME is not answered".to_owned()) };
        millis(redis).zip(millis(acceptd)).ok_or_else(|| format!("TIME is answered {redis:?} and {acceptd:?}"))
    }

    /// Iterates over all keys of both, to the end.
    pub fn compare_scans(&mut self, options: &[Word]) -> Result<(), String> {
        let redis = scan(&mut self.redis[ASIDE], options)?;
        let acceptd = scan(&mut self.acceptd[ASIDE], options)?;
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

/// A whole iteration: all keys, of which some may come twice.
fn scan(talker: &mut Talker, options: &[Word]) -> Result<BTreeSet<Word>, String> {
    let (mut keys, mut cursor) = (BTreeSet::new(), b"0".to_vec());
    for _ in 0..10_000 {
        let mut words = vec![b"SCAN".to_vec(), cursor];
        words.extend_from_slice(options);
        talker.send(&Command(words).request()).map_err(|error| error.to_string())?;
        let reply = talker.reply().map_err(|error| error.to_string())?;
        let [next, found] = &reply.items[..] else { return Err(format!("SCAN is answered {reply:?}")) };
        keys.extend(found.items.iter().map(|key| key.body.clone()));
        if next.body == b"0" {
            return Ok(keys);
        }
        cursor = next.body.clone();
    }
    Err("SCAN comes to no end".into())
}

/// A connection, and what has come over it.
pub struct Talker {
    stream: TcpStream,
    received: Vec<u8>,
    /// Up to here it has been read.
    position: usize,
}

impl Talker {
    pub fn connect(addr: SocketAddr) -> Talker {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Talker { stream, received: Vec::new(), position: 0 }
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn end_output(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// The next reply.
    pub fn reply(&mut self) -> std::io::Result<Frame> {
        if self.position == self.received.len() {
            self.received.clear();
            self.position = 0;
        }
        let line = self.line()?;
        let [kind, ref text @ ..] = line[..] else {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "an empty line"));
        };
        let mut frame = Frame { kind, line: text.to_vec(), ..Frame::default() };
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
