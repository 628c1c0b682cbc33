//! Where a comparison runs: the program as its users build it, and the line that says on what it was measured.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The root of the repository.
///
/// # Errors
///
/// There is none above this package.
pub fn root() -> io::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| io::Error::other("there is no root"))
}

/// Builds the program as its users do, and says where it is: Cargo puts it beside `neighbour`, a program of this
/// package.
///
/// # Errors
///
/// It can't be built.
pub fn build(root: &Path, neighbour: &str) -> io::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(["build", "--release", "--quiet", "--bin", "acceptd"]).current_dir(root).status()?;
    if !status.success() {
        return Err(io::Error::other("acceptd can't be built"));
    }
    Ok(Path::new(neighbour).with_file_name("acceptd").display().to_string())
}

/// The clients' ends need descriptors, and the servers inherit what they are allowed.
///
/// # Errors
///
/// The system's.
pub fn raise_descriptors() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

/// Where it was measured, and what the figures are.
///
/// # Errors
///
/// The system's.
pub fn line() -> io::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    Ok(format!(
        "{date}, {cores} cores, Linux {}; acceptd's figure divided by the peer's, median (lowest–highest round)",
        kernel.trim()
    ))
}
