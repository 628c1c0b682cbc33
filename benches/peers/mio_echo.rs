//! mio: one thread, one event loop over all clients.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use acceptd_bench::{burn, is_burning, listen};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);

/// A client, and what it has sent and not got back yet.
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
    let burning = is_burning();
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
                && !client.echo(&mut buffer, burning)
            {
                clients.remove(&event.token());
            }
        }
    }
}

impl Client {
    /// Reads and writes until neither is possible. Whether the client stays.
    fn echo(&mut self, buffer: &mut [u8], burning: bool) -> bool {
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
                    if burning {
                        burn(&buffer[..count]);
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
