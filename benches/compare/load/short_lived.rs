//! Clients that connect, send one message, read it back and close.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use acceptd_bench::MESSAGE_LENGTH;
use socket2::Socket;

use super::message::{pattern, read_expected, stamp};
use super::poller::{EventFlags, Poller, TIMEOUT};
use super::sample::{Recorder, Sample, histogram};

/// A client that connects without blocking.
struct Client {
    stream: TcpStream,
    /// When it began to connect; its latency counts from here.
    start: Instant,
    message: Vec<u8>,
    has_sent: bool,
    received: usize,
}

impl Client {
    fn new(stream: TcpStream, number: usize, request: u32, start: Instant) -> Client {
        let mut message = pattern(MESSAGE_LENGTH);
        stamp(&mut message, number, request);
        Client { stream, start, message, has_sent: false, received: 0 }
    }

    fn connect(poller: &Poller, number: usize, request: u32) -> io::Result<Client> {
        let socket = poller.socket()?;
        socket.set_nonblocking(true)?;
        let start = Instant::now();
        poller.start_connect(&socket);
        let client = Client::new(socket.into(), number, request, start);
        poller.add(&client.stream, number, EventFlags::OUT)?;
        Ok(client)
    }

    /// Sends the message, or reads what has come. Returns whether the response is complete.
    fn on_ready(&mut self, poller: &Poller, number: usize) -> io::Result<bool> {
        if !self.has_sent {
            self.stream.write_all(&self.message)?;
            self.has_sent = true;
            poller.modify(&self.stream, number, EventFlags::IN)?;
            return Ok(false);
        }
        let mut buffer = [0; MESSAGE_LENGTH];
        self.received += read_expected(&self.stream, &self.message[self.received..], &mut buffer)?;
        Ok(self.received == self.message.len())
    }
}

/// Whether the kernel reset the connection, which it may do when the accept queue overflows. Such a client reconnects.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Connect, echo, close, by `concurrent` clients at a time. Every client that has connected gets its response.
pub fn connect_echo_close(peer: SocketAddr, concurrent: usize, time: Duration) -> io::Result<Sample> {
    let poller = Poller::new(peer)?;
    let connect = |number| Client::connect(&poller, number, 0).map(Some);
    let mut clients = (0..concurrent).map(connect).collect::<io::Result<Vec<_>>>()?;
    let begin = Instant::now() + time / 5;
    let end = begin + time;
    let mut recorder = Recorder::new(begin, end);
    let (mut waiting, mut requests) = (concurrent, 0);
    while waiting > 0 {
        let ready = poller.wait(end + TIMEOUT)?;
        if ready.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{waiting} clients got no response")));
        }
        for number in ready {
            let Some(client) = &mut clients[number] else { continue };
            match client.on_ready(&poller, number) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if is_reset(&error) => {
                    // The latency includes the failed attempt.
                    *client = Client { start: client.start, ..Client::connect(&poller, number, requests)? };
                    continue;
                }
                Err(error) => return Err(error),
            }
            let now = Instant::now();
            recorder.record(client.start, now);
            if now < end {
                requests += 1;
                *client = Client::connect(&poller, number, requests)?;
            } else {
                // Close the connection: a peer that serves one client at a time accepts the next one only then.
                clients[number] = None;
                waiting -= 1;
            }
        }
    }
    recorder.sample(time)
}

/// All clients connect at the same instant. The burst ends when the last one has its response. Each latency counts from
/// the start of the burst.
pub fn burst(peer: SocketAddr, count: usize) -> io::Result<Sample> {
    let poller = Poller::new(peer)?;
    let sockets: Vec<Socket> = (0..count).map(|_| poller.socket()).collect::<io::Result<_>>()?;
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        poller.add(socket, number, EventFlags::OUT)?;
    }
    let start = Instant::now();
    for socket in &sockets {
        poller.start_connect(socket);
    }
    let client = |(number, socket): (usize, Socket)| Client::new(socket.into(), number, 0, start);
    let mut clients: Vec<Client> = sockets.into_iter().enumerate().map(client).collect();
    let mut latencies = histogram();
    while latencies.len() < count as u64 {
        let ready = poller.wait(start + TIMEOUT)?;
        if ready.is_empty() && start.elapsed() >= TIMEOUT {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("only {} got a response", latencies.len())));
        }
        for number in ready {
            match clients[number].on_ready(&poller, number) {
                Ok(true) => {
                    latencies.saturating_record(start.elapsed().as_nanos() as u64);
                    poller.delete(&clients[number].stream)?;
                }
                Ok(false) => {}
                Err(error) if is_reset(&error) => clients[number] = Client::connect(&poller, number, 1)?,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Sample::new(1, start.elapsed(), &latencies))
}
