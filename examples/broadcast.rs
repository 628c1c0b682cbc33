//! A room in which every client gets every line, and nobody waits for a client that does not read.
//!
//! `cargo run --example broadcast`, and `nc 127.0.0.1 17007` in other terminals.

#![allow(clippy::unwrap_used)]

use acceptd::{Connection, Limits, Outbox, Server};
use std::io;
use std::sync::{Arc, Mutex};

fn main() -> io::Result<()> {
    let room: Mutex<Vec<Outbox>> = Mutex::default();
    // One for the socket, and one for the outbox.
    let limits = Limits { descriptors_per_client: 2, ..Limits::default() };
    let server = Server::bind("127.0.0.1:17007", limits)?;
    println!("listening on {}", server.local_addr());
    server.run(move |client: &mut Connection| {
        room.lock().unwrap().push(client.outbox()?);
        while let Some(line) = client.read_line()? {
            let line: Arc<[u8]> = [&line[..], b"\n"].concat().into();
            // Queued under the lock, so that all see the same order.
            let members = {
                let mut members = room.lock().unwrap();
                members.retain(Outbox::is_open);
                for member in &*members {
                    member.queue(Arc::clone(&line));
                }
                members.clone()
            };
            // Sent after it, so that nobody waits for I/O.
            members.iter().for_each(Outbox::flush);
        }
        Ok(())
    });
    Ok(())
}
