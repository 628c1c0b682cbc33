//! The daemon: parses the command line, starts the log, binds, and serves until a signal ends it.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use acceptd::Server;

mod arenas;
mod cli;
mod log_writer;
mod signals;

use cli::Cli;
use log_writer::LogWriter;
use signals::SignalHandler;

/// The exit code after clients were cut. A shell reports the same for a program that Ctrl-C has ended.
const EXIT_CODE_AFTER_CUT: u8 = 130;

fn main() -> ExitCode {
    let arena_limit = arenas::limit();
    let cli = Cli::read();
    run(&cli, arena_limit).unwrap_or_else(|message| {
        // `eprintln!` would panic if nothing reads standard error.
        let _ = writeln!(io::stderr(), "acceptd: {message}");
        ExitCode::FAILURE
    })
}

/// Starts the log, handles signals and serves. Writes the last lines of the log before it returns.
fn run(cli: &Cli, arena_limit: io::Result<()>) -> Result<ExitCode, String> {
    // The log may be a file that reaches its size limit. Without the handler, such a limit ends the program.
    let _ = signals::survive_file_size_limit();
    let with_advice = |what: &str, error: &io::Error| format!("{what}: {error}; {}", acceptd::advice(error));
    let log_writer = log_writer::start(cli.log_level()).map_err(|error| with_advice("can't start the log", &error))?;
    std::panic::set_hook(Box::new(acceptd::log_panic));
    if let Err(error) = arena_limit {
        log::warn!("memory may get short, set MALLOC_ARENA_MAX=1 in the environment: {error}");
    }
    let signal_handler = signals::install(&log_writer).map_err(|error| with_advice("can't handle signals", &error))?;
    let outcome = serve(cli, &signal_handler, &log_writer);
    log_writer.finish();
    outcome
}

/// Serves until shutdown. Errors are messages for the operator: what happened and what to do next.
fn serve(cli: &Cli, signal_handler: &SignalHandler, log_writer: &LogWriter) -> Result<ExitCode, String> {
    cli.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let handler = cli.create_handler()?;
    let server = Server::bind(&*cli.address, cli.limits()).map_err(|error| cannot_listen(&cli.address, &error))?;
    let shutdown = server.shutdown();
    signal_handler.set_shutdown(shutdown.clone());

    if let Some(warning) = cli.exposure_warning(server.local_addrs()) {
        log::warn!("{warning}");
    }
    announce(cli, &server, log_writer);
    server.run(handler);
    Ok(if shutdown.is_cut() { ExitCode::from(EXIT_CODE_AFTER_CUT) } else { ExitCode::SUCCESS })
}

/// Says that clients can connect: in the log, with the settings, and then on standard output, with the addresses. Ignores
/// errors of standard output, because nothing may be reading it.
fn announce(cli: &Cli, server: &Server, log_writer: &LogWriter) {
    let addresses: Vec<String> = server.local_addrs().iter().map(ToString::to_string).collect();
    let addresses = addresses.join(" and ");
    let (version, max_connections) = (env!("CARGO_PKG_VERSION"), server.max_connections());
    let clients = if max_connections == 1 { "1 client".to_owned() } else { format!("{max_connections} clients") };
    let handler = cli.describe_handler();
    let idle_timeout = cli.limits().idle_timeout.map_or("none".to_owned(), |timeout| format!("{timeout:?}"));
    log::info!("acceptd {version}: {handler} on {addresses}, at most {clients}, idle timeout {idle_timeout}");
    log_writer.flush();
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "listening on {addresses}").and_then(|()| stdout.flush());
}

fn cannot_listen(address: &str, error: &io::Error) -> String {
    let what_to_do = match error.kind() {
        // A thread can't be started. The message says which limit was reached.
        ErrorKind::WouldBlock => return format!("can't start: {error}"),
        ErrorKind::AddrInUse => "; another program has it: end that one, or choose another port (0 takes a free one)",
        ErrorKind::PermissionDenied => {
            "; ports below 1024 are for root: choose a higher one, or grant CAP_NET_BIND_SERVICE"
        }
        ErrorKind::AddrNotAvailable => "; this machine does not have that address: 127.0.0.1 or 0.0.0.0 always work",
        _ if address.parse::<SocketAddr>().is_err() => {
            "; is the name right? An address like 127.0.0.1 needs no resolver"
        }
        // A link-local address without its interface.
        ErrorKind::InvalidInput if address.starts_with("[fe80:") => {
            "; name its network interface, as in [fe80::1%eth0]:17007 (`ip link` lists them)"
        }
        _ if address.starts_with('[') && error.raw_os_error().is_some() => {
            "; if this machine has no IPv6, use 127.0.0.1 or 0.0.0.0"
        }
        _ => "",
    };
    format!("can't listen on {address}: {error}{what_to_do}")
}
