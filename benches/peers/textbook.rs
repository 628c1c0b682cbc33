//! The textbook: `incoming`, a thread for each client, `io::copy`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use acceptd_bench::{MESSAGE_LENGTH, compute_if_marked, is_cpu_heavy, listen};

fn main() -> io::Result<()> {
    let serve = if is_cpu_heavy() { echo_cpu_heavy } else { echo };
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

fn echo_cpu_heavy(mut stream: &TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE_LENGTH];
    loop {
        stream.read_exact(&mut message)?;
        compute_if_marked(&message);
        stream.write_all(&message)?;
    }
}
