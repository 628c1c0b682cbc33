//! The clients: redis-benchmark measures rates, and a client of our own fills a server to measure its size.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use acceptd_bench::metric::{Measurements, Metric};

/// A server that takes longer to reply has failed. redis-benchmark has no timeout of its own.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Requests of the calibration run, which finds out how many requests fill the measured time: the minimum for each
/// client, and the minimum in total.
const CALIBRATION_PER_CLIENT: usize = 20;
const CALIBRATION: usize = 1_000;

/// Keys that are written before their replies are read. The replies fit in the socket buffers.
const BATCH: usize = 500;

/// Runs a test of redis-benchmark for about `time`.
///
/// # Errors
///
/// The server does not reply, or replies with an error.
pub fn commands(
    addr: SocketAddr,
    test: &str,
    clients: usize,
    pipeline: usize,
    time: Duration,
) -> io::Result<Measurements> {
    let calibration = CALIBRATION.max(clients * CALIBRATION_PER_CLIENT) * pipeline;
    if test == "GET" {
        // GET needs keys to read.
        benchmark(addr, "SET", clients, pipeline, clients * pipeline)?;
    }
    let measurements = benchmark(addr, test, clients, pipeline, calibration)?;
    let rate = measurements.iter().find(|(metric, _)| *metric == Metric::Rate).map_or(0.0, |(_, rate)| *rate);
    let requests = (rate * time.as_secs_f64()) as usize;
    benchmark(addr, test, clients, pipeline, requests.max(clients * pipeline))
}

fn benchmark(
    addr: SocketAddr,
    test: &str,
    clients: usize,
    pipeline: usize,
    requests: usize,
) -> io::Result<Measurements> {
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string(), "-q", "--csv"]);
    command.args(["-t", &test.to_lowercase(), "-c", &clients.to_string()]);
    command.args(["-P", &pipeline.to_string(), "-n", &requests.to_string()]);
    let output = BenchmarkProcess(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?).output()?;
    let csv = String::from_utf8_lossy(&output.stdout);
    parse_row(&csv, test).filter(|_| output.status.success()).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("redis-benchmark, {}: {}{}", output.status, csv.trim(), stderr.trim()))
    })
}

/// Reads the row of the test. The row's name begins with that of the test: "MSET (10 keys)" for MSET.
fn parse_row(csv: &str, test: &str) -> Option<Measurements> {
    let mut rows = csv.lines().map(|line| line.trim().trim_matches('"').split("\",\"").collect::<Vec<_>>());
    let names = rows.next()?;
    let row = rows.find(|row| row.first().is_some_and(|name| name.split(' ').next() == Some(test)))?;
    let value = |name: &str| {
        let column = names.iter().position(|other| *other == name)?;
        row.get(column)?.parse::<f64>().ok()
    };
    let rate = value("rps").filter(|rate| *rate > 0.0)?;
    Some(vec![(Metric::Rate, rate), (Metric::P50, value("p50_latency_ms")?), (Metric::P99, value("p99_latency_ms")?)])
}

/// A process that exits by itself. Dropping it earlier kills it.
struct BenchmarkProcess(Child);

impl BenchmarkProcess {
    /// Waits for the exit and returns the output, which is small enough for the buffer of a pipe.
    fn output(mut self) -> io::Result<Output> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait()? {
                break status;
            }
            if start.elapsed() > TIMEOUT {
                let timeout = TIMEOUT.as_secs();
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    format!("redis-benchmark did not finish in {timeout} s"),
                ));
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

impl Drop for BenchmarkProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes `keys` keys of 16 bytes with values of 32 bytes. Returns the growth of `used_memory` in bytes for each key,
/// and the client, whose connection counts in the server's memory until it is dropped.
///
/// # Errors
///
/// The server does not reply, or replies with something unexpected.
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
            return Err(io::Error::other(format!("SET got the reply {:?}", String::from_utf8_lossy(&replies))));
        }
    }
    let used = client.used_memory()? - before;
    client.send(b"*1\r\n$6\r\nDBSIZE\r\n")?;
    let size = client.read_line()?;
    if size != format!(":{keys}") {
        return Err(io::Error::other(format!("after SET of {keys} keys, DBSIZE replied {size:?}")));
    }
    Ok((client, used / keys as f64))
}

/// A connection that speaks RESP2.
pub struct Client(BufReader<TcpStream>);

impl Client {
    fn new(addr: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Client(BufReader::new(stream)))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn used_memory(&mut self) -> io::Result<f64> {
        self.send(b"*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n")?;
        let header = self.read_line()?;
        let length: usize = header
            .strip_prefix('$')
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| io::Error::other(format!("INFO got the reply {header:?}")))?;
        let mut text = vec![0; length + b"\r\n".len()];
        self.0.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let used = text.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        used.ok_or_else(|| io::Error::other("the reply to INFO has no used_memory"))
    }
}
