//! The `acceptd` program as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Once};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, PATIENCE, eventually};

/// A running `acceptd`. Dropping it kills the process.
pub struct Daemon {
    pub addr: SocketAddr,
    child: Child,
    log: Receiver<String>,
}

/// A command that runs the program without the `ACCEPTD_` and `RUST_LOG` variables of the environment.
pub fn acceptd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acceptd"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ACCEPTD_")) {
        command.env_remove(name);
    }
    reset_ignored_signals();
    command.env_remove("RUST_LOG").args(arguments).stdin(Stdio::null());
    command
}

/// Makes sure that the program does not inherit ignored signals, for example from nohup. A signal with a handler gets its
/// default action back on exec.
fn reset_ignored_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = u64::from_str_radix(&status(std::process::id(), "SigIgn"), 16).unwrap();
        for signal in [Signal::HUP, Signal::INT, Signal::TERM].map(Signal::as_raw) {
            if ignored & 1 << (signal - 1) != 0 {
                signal_hook::flag::register(signal, Arc::default()).unwrap();
            }
        }
    });
}

/// A field of `/proc/PID/status`: `SigIgn`, `VmRSS`.
pub fn status(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    field.trim().to_owned()
}

impl Daemon {
    pub fn start(arguments: &[&str]) -> Daemon {
        Daemon::spawn(acceptd(arguments).args(["127.0.0.1:0"]))
    }

    pub fn spawn(command: &mut Command) -> Daemon {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        let stderr = child.stderr.take().unwrap();
        let (log_sender, log) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut text);
            let _ = log_sender.send(text);
        });
        let Some(addr) = first_line.trim_end().strip_prefix("listening on ") else {
            let log = log.recv_timeout(PATIENCE).unwrap_or_default();
            panic!("it printed {first_line:?} instead of its address; {log}");
        };
        let first = addr.split(" and ").next().unwrap();
        Daemon { addr: first.parse().unwrap(), child, log }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal and waits for the program to exit. Returns the exit status and the whole log.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        self.wait()
    }

    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap(), self.log.recv_timeout(PATIENCE).unwrap())
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A number from `/proc/PID/status`: `VmRSS` in KiB, `Threads`.
    pub fn status(&self, name: &str) -> usize {
        status(self.id(), name).split_whitespace().next().unwrap().parse().unwrap()
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
