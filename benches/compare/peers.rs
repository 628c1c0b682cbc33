//! The peers, each a process of its own.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A server that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Acceptd,
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
    pub const ALL: [Peer; 10] = [
        Peer::Acceptd,
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

    /// The program that has to be installed for it, if it is not built here.
    fn external(self) -> Option<&'static str> {
        match self {
            Peer::Socat => Some("socat"),
            Peer::Ncat => Some("ncat"),
            Peer::Tcpserver => Some("tcpserver"),
            _ => None,
        }
    }

    pub fn is_installed(self) -> bool {
        let Some(program) = self.external() else { return true };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }

    fn command(self, acceptd: &str, burning: bool) -> Command {
        let mut command = match self {
            Peer::Acceptd if burning => Command::new(env!("CARGO_BIN_EXE_acceptd-burning")),
            Peer::Acceptd => {
                let mut command = Command::new(acceptd);
                command.args(["-q", "--max-connections", "12000", "127.0.0.1:0"]);
                command
            }
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
            Peer::Socat | Peer::Ncat | Peer::Tcpserver => unreachable!("started with a port of its own"),
        };
        if burning {
            command.arg("--burning");
        }
        command
    }
}

/// A peer that runs, killed when it goes out of scope.
pub struct Running {
    pub addr: SocketAddr,
    child: Child,
}

impl Running {
    /// # Errors
    ///
    /// It can't be started, or does not say where it listens.
    pub fn start(peer: Peer, acceptd: &str, burning: bool) -> io::Result<Running> {
        if peer.external().is_some() {
            return Running::start_external(peer);
        }
        let child = peer.command(acceptd, burning).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut running = Running { addr: SocketAddr::from(([127, 0, 0, 1], 0)), child };
        let mut said = String::new();
        if let Some(stdout) = running.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let addr = said.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        running.addr = addr.ok_or_else(|| io::Error::other(format!("{} said {said:?}", peer.name())))?;
        Ok(running)
    }

    /// These do not tell their port, so they get one that was free a moment ago.
    fn start_external(peer: Peer) -> io::Result<Running> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = addr.port().to_string();
        let socat = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096");
        let arguments: &[&str] = match peer {
            Peer::Socat => &[&socat, "EXEC:cat"],
            Peer::Ncat => &["--listen", "--keep-open", "--max-conns", "1000", "--exec", "/bin/cat", "127.0.0.1", &port],
            _ => &["-c", "1000", "-b", "4096", "-H", "-R", "-l", "0", "127.0.0.1", &port, "cat"],
        };
        let program = peer.external().unwrap_or_default();
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let running = Running { addr, child };
        let start = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(io::Error::other(format!("{} does not listen", peer.name())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Resident memory in KiB, and threads.
    pub fn resident_and_threads(&self) -> io::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        Ok((number("VmRSS:"), number("Threads:")))
    }

    /// Processor time used so far, in ticks of the system (usually 100 a second).
    pub fn ticks(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(number(11) + number(12))
    }

    /// Ends it as an operator would: how long that takes.
    pub fn terminate(mut self) -> io::Result<Duration> {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() || status.signal() == Some(Signal::TERM.as_raw()) {
            Ok(start.elapsed())
        } else {
            Err(io::Error::other(format!("it ended with {status}")))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
