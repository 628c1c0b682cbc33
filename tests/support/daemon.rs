//! The program itself, as its user starts it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::{Client, PATIENCE, eventually};

/// A running `acceptd`, killed when it goes out of scope.
pub struct Daemon {
    pub addr: SocketAddr,
    child: Child,
    log: Receiver<String>,
}

/// The program, with nothing of the surroundings' own settings.
pub fn acceptd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acceptd"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ACCEPTD_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").args(arguments).stdin(Stdio::null());
    command
}

impl Daemon {
    pub fn start(arguments: &[&str]) -> Daemon {
        Daemon::spawn(acceptd(arguments).args(["127.0.0.1:0"]))
    }

    pub fn spawn(command: &mut Command) -> Daemon {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tell, log) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut text);
            let _ = tell.send(text);
        });
        let Some(addr) = said.trim_end().strip_prefix("listening on ") else {
            let log = log.recv_timeout(PATIENCE).unwrap_or_default();
            panic!("it said {said:?} instead of where it listens; {log}");
        };
        let first = addr.split(" and ").next().unwrap();
        Daemon { addr: first.parse().unwrap(), child, log }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, and waits for the end: the exit status, and all of the log.
    pub fn end(mut self, signal: rustix::process::Signal) -> (ExitStatus, String) {
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

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A number from `/proc/PID/status`: `VmRSS` in KiB, `Threads`.
    pub fn status(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Descriptors that are open.
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
