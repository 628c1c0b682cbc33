//! A job queue with length-prefixed frames: producers put jobs, workers reserve them, do them and confirm them.
//!
//! It shows frames (`frame.rs`), waiting for something else than the client with a [`Waker`](acceptd::Waker) (a worker waits for a job, a
//! producer for room), events that are pushed to watchers through an [`Outbox`](acceptd::Outbox), and a shutdown that lets workers confirm
//! their jobs. The jobs of a worker that is lost go to the next one. All of the protocol is in files that know nothing of
//! acceptd; `handler.rs` connects them with it. Jobs are kept in memory.
//!
//! `cargo run --example job_queue -- 127.0.0.1:17011` serves it. A few lines of Python are a client:
//!
//! ```text
//! import socket, struct
//! queue = socket.create_connection(("127.0.0.1", 17011))
//! queue_file = queue.makefile("rb")
//! def ask(kind, payload=b""):
//!     queue.sendall(struct.pack(">I", 1 + len(payload)) + kind + payload)
//!     return reply()
//! def reply():
//!     (length,) = struct.unpack(">I", queue_file.read(4))
//!     return queue_file.read(length)
//!
//! ask(b"P", struct.pack(">I", 0) + b"wash the car")  # b'p' and the id: stored
//! ask(b"R", struct.pack(">I", 10_000))               # b'j', the id and the body; waits for 10 seconds at most
//! ask(b"D", struct.pack(">Q", 1))                    # b'k': done
//! ask(b"S")                                          # b's': how many are ready, reserved; how many clients wait
//! ask(b"W")                                          # b'k'; from now on reply() returns events as they come
//! ```
//!
//! A second argument is how many jobs there may be. A producer that puts more waits as long as it says, or is told that the
//! queue is full. A client that has jobs never waits: it has to confirm them first. A worker that is silent for five minutes
//! ([`Limits::idle_timeout`](acceptd::Limits::idle_timeout)) is taken for lost, and its jobs go to others. A watcher
//! has no such limit, so reserve jobs on another connection.

mod frame;
mod handler;
mod queue;
mod session;
mod shared;
#[cfg(test)]
mod tests;

use std::env;
use std::io;

use shared::Shared;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:17011".to_owned());
    let capacity = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(10_000);
    println!("{}", handler::serve(&address, Shared::new(capacity))?);
    Ok(())
}
