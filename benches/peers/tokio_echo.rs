//! Tokio: a task for each client. The first argument is the size of its buffer, 1024 if there is none.

use std::io;

use acceptd_bench::{announce, burn, is_burning};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let size = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(1024);
    let burning = is_burning();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let listener = listener.into_std()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Else a reply in several pieces waits for the client's acknowledgement of the first, 40 ms.
        stream.set_nodelay(true)?;
        tokio::spawn(echo(stream, size, burning));
    }
}

async fn echo(mut stream: TcpStream, size: usize, burning: bool) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if burning {
            burn(&buffer[..count]);
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
