//! The two servers, each a process of its own with a directory of its own.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use acceptd_bench::process::{self, ServerProcess};

use crate::setups::{FILE, Setup};
use crate::temp_dir::{self, TempDir};

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerKind {
    Redis,
    Acceptd,
}

impl ServerKind {
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Redis => "redis",
            ServerKind::Acceptd => "acceptd",
        }
    }
}

/// A running server. Dropping it kills the process, then removes its directory.
pub struct StoreProcess {
    pub kind: ServerKind,
    running: ServerProcess,
    // After `running`: fields are dropped in order.
    _directory: TempDir,
}

impl StoreProcess {
    /// # Errors
    ///
    /// The server can't be started, or does not listen.
    pub fn start(kind: ServerKind, setup: &Setup, acceptd: &str) -> io::Result<StoreProcess> {
        let parent = if setup.is_durable { temp_dir::parent_on_disk() } else { None };
        let directory = TempDir::new(&parent.unwrap_or_else(std::env::temp_dir))?;
        let running = match kind {
            ServerKind::Redis => {
                // To redis-server, port 0 means that it should not listen.
                let addr = process::free_addr()?;
                let mut command = Command::new("redis-server");
                command.args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()]);
                command.arg("--dir").arg(directory.path()).args(setup.redis);
                ServerProcess::start_at("redis-server", command.current_dir(directory.path()), addr)?
            }
            ServerKind::Acceptd => {
                let mut command = Command::new(acceptd);
                command.args(["-H", "kv", "-q", "-m", "2000"]);
                for argument in setup.acceptd {
                    match *argument {
                        FILE => command.arg(directory.path().join("store")),
                        argument => command.arg(argument),
                    };
                }
                ServerProcess::start_announced("acceptd", command.arg("127.0.0.1:0"))?
            }
        };
        Ok(StoreProcess { kind, running, _directory: directory })
    }

    pub fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    ///
    /// The server has exited.
    pub fn resident(&self) -> io::Result<f64> {
        Ok(self.running.resident_and_threads()?.0 * 1024.0)
    }
}

/// The version number of redis-server, without the build details.
pub fn redis_version() -> io::Result<String> {
    let output = Command::new("redis-server").arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or(text.trim()).to_owned())
}
