//! The two servers, each a process of its own with a folder of its own.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use acceptd_bench::process::{self, Running};

use crate::folder::{self, Folder};
use crate::works::{FILE, Setup};

/// A store that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Store {
    Redis,
    Acceptd,
}

impl Store {
    pub fn name(self) -> &'static str {
        match self {
            Store::Redis => "redis",
            Store::Acceptd => "acceptd",
        }
    }
}

/// A server that runs, killed when it goes out of scope; its folder goes after it.
pub struct Server {
    pub store: Store,
    running: Running,
    _folder: Folder,
}

impl Server {
    /// # Errors
    ///
    /// It can't be started, or does not listen.
    pub fn start(store: Store, setup: &Setup, acceptd: &str) -> io::Result<Server> {
        let parent = if setup.is_durable { folder::on_disk() } else { None };
        let folder = Folder::new(&parent.unwrap_or_else(std::env::temp_dir))?;
        let running = match store {
            Store::Redis => {
                // Port 0 means none to Redis.
                let addr = process::free_addr()?;
                let mut command = Command::new("redis-server");
                command.args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()]);
                command.arg("--dir").arg(folder.path()).args(setup.redis);
                Running::listening("redis-server", command.current_dir(folder.path()), addr)?
            }
            Store::Acceptd => {
                let mut command = Command::new(acceptd);
                command.args(["-H", "kv", "-q", "-m", "2000"]);
                for argument in setup.acceptd {
                    match *argument {
                        FILE => command.arg(folder.path().join("store")),
                        argument => command.arg(argument),
                    };
                }
                Running::announced("acceptd", command.arg("127.0.0.1:0"))?
            }
        };
        Ok(Server { store, running, _folder: folder })
    }

    pub fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    ///
    /// It does not run any more.
    pub fn resident(&self) -> io::Result<f64> {
        Ok(self.running.resident_and_threads()?.0 * 1024.0)
    }
}

/// The number alone.
pub fn version_of_redis() -> io::Result<String> {
    let output = Command::new("redis-server").arg("--version").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or(said.trim()).to_owned())
}
