//! A server as a process of its own, for as long as a value lives.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A server that does not listen after this time has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that runs, killed when it goes out of scope.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
}

impl Running {
    /// Starts a server that says where it listens, as acceptd does.
    ///
    /// # Errors
    ///
    /// It can't be started, or says something else.
    pub fn announced(name: &str, command: &mut Command) -> io::Result<Running> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take();
        let mut running = Running { addr: SocketAddr::from(([127, 0, 0, 1], 0)), child };
        let mut said = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let addr = said.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        running.addr = addr.ok_or_else(|| io::Error::other(format!("{name} said {said:?}")))?;
        Ok(running)
    }

    /// Starts a server that was told to listen at `addr`, and waits until it does.
    ///
    /// # Errors
    ///
    /// It can't be started, ends, or does not listen in time.
    pub fn listening(name: &str, command: &mut Command, addr: SocketAddr) -> io::Result<Running> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut running = Running { addr, child };
        let start = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = running.child.try_wait()? {
                return Err(io::Error::other(format!("{name} ended before it listened: {status}")));
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{name} does not listen")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Resident memory in KiB, and threads.
    ///
    /// # Errors
    ///
    /// It does not run any more.
    pub fn resident_and_threads(&self) -> io::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        Ok((number("VmRSS:"), number("Threads:")))
    }

    /// Processor time used so far, in ticks of the system (usually 100 a second).
    ///
    /// # Errors
    ///
    /// It does not run any more.
    pub fn ticks(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(number(11) + number(12))
    }

    /// Ends it as an operator would: how long that takes.
    ///
    /// # Errors
    ///
    /// The system's, or it ended in another way than asked for.
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

/// An address of this machine that was free a moment ago, for servers that do not tell theirs.
///
/// # Errors
///
/// The system's.
pub fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Whether a program can be started by its name.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
