//! What the peers share, so that each of them is only its model, and what the comparisons share.

use std::env;
use std::io::{self, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub mod command_line;
pub mod machine;
pub mod process;
pub mod ratio;

/// Messages that begin with this byte make a burning peer compute for `BURN` before it answers.
pub const BURN_MARK: u8 = b'!';

/// How long one such message keeps a processor busy.
pub const BURN: Duration = Duration::from_millis(20);

/// Messages of the burning works have this length.
pub const MESSAGE: usize = 64;

/// Listens on a free port of this machine and says so, as acceptd does.
///
/// # Errors
///
/// The system's.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(&listener)?;
    Ok(listener)
}

/// Says where a peer listens.
///
/// # Errors
///
/// The system's.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    stdout.flush()
}

/// Whether this peer was asked to compute for messages that begin with the mark.
pub fn is_burning() -> bool {
    env::args().any(|argument| argument == "--burning")
}

/// Computes for a while, if the message asks for it.
pub fn burn(message: &[u8]) {
    if message.first() == Some(&BURN_MARK) {
        let start = Instant::now();
        while start.elapsed() < BURN {
            std::hint::spin_loop();
        }
    }
}
