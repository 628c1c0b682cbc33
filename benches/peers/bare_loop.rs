//! The bare loop: a thread for each client, and each thread receives into one buffer and sends it back. It does nothing
//! else, so it is the limit of what a thread for each client can do.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use acceptd_bench::listen;

const BUFFER_SIZE: usize = 16 * 1024;

fn main() -> io::Result<()> {
    for stream in listen()?.incoming() {
        let stream = stream?;
        thread::spawn(move || echo(stream));
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}
