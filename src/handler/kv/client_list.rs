//! The connected clients of a store, for CLIENT LIST and CLIENT KILL.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::panics::lock_ignoring_poison;
use crate::{ClientHandle, Connection};

/// The longest name of a client or its library, in bytes.
const MAX_NAME: usize = 256;

pub(super) const INVALID_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// The connected clients, by the id of their connection.
#[derive(Default)]
pub(super) struct ClientList {
    by_id: Mutex<BTreeMap<u64, Arc<ListedClient>>>,
    total: AtomicU64,
}

/// What other clients can see of a client.
pub(super) struct ListedClient {
    pub(super) handle: ClientHandle,
    pub(super) local_addr: Option<SocketAddr>,
    info: Mutex<ClientInfo>,
}

/// The part that changes during a connection.
#[derive(Clone, Default)]
pub(super) struct ClientInfo {
    pub(super) name: Vec<u8>,
    pub(super) library: Vec<u8>,
    pub(super) library_version: Vec<u8>,
    pub(super) last_command: &'static str,
    pub(super) resp_version: u8,
}

impl ListedClient {
    pub(super) fn new(connection: &Connection) -> ListedClient {
        ListedClient {
            handle: connection.handle(),
            local_addr: connection.local_addr().ok(),
            info: Mutex::new(ClientInfo { resp_version: 2, ..ClientInfo::default() }),
        }
    }

    pub(super) fn info(&self) -> ClientInfo {
        lock_ignoring_poison(&self.info).clone()
    }

    pub(super) fn update_info(&self, update: impl FnOnce(&mut ClientInfo)) {
        update(&mut lock_ignoring_poison(&self.info));
    }

    /// Ends the connection at once, without a farewell.
    pub(super) fn kill(&self) {
        self.handle.cut(b"");
    }

    /// The client's line in CLIENT LIST. It has the fields of Redis that apply to acceptd.
    pub(super) fn list_line(&self) -> String {
        let info = self.info();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let local_addr = self.local_addr.map(|address| address.to_string()).unwrap_or_default();
        format!(
            "id={} addr={} laddr={local_addr} name={} age={} db=0 cmd={} user=default lib-name={} lib-ver={} resp={}",
            self.handle.id(),
            self.handle.peer_addr(),
            text(&info.name),
            self.handle.age().as_secs(),
            info.last_command,
            text(&info.library),
            text(&info.library_version),
            info.resp_version,
        )
    }
}

impl ClientList {
    pub(super) fn add(&self, client: &Arc<ListedClient>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        lock_ignoring_poison(&self.by_id).insert(client.handle.id(), Arc::clone(client));
    }

    pub(super) fn remove(&self, id: u64) {
        let removed = lock_ignoring_poison(&self.by_id).remove(&id);
        // After the lock is released, because this may close the socket.
        drop(removed);
    }

    /// How many clients have connected since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn all(&self) -> Vec<Arc<ListedClient>> {
        lock_ignoring_poison(&self.by_id).values().cloned().collect()
    }
}

/// Whether a client may give this name to itself or its library. CLIENT LIST shows it as a field of a line.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.len() <= MAX_NAME && name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
