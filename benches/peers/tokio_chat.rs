//! Tokio's chat: a task for each client, and a `broadcast` channel that all tasks send to and receive from.

use std::io;
use std::sync::Arc;

use acceptd_bench::announce;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Sender};

/// Messages that the channel holds for a slow client before it loses some. The benchmark has fewer in flight.
const CHANNEL_CAPACITY: usize = 1024;

/// The number of the sender, and the line for all other members. They share one copy.
type SentLine = (usize, Arc<str>);

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?.into_std()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    let (room, _) = broadcast::channel(CHANNEL_CAPACITY);
    for number in 0.. {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(number, stream, room.clone()));
    }
    Ok(())
}

async fn serve(number: usize, mut stream: TcpStream, room: Sender<SentLine>) -> io::Result<()> {
    let mut messages = room.subscribe();
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(format!("* you are guest{number}\n").as_bytes()).await?;
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                // This can't fail: `messages` is a receiver.
                let _ = room.send((number, format!("guest{number}: {line}\n").into()));
            }
            message = messages.recv() => {
                let (from, text) = message.map_err(io::Error::other)?;
                if from != number {
                    writer.write_all(text.as_bytes()).await?;
                }
            }
        }
    }
}
