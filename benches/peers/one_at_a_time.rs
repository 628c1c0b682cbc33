//! One client at a time: accept, echo, close. All other clients wait.

use std::io;

use acceptd_bench::listen;

fn main() -> io::Result<()> {
    for stream in listen()?.incoming() {
        let stream = stream?;
        let _ = io::copy(&mut &stream, &mut &stream);
    }
    Ok(())
}
