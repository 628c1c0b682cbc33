//! The log, on its way to standard error. Nobody who serves a client ever waits for whoever reads it: lines go
//! through a bounded queue to a thread of its own, and when nobody reads, they are dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Target, WriteStyle};
use log::LevelFilter;

/// Lines that wait to be written at the most.
const QUEUE: usize = 1024;

/// How long the end of the program waits for the last lines to be written.
const PATIENCE: Duration = Duration::from_millis(500);

enum Entry {
    Line(Vec<u8>),
    /// All before this has been written: say so.
    Flush(SyncSender<()>),
}

/// The way into the queue, and to its end.
pub(crate) struct Journal(SyncSender<Entry>);

/// Starts the log at this level; `RUST_LOG` outranks it.
///
/// # Errors
///
/// The system gives no thread.
pub(crate) fn start(level: LevelFilter) -> io::Result<Journal> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let queue = Queue { sender: sender.clone(), dropped: Arc::clone(&dropped) };
    thread::Builder::new().name("log".into()).stack_size(64 * 1024).spawn(move || write(&receiver, &dropped))?;

    let mut builder = Builder::new();
    builder.filter_level(level).target(Target::Pipe(Box::new(queue)));
    let colored = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    builder.write_style(if colored { WriteStyle::Always } else { WriteStyle::Never });
    builder.format(|line, record| {
        let style = line.default_level_style(record.level());
        let (time, level) = (line.timestamp_millis(), record.level());
        writeln!(line, "{time} {style}{level:<5}{style:#} {}", record.args())
    });
    // Checked before: env_logger's own complaint panics when nobody reads standard error.
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let checked = env_filter::Builder::new().try_parse(&wanted).map(|_| ());
    if checked.is_ok() && !wanted.is_empty() {
        builder.parse_filters(&wanted);
    }
    builder.init();
    if let Err(error) = checked {
        log::warn!("RUST_LOG={wanted:?} is ignored: {error}");
    }
    Ok(Journal(sender))
}

impl Journal {
    /// Waits a moment for the last lines to be written.
    pub(crate) fn finish(&self) {
        let (tell, told) = mpsc::sync_channel(1);
        if self.0.try_send(Entry::Flush(tell)).is_ok() {
            let _ = told.recv_timeout(PATIENCE);
        }
    }
}

/// What the logger writes to: each write is one line.
struct Queue {
    sender: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread. What can't be written, since standard error is closed or its disk is full, is lost: there is nowhere to
/// say so.
fn write(receiver: &Receiver<Entry>, dropped: &AtomicU64) {
    let mut stderr = io::stderr();
    for entry in receiver {
        match entry {
            Entry::Line(line) => {
                let _ = stderr.write_all(&line);
            }
            Entry::Flush(tell) => {
                let _ = tell.try_send(());
            }
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(writeln!(stderr, "(the log was not read in time: {count} lines are missing here)")),
        }
    }
}
