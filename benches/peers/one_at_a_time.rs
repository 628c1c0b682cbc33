//! One client at a time: accept, echo, close. Everybody else waits.

use std::io;

use acceptd_bench::listen;

fn main() -> io::Result<()> {
    for stream in listen()?.incoming() {
        let stream = stream?;
        let _ = io::copy(&mut &stream, &mut &stream);
    }
    Ok(())
}
