//! The textbook's chat: a thread for each client, a `Mutex` around a `Vec` of streams, and a `writeln!` to each stream.
//!
//! `writeln!` to a stream makes two `send`s: the text and the end of its line. With `--one-write` there is only one.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use acceptd_bench::listen;

/// The members of the room, by number.
type Members = Vec<(usize, TcpStream)>;

fn main() -> io::Result<()> {
    let send_line =
        if env::args().any(|argument| argument == "--one-write") { send_line_in_one_write } else { send_line };
    let room = Arc::new(Mutex::new(Members::new()));
    for (number, stream) in listen()?.incoming().enumerate() {
        let stream = stream?;
        // Otherwise the end of a line waits up to 40 ms for the client's acknowledgement of its text.
        stream.set_nodelay(true)?;
        let room = Arc::clone(&room);
        thread::spawn(move || {
            let _ = serve(number, &stream, &room, send_line);
            lock(&room).retain(|(other, _)| *other != number);
        });
    }
    Ok(())
}

/// Sends a line to a client.
type SendLine = fn(&mut TcpStream, &str) -> io::Result<()>;

fn send_line(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    writeln!(stream, "{text}")
}

fn send_line_in_one_write(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(format!("{text}\n").as_bytes())
}

fn serve(number: usize, stream: &TcpStream, room: &Mutex<Members>, send_line: SendLine) -> io::Result<()> {
    {
        let mut members = lock(room);
        let mut member = stream.try_clone()?;
        send_line(&mut member, &format!("* you are guest{number}"))?;
        members.push((number, member));
    }
    for line in BufReader::new(stream).lines() {
        let text = format!("guest{number}: {}", line?);
        for (_, other) in lock(room).iter_mut().filter(|(other, _)| *other != number) {
            // The thread of a member that has gone removes it from the room.
            let _ = send_line(other, &text);
        }
    }
    Ok(())
}

fn lock(room: &Mutex<Members>) -> MutexGuard<'_, Members> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}
