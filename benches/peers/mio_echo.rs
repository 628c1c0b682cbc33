//! mio: one thread, one event loop for all clients.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use acceptd_bench::{compute_if_marked, is_cpu_heavy, listen};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);

/// A client, and the bytes that it has sent and not yet got back.
struct Client {
    stream: TcpStream,
    unsent: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut clients = HashMap::new();
    let mut next = 1;
    let mut buffer = vec![0; 64 * 1024];
    let cpu_heavy = is_cpu_heavy();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE | Interest::WRITABLE)?;
                    clients.insert(Token(next), Client { stream, unsent: Vec::new() });
                    next += 1;
                }
            } else if let Some(client) = clients.get_mut(&event.token())
                && !client.echo(&mut buffer, cpu_heavy)
            {
                clients.remove(&event.token());
            }
        }
    }
}

impl Client {
    /// Reads and writes until either would block. Returns whether the client stays connected.
    fn echo(&mut self, buffer: &mut [u8], cpu_heavy: bool) -> bool {
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(count) => drop(self.unsent.drain(..count)),
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    if cpu_heavy {
                        compute_if_marked(&buffer[..count]);
                    }
                    match self.stream.write(&buffer[..count]) {
                        Ok(sent) => self.unsent.extend_from_slice(&buffer[sent..count]),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            self.unsent.extend_from_slice(&buffer[..count]);
                        }
                        Err(_) => return false,
                    }
                }
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
