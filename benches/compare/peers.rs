//! The peers: the servers that are compared, each in a process of its own.

use std::io;
use std::process::Command;

use acceptd_bench::process::{self, ServerProcess};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Acceptd,
    BareLoop,
    Textbook,
    Sleeping,
    Tokio1K,
    Tokio64K,
    Mio,
    OneAtATime,
    Socat,
    Ncat,
    Tcpserver,
}

impl Peer {
    pub const ALL: [Peer; 11] = [
        Peer::Acceptd,
        Peer::BareLoop,
        Peer::Textbook,
        Peer::Sleeping,
        Peer::Tokio1K,
        Peer::Tokio64K,
        Peer::Mio,
        Peer::OneAtATime,
        Peer::Socat,
        Peer::Ncat,
        Peer::Tcpserver,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Acceptd => "acceptd",
            Peer::BareLoop => "bare loop",
            Peer::Textbook => "textbook",
            Peer::Sleeping => "textbook, sleeping accept",
            Peer::Tokio1K => "Tokio, 1 KiB",
            Peer::Tokio64K => "Tokio, 64 KiB",
            Peer::Mio => "mio",
            Peer::OneAtATime => "one at a time",
            Peer::Socat => "socat",
            Peer::Ncat => "ncat",
            Peer::Tcpserver => "tcpserver",
        }
    }

    /// The program that has to be installed, for a peer that is not built by this package.
    fn external(self) -> Option<&'static str> {
        match self {
            Peer::Socat => Some("socat"),
            Peer::Ncat => Some("ncat"),
            Peer::Tcpserver => Some("tcpserver"),
            _ => None,
        }
    }

    pub fn is_installed(self) -> bool {
        self.external().is_none_or(process::is_installed)
    }

    fn command(self, acceptd: &str, cpu_heavy: bool) -> Command {
        let mut command = match self {
            Peer::Acceptd if cpu_heavy => Command::new(env!("CARGO_BIN_EXE_acceptd-cpu-heavy")),
            Peer::Acceptd => {
                let mut command = Command::new(acceptd);
                command.args(["-q", "--max-connections", "12000", "127.0.0.1:0"]);
                command
            }
            Peer::BareLoop => Command::new(env!("CARGO_BIN_EXE_bare-loop")),
            Peer::Textbook => Command::new(env!("CARGO_BIN_EXE_textbook")),
            Peer::Sleeping => Command::new(env!("CARGO_BIN_EXE_sleeping")),
            Peer::Tokio1K => Command::new(env!("CARGO_BIN_EXE_tokio-echo")),
            Peer::Tokio64K => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_tokio-echo"));
                command.arg("65536");
                command
            }
            Peer::Mio => Command::new(env!("CARGO_BIN_EXE_mio-echo")),
            Peer::OneAtATime => Command::new(env!("CARGO_BIN_EXE_one-at-a-time")),
            Peer::Socat | Peer::Ncat | Peer::Tcpserver => unreachable!("started by start_external"),
        };
        if cpu_heavy {
            command.arg("--cpu-heavy");
        }
        command
    }
}

/// Starts a peer.
///
/// # Errors
///
/// The peer can't be started, or does not announce its address.
pub fn start(peer: Peer, acceptd: &str, cpu_heavy: bool) -> io::Result<ServerProcess> {
    if peer.external().is_some() {
        return start_external(peer);
    }
    ServerProcess::start_announced(peer.name(), &mut peer.command(acceptd, cpu_heavy))
}

/// These programs do not announce their port, so they get one that was free a moment ago.
fn start_external(peer: Peer) -> io::Result<ServerProcess> {
    let addr = process::free_addr()?;
    let port = addr.port().to_string();
    let socat = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096");
    let arguments: &[&str] = match peer {
        Peer::Socat => &[&socat, "EXEC:cat"],
        Peer::Ncat => &["--listen", "--keep-open", "--max-conns", "1000", "--exec", "/bin/cat", "127.0.0.1", &port],
        _ => &["-c", "1000", "-b", "4096", "-H", "-R", "-l", "0", "127.0.0.1", &port, "cat"],
    };
    let program = peer.external().unwrap_or_default();
    ServerProcess::start_at(peer.name(), Command::new(program).args(arguments), addr)
}
