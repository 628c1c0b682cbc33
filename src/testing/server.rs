//! [`TestServer`]: a server on a free port that lives as long as a scope.

use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, TestClient};
use crate::handler::Handler;
use crate::limits::Limits;
use crate::server::{Server, ServerHandle, Summary};

/// A server on a free port of 127.0.0.1. Dropping it drains it, and panics with the clients that are still there if it
/// doesn't end in time.
#[derive(Debug)]
pub struct TestServer {
    handle: ServerHandle,
    /// In a lock, so that threads can share the server.
    summary: Mutex<Receiver<Summary>>,
    has_ended: bool,
    patience: Duration,
}

impl TestServer {
    /// Starts a server with the default limits.
    #[track_caller]
    pub fn start(handler: impl Handler) -> TestServer {
        TestServer::start_with(handler, Limits::default())
    }

    /// Starts a server with these limits.
    #[track_caller]
    pub fn start_with(handler: impl Handler, limits: Limits) -> TestServer {
        match Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), limits) {
            Ok(server) => TestServer::run(server, handler),
            Err(error) => panic!("can't start a server: {error}"),
        }
    }

    /// Runs a server that is bound already: at another address, or with subscribers to its events.
    #[track_caller]
    pub fn run(server: Server, handler: impl Handler) -> TestServer {
        let handle = server.handle();
        let (sender, summary) = mpsc::channel();
        // Nobody receives the summary of a server whose test has failed.
        let run = move || drop(sender.send(server.run(handler)));
        if let Err(error) = thread::Builder::new().spawn(run) {
            panic!("can't start a server: {error}");
        }
        TestServer { handle, summary: Mutex::new(summary), has_ended: false, patience: PATIENCE }
    }

    /// Sets how long the server's end may take, in place of [`PATIENCE`].
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Connects a new client.
    #[track_caller]
    pub fn connect(&self) -> TestClient {
        let client = TcpStream::connect_timeout(&self.local_addr(), PATIENCE);
        match client.and_then(|stream| TestClient::new(stream, None)) {
            Ok(client) => client,
            Err(error) => panic!("can't connect to {}: {error}", self.local_addr()),
        }
    }

    /// Drains the server, and waits for its end.
    #[track_caller]
    pub fn stop(mut self) -> Summary {
        self.shutdown().request();
        self.wait()
    }

    /// Waits for the end of a server that was stopped in another way.
    #[track_caller]
    pub fn wait(&mut self) -> Summary {
        self.has_ended = true;
        let summary = self.summary.get_mut().unwrap_or_else(PoisonError::into_inner);
        match summary.recv_timeout(self.patience) {
            Ok(summary) => summary,
            Err(error) => panic!("the server has not ended ({error}); still open:\n{}", self.open_clients()),
        }
    }

    /// One line for each client.
    fn open_clients(&self) -> String {
        let state = |is_idle| if is_idle { "waits for its client" } else { "is busy" };
        let line = |client: crate::ClientHandle| {
            format!(
                "id={} peer={} age={:?}: {}\n",
                client.id(),
                client.peer_addr(),
                client.age(),
                state(client.is_idle())
            )
        };
        self.clients().into_iter().map(line).collect()
    }
}

impl Deref for TestServer {
    type Target = ServerHandle;

    fn deref(&self) -> &ServerHandle {
        &self.handle
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown().request();
        // A second panic would abort the test program.
        if !self.has_ended && !thread::panicking() {
            self.wait();
        }
    }
}
