//! The log, on its way to standard error. No thread that serves a client ever waits for its reader: lines go through a
//! bounded queue to a thread of its own. When nobody reads, old lines give way to new ones, warnings last, and the log
//! says how many are missing.

use std::io::{self, IsTerminal, Write};
use std::thread;

use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};

mod output;
mod queue;

use output::LogOutput;
pub(crate) use queue::LogWriter;
use queue::Rank;

/// Starts the log at this level; `RUST_LOG` outranks it.
///
/// # Errors
///
/// The system gives no thread.
pub(crate) fn start(level: LevelFilter) -> io::Result<LogWriter> {
    let log_writer = LogWriter::default();
    let for_thread = log_writer.clone();
    let builder = thread::Builder::new().name("log".into()).stack_size(64 * 1024);
    builder.spawn(move || write_lines(&for_thread, &mut LogOutput::new(io::stderr())))?;

    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    // Checked here: env_logger's own complaint panics when nobody reads standard error.
    let checked = env_filter::Builder::new().try_parse(&wanted).map(|_| ());
    let filters = if checked.is_ok() { wanted.as_str() } else { "" };
    let by_rank = ByRank {
        warnings: logger(level, filters, &log_writer, Rank::Warning),
        others: logger(level, filters, &log_writer, Rank::Ordinary),
    };
    log::set_max_level(by_rank.others.filter());
    // Can't fail: nothing else of this program sets a logger.
    let _ = log::set_boxed_logger(Box::new(by_rank));
    if let Err(error) = checked {
        log::warn!("RUST_LOG={wanted:?} is ignored: {error}");
    }
    Ok(log_writer)
}

/// The log's thread.
fn write_lines(log_writer: &LogWriter, output: &mut LogOutput<io::Stderr>) {
    loop {
        let entry = log_writer.next();
        output.write(&entry.line, entry.missing_before);
    }
}

fn logger(level: LevelFilter, filters: &str, log_writer: &LogWriter, rank: Rank) -> Logger {
    let mut builder = Builder::new();
    builder.filter_level(level).target(Target::Pipe(Box::new(LogTarget { log_writer: log_writer.clone(), rank })));
    if !filters.is_empty() {
        builder.parse_filters(filters);
    }
    let colored = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    builder.write_style(if colored { WriteStyle::Always } else { WriteStyle::Never });
    builder.format(|line, record| {
        let style = line.default_level_style(record.level());
        let (time, level) = (line.timestamp_millis(), record.level());
        writeln!(line, "{time} {style}{level:<5}{style:#} {}", record.args())
    });
    builder.build()
}

/// env_logger does not tell its target how important a line is, so there are two loggers that differ in that alone.
struct ByRank {
    warnings: Logger,
    others: Logger,
}

impl Log for ByRank {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.others.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() <= Level::Warn { self.warnings.log(record) } else { self.others.log(record) }
    }

    fn flush(&self) {}
}

/// What a logger writes to: each write is one line.
struct LogTarget {
    log_writer: LogWriter,
    rank: Rank,
}

impl Write for LogTarget {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log_writer.put(line.to_vec(), self.rank);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
