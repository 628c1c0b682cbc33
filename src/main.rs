//! The daemon: parses the command line, starts the log, binds, and serves until a signal ends it.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use acceptd::{Server, Shutdown};

mod cli;
mod journal;

use cli::Cli;

/// What a shell reports for a program that Ctrl-C has ended.
const CUT_SHORT: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::read();
    run(&cli).unwrap_or_else(|message| {
        // Not `eprintln!`, which panics when nobody reads standard error.
        let _ = writeln!(io::stderr(), "acceptd: {message}");
        ExitCode::FAILURE
    })
}

/// The log is there before all else, and its last lines are written before the end.
fn run(cli: &Cli) -> Result<ExitCode, String> {
    let journal = journal::start(cli.log_level()).map_err(|error| format!("can't start the log: {error}"))?;
    std::panic::set_hook(Box::new(acceptd::log_panic));
    let outcome = serve(cli);
    journal.finish();
    outcome
}

/// Serves until it is told to end. An error is what a person should know and do.
fn serve(cli: &Cli) -> Result<ExitCode, String> {
    cli.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let handler = cli.handler()?;
    let server = Server::bind(&*cli.address, cli.limits()).map_err(|error| cannot_listen(&cli.address, &error))?;
    let shutdown = server.shutdown();
    let on_signal = shutdown.clone();
    ctrlc::set_handler(move || request(&on_signal)).map_err(|error| format!("can't handle signals: {error}"))?;

    if let Some(warning) = cli.exposure(server.local_addrs()) {
        log::warn!("{warning}");
    }
    announce(&server);
    server.run(handler);
    Ok(if shutdown.is_cut() { ExitCode::from(CUT_SHORT) } else { ExitCode::SUCCESS })
}

/// A signal: the first one drains, any other cuts.
fn request(shutdown: &Shutdown) {
    if shutdown.is_requested() { shutdown.cut() } else { shutdown.request() }
}

/// Says on standard output that clients can connect, and where. Whoever started the server may not care to read it.
fn announce(server: &Server) {
    let addresses: Vec<String> = server.local_addrs().iter().map(ToString::to_string).collect();
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "listening on {}", addresses.join(" and ")).and_then(|()| stdout.flush());
}

fn cannot_listen(address: &str, error: &io::Error) -> String {
    let what_to_do = match error.kind() {
        ErrorKind::AddrInUse => "; another program has it: end that one, or choose another port (0 takes a free one)",
        ErrorKind::PermissionDenied => {
            "; ports below 1024 are for root: choose a higher one, or grant CAP_NET_BIND_SERVICE"
        }
        ErrorKind::AddrNotAvailable => "; this machine does not have that address: 127.0.0.1 or 0.0.0.0 always work",
        _ if address.parse::<SocketAddr>().is_err() => {
            "; is the name right? An address like 127.0.0.1 needs no resolver"
        }
        _ => "",
    };
    format!("can't listen on {address}: {error}{what_to_do}")
}
