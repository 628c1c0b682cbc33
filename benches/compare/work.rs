//! What is measured, of whom, and how long.

use std::io;
use std::thread;
use std::time::Duration;

use acceptd_bench::process::Running;

use crate::load::{self, Sample};
use crate::peers::{self, Peer};

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    RequestResponse { clients: usize, size: usize },
    ComeAndGo { at_once: usize },
    Burst { clients: usize },
    Stream { bytes: usize },
    Idle { clients: usize },
    BesideBurning { clients: usize },
    Newcomers { busy: usize },
}

/// What a measurement gives: names and values, rates first.
pub type Figures = Vec<(Figure, f64)>;

/// What is compared, and whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Figure {
    /// A second.
    Rate,
    /// Microseconds.
    P50,
    /// Microseconds.
    P99,
    /// Seconds until the last is done.
    Time,
    /// Bytes resident for each client.
    Resident,
    /// For all clients.
    Threads,
    /// Milliseconds of processor time a second, while nothing happens.
    IdleCpu,
    /// Seconds from SIGTERM to the end.
    TimeToEnd,
}

impl Figure {
    /// Whether it is shown as it is, since zero divided by zero tells nothing, and a peer that does not drain ends at
    /// once.
    pub fn is_absolute(self) -> bool {
        matches!(self, Figure::Threads | Figure::IdleCpu | Figure::TimeToEnd)
    }

    pub fn name(self) -> &'static str {
        match self {
            Figure::Rate => "rate",
            Figure::P50 => "p50",
            Figure::P99 => "p99",
            Figure::Time => "time",
            Figure::Resident => "resident",
            Figure::Threads => "threads",
            Figure::IdleCpu => "idle CPU, ms a second",
            Figure::TimeToEnd => "SIGTERM to end, seconds",
        }
    }
}

/// How large the works are: all of it, or enough to see that it works.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    time: Duration,
    stream: usize,
    crowd: usize,
}

impl Scale {
    pub const FULL: Scale = Scale { time: Duration::from_millis(800), stream: 4 << 30, crowd: 10_000 };
    pub const QUICK: Scale = Scale { time: Duration::from_millis(150), stream: 128 << 20, crowd: 1_000 };

    pub fn crowd(self) -> usize {
        self.crowd
    }

    pub fn stream(self) -> usize {
        self.stream
    }

    pub fn works(self) -> Vec<Work> {
        let mut works = Vec::new();
        for size in [64, 4096] {
            works.extend([1, 8, 50, 200, 1000].map(|clients| Work::RequestResponse { clients, size }));
        }
        works.extend([1, 20, 200].map(|at_once| Work::ComeAndGo { at_once }));
        works.extend([self.crowd / 5, self.crowd * 4 / 5].map(|clients| Work::Burst { clients }));
        works.extend([
            Work::Stream { bytes: self.stream },
            Work::Idle { clients: self.crowd / 10 },
            Work::Idle { clients: self.crowd },
            Work::BesideBurning { clients: 50 },
            Work::Newcomers { busy: 1000 },
        ]);
        works
    }
}

impl Work {
    pub fn name(self) -> String {
        match self {
            Work::RequestResponse { clients, size } => format!("{clients} busy, {size} B"),
            Work::ComeAndGo { at_once } => format!("connect-echo-close, {at_once} at once"),
            Work::Burst { clients } => format!("{clients} connects in one instant"),
            Work::Stream { bytes } => format!("one stream of {} MiB", bytes >> 20),
            Work::Idle { clients } => format!("{clients} idle"),
            Work::BesideBurning { clients } => format!("{clients} quick beside one CPU-heavy"),
            Work::Newcomers { busy } => format!("newcomer beside {busy} busy"),
        }
    }

    /// Whether the peer is worth a look here. A process for each client is no match for hundreds of them, and how it
    /// accepts matters only to who connects.
    pub fn suits(self, peer: Peer) -> bool {
        // With a queue of 128, the last of 8,000 that connect at once is answered after half a minute.
        if matches!(self, Work::Burst { clients } if clients > 2000) {
            return matches!(peer, Peer::Acceptd | Peer::Tokio1K | Peer::Tokio64K | Peer::Mio);
        }
        let comes_and_goes = matches!(self, Work::ComeAndGo { .. } | Work::Newcomers { .. });
        match peer {
            Peer::Acceptd | Peer::Textbook | Peer::Tokio1K | Peer::Tokio64K | Peer::Mio => true,
            Peer::Sleeping => comes_and_goes || matches!(self, Work::Burst { .. }),
            Peer::OneAtATime => matches!(self, Work::ComeAndGo { .. } | Work::RequestResponse { clients: 1, .. }),
            Peer::Socat | Peer::Ncat | Peer::Tcpserver => match self {
                Work::RequestResponse { clients, .. } => clients <= 8,
                Work::ComeAndGo { at_once } => at_once <= 20,
                _ => false,
            },
        }
    }

    /// Starts the peer, measures, and ends it.
    ///
    /// # Errors
    ///
    /// The peer did not answer, or not what was sent.
    pub fn measure(self, peer: Peer, acceptd: &str, scale: Scale) -> io::Result<Figures> {
        let burning = matches!(self, Work::BesideBurning { .. });
        let running = peers::start(peer, acceptd, burning)?;
        let addr = running.addr;
        let latencies = |sample: Sample| vec![(Figure::P50, sample.p50), (Figure::P99, sample.p99)];
        let all = |sample: Sample| [vec![(Figure::Rate, sample.rate)], latencies(sample)].concat();
        match self {
            Work::RequestResponse { clients, size } => load::request_response(addr, clients, size, scale.time).map(all),
            // Long enough for a handshake that was lost and repeated after a second.
            Work::ComeAndGo { at_once } => load::come_and_go(addr, at_once, scale.time * 2).map(all),
            Work::Burst { clients } => load::burst(addr, clients).map(|sample| vec![(Figure::Time, 1.0 / sample.rate)]),
            Work::Stream { bytes } => load::stream(addr, bytes).map(|sample| vec![(Figure::Rate, sample.rate)]),
            Work::Idle { clients } => idle(running, clients, scale),
            Work::BesideBurning { clients } => load::beside_a_burning_one(addr, clients, scale.time).map(latencies),
            Work::Newcomers { busy } => load::newcomers(addr, busy, scale.time * 2).map(latencies),
        }
    }
}

fn idle(running: Running, clients: usize, scale: Scale) -> io::Result<Figures> {
    let (before, threads_before) = running.resident_and_threads()?;
    let crowd = load::idle(running.addr, clients)?;
    // What was started by the last answers has come to rest then.
    thread::sleep(scale.time / 2);
    let ticks = running.ticks()?;
    thread::sleep(scale.time * 2);
    let busy = running.ticks()? - ticks;
    let (resident, threads) = running.resident_and_threads()?;
    let time_to_end = running.terminate()?;
    drop(crowd);
    Ok(vec![
        (Figure::Resident, (resident - before) * 1024.0 / clients as f64),
        (Figure::Threads, threads - threads_before),
        (Figure::IdleCpu, busy * 10.0 / (scale.time * 2).as_secs_f64()),
        (Figure::TimeToEnd, time_to_end.as_secs_f64()),
    ])
}
