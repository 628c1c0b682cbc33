//! Code that the peers share, so that each peer shows only its model, and code that the comparisons share.

use std::env;
use std::io::{self, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub mod command_line;
pub mod machine;
pub mod metric;
pub mod process;
pub mod ratio;

/// With `--cpu-heavy`, a peer computes for [`CPU_HEAVY_TIME`] before it echoes a message that begins with this byte.
pub const CPU_HEAVY_MARK: u8 = b'!';

/// How long one such message keeps a core busy.
pub const CPU_HEAVY_TIME: Duration = Duration::from_millis(20);

/// Bytes of a message in the workloads of a fixed message length.
pub const MESSAGE_LENGTH: usize = 64;

/// Listens on a free port of the loopback address and announces it, as acceptd does.
///
/// # Errors
///
/// The socket can't be bound, or stdout is closed.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(&listener)?;
    Ok(listener)
}

/// Prints the address on which a peer listens.
///
/// # Errors
///
/// Stdout is closed.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    stdout.flush()
}

/// Whether this peer was started with `--cpu-heavy`.
pub fn is_cpu_heavy() -> bool {
    env::args().any(|argument| argument == "--cpu-heavy")
}

/// Keeps a core busy for [`CPU_HEAVY_TIME`] if the message begins with [`CPU_HEAVY_MARK`].
pub fn compute_if_marked(message: &[u8]) {
    if message.first() == Some(&CPU_HEAVY_MARK) {
        let start = Instant::now();
        while start.elapsed() < CPU_HEAVY_TIME {
            std::hint::spin_loop();
        }
    }
}
