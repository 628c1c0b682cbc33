//! Who is connected, for CLIENT LIST and CLIENT KILL.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::panics::lock;
use crate::socket::Socket;

/// The clients of a store, by the number of their connection.
#[derive(Default)]
pub(super) struct Clients {
    known: Mutex<BTreeMap<u64, Arc<Client>>>,
    entered: AtomicU64,
}

/// What others may know of a client.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<SocketAddr>,
    pub(super) since: Instant,
    socket: Arc<Socket>,
    said: Mutex<Said>,
}

/// What a client says of itself, and what it did last.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub(super) name: Vec<u8>,
    pub(super) library: Vec<u8>,
    pub(super) library_version: Vec<u8>,
    pub(super) command: &'static str,
    pub(super) resp: u8,
}

impl Client {
    pub(super) fn new(id: u64, peer: SocketAddr, local: Option<SocketAddr>, socket: Arc<Socket>) -> Client {
        let said = Said { resp: 2, ..Said::default() };
        Client { id, peer, local, since: Instant::now(), socket, said: Mutex::new(said) }
    }

    pub(super) fn said(&self) -> Said {
        lock(&self.said).clone()
    }

    pub(super) fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut lock(&self.said));
    }

    /// Ends its connection, whatever it is doing.
    pub(super) fn kill(&self) {
        self.socket.cut(b"");
    }

    /// A line as Redis's CLIENT LIST has it, with what there is to say here.
    pub(super) fn describe(&self) -> String {
        let said = self.said();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let local = self.local.map(|address| address.to_string()).unwrap_or_default();
        format!(
            "id={} addr={} laddr={local} name={} age={} db=0 cmd={} user=default lib-name={} lib-ver={} resp={}",
            self.id,
            self.peer,
            text(&said.name),
            self.since.elapsed().as_secs(),
            said.command,
            text(&said.library),
            text(&said.library_version),
            said.resp,
        )
    }
}

impl Clients {
    pub(super) fn enter(&self, client: &Arc<Client>) {
        self.entered.fetch_add(1, Ordering::Relaxed);
        lock(&self.known).insert(client.id, Arc::clone(client));
    }

    pub(super) fn leave(&self, id: u64) {
        let left = lock(&self.known).remove(&id);
        drop(left);
    }

    /// How many have come since the start.
    pub(super) fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }

    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        lock(&self.known).values().cloned().collect()
    }
}
