//! The environment of a comparison: the repository, the acceptd program, and the machine.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The root of the repository.
///
/// # Errors
///
/// This package has no parent directory.
pub fn repository_root() -> io::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or_else(|| io::Error::other("this package has no parent directory"))
}

/// Builds acceptd as its users do, and returns its path. Cargo puts it beside `sibling`, a program of this package.
///
/// # Errors
///
/// acceptd can't be built.
pub fn build_acceptd(root: &Path, sibling: &str) -> io::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(["build", "--release", "--quiet", "--bin", "acceptd"]).current_dir(root).status()?;
    if !status.success() {
        return Err(io::Error::other("acceptd can't be built"));
    }
    Ok(Path::new(sibling).with_file_name("acceptd").display().to_string())
}

/// Raises the descriptor limit to the hard limit, for the clients' sockets. The servers inherit it.
///
/// # Errors
///
/// The kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

/// The line above every report: date, machine, and what the values mean.
///
/// # Errors
///
/// The kernel's version can't be read, or `date` can't be started.
pub fn describe() -> io::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    Ok(format!(
        "{date}, {cores} cores, Linux {}; acceptd's figure divided by the peer's, median (lowest–highest round)",
        kernel.trim()
    ))
}
