//! Server processes: starting and stopping them, and reading their resource usage.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A server that does not listen after this time has failed.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. Dropping it kills the process.
pub struct ServerProcess {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
}

impl ServerProcess {
    /// Starts a server that prints the address it listens on, as acceptd does.
    ///
    /// # Errors
    ///
    /// The server can't be started, or prints something else.
    pub fn start_announced(name: &str, command: &mut Command) -> io::Result<ServerProcess> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take();
        let mut running = ServerProcess { addr: SocketAddr::from(([127, 0, 0, 1], 0)), child };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let addr = line.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        running.addr = addr.ok_or_else(|| io::Error::other(format!("{name} printed {line:?}")))?;
        Ok(running)
    }

    /// Starts a server whose arguments tell it to listen on `addr`, and waits until it does.
    ///
    /// # Errors
    ///
    /// The server can't be started, exits, or does not listen in time.
    pub fn start_at(name: &str, command: &mut Command, addr: SocketAddr) -> io::Result<ServerProcess> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut running = ServerProcess { addr, child };
        let start = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = running.child.try_wait()? {
                return Err(io::Error::other(format!("{name} ended before it listened: {status}")));
            }
            if start.elapsed() > START_TIMEOUT {
                return Err(io::Error::other(format!("{name} does not listen")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Resident memory in KiB, and the number of threads.
    ///
    /// # Errors
    ///
    /// The process has exited.
    pub fn resident_and_threads(&self) -> io::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        Ok((number("VmRSS:"), number("Threads:")))
    }

    /// CPU time used so far, in clock ticks (usually 100 a second).
    ///
    /// # Errors
    ///
    /// The process has exited.
    pub fn cpu_ticks(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime, counted from the field after the name (proc_pid_stat(5)).
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(number(11) + number(12))
    }

    /// Sends SIGTERM and waits for the exit. Returns how long that takes.
    ///
    /// # Errors
    ///
    /// The signal can't be sent, or the server fails instead of exiting normally or by SIGTERM.
    pub fn terminate(mut self) -> io::Result<Duration> {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() || status.signal() == Some(Signal::TERM.as_raw()) {
            Ok(start.elapsed())
        } else {
            Err(io::Error::other(format!("the server ended with {status}")))
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that was free a moment ago, for servers that do not announce theirs.
///
/// # Errors
///
/// No port is free.
pub fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Whether `PATH` has a program with this name.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
