//! The textbook with a shutdown flag that it polls: a non-blocking accept, and a sleep of 100 ms when no client waits.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use acceptd_bench::listen;

static SHUTDOWN: AtomicBool = AtomicBool::new(false);

fn main() -> io::Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    while !SHUTDOWN.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
