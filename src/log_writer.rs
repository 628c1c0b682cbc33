//! The log: lines go through a bounded queue to a thread that writes them to standard error.
//!
//! So a thread that serves a client never waits for the program that reads the log. When the queue is full, old lines are
//! dropped, ordinary ones before warnings, and the log says how many are missing.

use std::io::{self, IsTerminal, Write};
use std::thread;

use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};

mod output;
mod queue;

use output::LogOutput;
pub(crate) use queue::LogWriter;
use queue::Priority;

/// Starts the log at this level. `RUST_LOG` overrides it.
///
/// # Errors
///
/// The log's thread can't be started.
pub(crate) fn start(level: LevelFilter) -> io::Result<LogWriter> {
    let log_writer = LogWriter::default();
    let queue = log_writer.clone();
    let builder = thread::Builder::new().name("log".into()).stack_size(64 * 1024);
    builder.spawn(move || write_lines(&queue, &mut LogOutput::new(io::stderr())))?;

    let rust_log = std::env::var("RUST_LOG").unwrap_or_default();
    // Parsed here first, because env_logger prints an error, which panics if nothing reads standard error.
    let parsed = env_filter::Builder::new().try_parse(&rust_log).map(|_| ());
    let filters = if parsed.is_ok() { rust_log.as_str() } else { "" };
    let logger_by_priority = LoggerByPriority {
        warnings: logger(level, filters, &log_writer, Priority::Warning),
        others: logger(level, filters, &log_writer, Priority::Ordinary),
    };
    log::set_max_level(logger_by_priority.others.filter());
    // This can't fail, because nothing else in this program sets a logger.
    let _ = log::set_boxed_logger(Box::new(logger_by_priority));
    if let Err(error) = parsed {
        log::warn!("RUST_LOG={rust_log:?} is ignored: {error}");
    }
    Ok(log_writer)
}

/// The body of the log's thread.
fn write_lines(log_writer: &LogWriter, output: &mut LogOutput<io::Stderr>) {
    loop {
        let entry = log_writer.next();
        output.write_line(&entry.line, entry.missing_before);
    }
}

fn logger(level: LevelFilter, filters: &str, log_writer: &LogWriter, priority: Priority) -> Logger {
    let mut builder = Builder::new();
    builder.filter_level(level).target(Target::Pipe(Box::new(LogTarget { log_writer: log_writer.clone(), priority })));
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

/// Gives warnings and errors a higher priority than other lines. This takes two loggers, because env_logger does not tell
/// its target the level of a line.
struct LoggerByPriority {
    warnings: Logger,
    others: Logger,
}

impl Log for LoggerByPriority {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.others.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() <= Level::Warn { self.warnings.log(record) } else { self.others.log(record) }
    }

    fn flush(&self) {}
}

/// A target for env_logger that adds lines to the queue. Each write is one line.
struct LogTarget {
    log_writer: LogWriter,
    priority: Priority,
}

impl Write for LogTarget {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log_writer.push(line.to_vec(), self.priority);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
