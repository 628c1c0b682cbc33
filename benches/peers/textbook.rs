//! The textbook: `incoming`, a thread for each client, `io::copy`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use acceptd_bench::{MESSAGE, burn, is_burning, listen};

fn main() -> io::Result<()> {
    let serve = if is_burning() { burning } else { echo };
    for stream in listen()?.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(&stream));
    }
    Ok(())
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut &*stream, &mut stream)?;
    Ok(())
}

fn burning(mut stream: &TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message)?;
        burn(&message);
        stream.write_all(&message)?;
    }
}
