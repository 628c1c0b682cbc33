//! Tokio: a task for each client. The first argument is the size of each buffer; the default is 1024.

use std::io;

use acceptd_bench::{announce, compute_if_marked, is_cpu_heavy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let size = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(1024);
    let cpu_heavy = is_cpu_heavy();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let listener = listener.into_std()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Otherwise a reply in several pieces waits up to 40 ms for the client's acknowledgement of the first piece.
        stream.set_nodelay(true)?;
        tokio::spawn(echo(stream, size, cpu_heavy));
    }
}

async fn echo(mut stream: TcpStream, size: usize, cpu_heavy: bool) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if cpu_heavy {
            compute_if_marked(&buffer[..count]);
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
