//! Runs models, and what several of them do.

use std::sync::Arc;

use loom::thread;

use crate::model::Client;

/// Runs a model in every order. `preemptions` limits the preemptions per run if all orders would take too long.
pub fn in_every_order(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// Runs `action` in another thread of the model.
pub fn spawn<T: 'static>(client: &Client, action: impl FnOnce(&Client) -> T + 'static) -> thread::JoinHandle<T> {
    let client = client.clone();
    thread::spawn(move || action(&client))
}

/// Sends, and ignores a refusal: the outbox may be closed already.
pub fn try_to_send(client: &Client, message: &str) {
    client.send(message);
}

pub fn join<const COUNT: usize>(threads: [thread::JoinHandle<()>; COUNT]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Whether an outbox that outlives its client has dropped the socket.
pub fn has_dropped_socket(client: Client) -> bool {
    let Client { socket, .. } = client;
    Arc::strong_count(&socket) == 1
}
