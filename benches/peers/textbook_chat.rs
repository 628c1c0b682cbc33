//! The textbook's chat: a thread for each client, a `Mutex` around a `Vec` of streams, `writeln!` to each.
//!
//! `writeln!` to a stream is two `send`s, the text and the end of its line; with `--one-write` it is one.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use acceptd_bench::listen;

/// Everybody who is here, by number.
type Members = Vec<(usize, TcpStream)>;

fn main() -> io::Result<()> {
    let say = if env::args().any(|argument| argument == "--one-write") { say_at_once } else { say };
    let room = Arc::new(Mutex::new(Members::new()));
    for (number, stream) in listen()?.incoming().enumerate() {
        let stream = stream?;
        // Else the end of a line waits for the client's acknowledgement of its text, up to 40 ms.
        stream.set_nodelay(true)?;
        let room = Arc::clone(&room);
        thread::spawn(move || {
            let _ = serve(number, &stream, &room, say);
            lock(&room).retain(|(other, _)| *other != number);
        });
    }
    Ok(())
}

/// How a line goes to a client.
type Say = fn(&mut TcpStream, &str) -> io::Result<()>;

fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    writeln!(stream, "{text}")
}

fn say_at_once(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(format!("{text}\n").as_bytes())
}

fn serve(number: usize, stream: &TcpStream, room: &Mutex<Members>, say: Say) -> io::Result<()> {
    {
        let mut members = lock(room);
        let mut member = stream.try_clone()?;
        say(&mut member, &format!("* you are guest{number}"))?;
        members.push((number, member));
    }
    for line in BufReader::new(stream).lines() {
        let text = format!("guest{number}: {}", line?);
        for (_, other) in lock(room).iter_mut().filter(|(other, _)| *other != number) {
            // Whoever has gone notices that in its own thread.
            let _ = say(other, &text);
        }
    }
    Ok(())
}

fn lock(room: &Mutex<Members>) -> MutexGuard<'_, Members> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}
