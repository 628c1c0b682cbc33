//! The clients: redis-benchmark for rates, and one that fills a store for its size.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::works::{Figure, Figures};

/// What should come does so within this time, or the server has failed. redis-benchmark itself waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many requests before the measured ones tell how many of those fill the time: at least for each client, and in
/// all.
const TRIAL_OF_CLIENT: usize = 20;
const TRIAL: usize = 1_000;

/// So many keys are written before their replies are read: these fit in the buffers of the system.
const BATCH: usize = 500;

/// A test of redis-benchmark that takes about `time`.
///
/// # Errors
///
/// The server did not answer, or with an error.
pub fn commands(addr: SocketAddr, test: &str, clients: usize, pipeline: usize, time: Duration) -> io::Result<Figures> {
    let trial = TRIAL.max(clients * TRIAL_OF_CLIENT) * pipeline;
    if test == "GET" {
        // There has to be what it asks for.
        benchmark(addr, "SET", clients, pipeline, clients * pipeline)?;
    }
    let figures = benchmark(addr, test, clients, pipeline, trial)?;
    let rate = figures.iter().find(|(figure, _)| *figure == Figure::Rate).map_or(0.0, |(_, rate)| *rate);
    let requests = (rate * time.as_secs_f64()) as usize;
    benchmark(addr, test, clients, pipeline, requests.max(clients * pipeline))
}

fn benchmark(addr: SocketAddr, test: &str, clients: usize, pipeline: usize, requests: usize) -> io::Result<Figures> {
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string(), "-q", "--csv"]);
    command.args(["-t", &test.to_lowercase(), "-c", &clients.to_string()]);
    command.args(["-P", &pipeline.to_string(), "-n", &requests.to_string()]);
    let output = Ending(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    figures(&said, test).filter(|_| output.status.success()).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("redis-benchmark, {}: {}{}", output.status, said.trim(), complaint.trim()))
    })
}

/// The test's row, which is named after it ("MSET (10 keys)" after MSET).
fn figures(csv: &str, test: &str) -> Option<Figures> {
    let mut rows = csv.lines().map(|line| line.trim().trim_matches('"').split("\",\"").collect::<Vec<_>>());
    let names = rows.next()?;
    let row = rows.find(|row| row.first().is_some_and(|name| name.split(' ').next() == Some(test)))?;
    let value = |name: &str| {
        let place = names.iter().position(|other| *other == name)?;
        row.get(place)?.parse::<f64>().ok()
    };
    let rate = value("rps").filter(|rate| *rate > 0.0)?;
    Some(vec![(Figure::Rate, rate), (Figure::P50, value("p50_latency_ms")?), (Figure::P99, value("p99_latency_ms")?)])
}

/// A process that ends by itself, or is killed when it goes out of scope.
struct Ending(Child);

impl Ending {
    /// What it said, once it has ended: little enough for the buffer of a pipe.
    fn output(mut self) -> io::Result<Output> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                let patience = PATIENCE.as_secs();
                return Err(io::Error::new(ErrorKind::TimedOut, format!("no end of redis-benchmark in {patience} s")));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let (Some(out), Some(err)) = (&mut self.0.stdout, &mut self.0.stderr) {
            out.read_to_end(&mut stdout)?;
            err.read_to_end(&mut stderr)?;
        }
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes so many keys of 16 bytes with values of 32 bytes: the bytes of `used_memory` for each, and the client, which
/// is counted until it leaves.
///
/// # Errors
///
/// The server did not answer, or not as it should.
pub fn fill(addr: SocketAddr, keys: usize) -> io::Result<(Client, f64)> {
    let mut client = Client::new(addr)?;
    let before = client.used_memory()?;
    let mut batch = Vec::new();
    let mut replies = Vec::new();
    for first in (0..keys).step_by(BATCH) {
        batch.clear();
        let end = keys.min(first + BATCH);
        for number in first..end {
            write!(batch, "*3\r\n$3\r\nSET\r\n$16\r\nkey:{number:012}\r\n$32\r\nvalue:{number:026}\r\n")?;
        }
        client.send(&batch)?;
        replies.resize((end - first) * b"+OK\r\n".len(), 0);
        client.0.read_exact(&mut replies)?;
        if !replies.chunks(b"+OK\r\n".len()).all(|reply| reply == b"+OK\r\n") {
            return Err(io::Error::other(format!("SET was answered {:?}", String::from_utf8_lossy(&replies))));
        }
    }
    let used = client.used_memory()? - before;
    client.send(b"*1\r\n$6\r\nDBSIZE\r\n")?;
    let held = client.line()?;
    if held != format!(":{keys}") {
        return Err(io::Error::other(format!("of {keys} keys, it holds {held:?}")));
    }
    Ok((client, used / keys as f64))
}

/// A connection that speaks RESP2.
pub struct Client(BufReader<TcpStream>);

impl Client {
    fn new(addr: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client(BufReader::new(stream)))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn used_memory(&mut self) -> io::Result<f64> {
        self.send(b"*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n")?;
        let head = self.line()?;
        let length: usize = head
            .strip_prefix('$')
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| io::Error::other(format!("INFO was answered {head:?}")))?;
        let mut text = vec![0; length + b"\r\n".len()];
        self.0.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let used = text.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        used.ok_or_else(|| io::Error::other("INFO does not say used_memory"))
    }
}
