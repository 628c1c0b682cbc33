//! The workloads: their sizes, the peers they apply to, and how each is measured.

use std::io;
use std::thread;
use std::time::Duration;

use acceptd_bench::metric::{Measurements, Metric};
use acceptd_bench::process::ServerProcess;

use crate::load::{self, Sample};
use crate::peers::{self, Peer};

/// The numbers of busy clients, and the bytes of their messages.
pub const BUSY_CLIENTS: [usize; 5] = [1, 8, 50, 200, 1000];
pub const BUSY_SIZES: [usize; 2] = [64, 4096];

/// How many clients connect, send and close at a time.
pub const CONCURRENT_CONNECTS: [usize; 3] = [1, 20, 200];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Clients that send `size` bytes and read them back, again and again.
    RequestResponse { clients: usize, size: usize },
    /// Connect, echo, close, by `concurrent` clients at a time.
    ConnectEchoClose { concurrent: usize },
    /// Clients that all connect at the same instant.
    Burst { clients: usize },
    /// One client that sends and reads back a long stream.
    Stream { bytes: usize },
    /// Connected clients that do nothing.
    Idle { clients: usize },
    /// Clients that send now and then, beside one whose requests make the server compute.
    BesideCpuHeavy { clients: usize },
    /// A few clients that reconnect for each request, beside `busy` ones that stay connected.
    Newcomers { busy: usize },
}

/// How long and how large the measurements are: in full, or just enough to check that they work.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    time: Duration,
    pub stream_bytes: usize,
    /// The number of idle clients. Bursts are a fraction of it.
    pub max_clients: usize,
}

impl Scale {
    pub const FULL: Scale = Scale { time: Duration::from_millis(800), stream_bytes: 4 << 30, max_clients: 10_000 };
    pub const QUICK: Scale = Scale { time: Duration::from_millis(150), stream_bytes: 128 << 20, max_clients: 1_000 };

    /// The same workloads, measured `factor` times as long.
    pub fn stretched(self, factor: u32) -> Scale {
        Scale { time: self.time * factor, ..self }
    }

    pub fn workloads(self) -> Vec<Workload> {
        let mut workloads = Vec::new();
        for size in BUSY_SIZES {
            workloads.extend(BUSY_CLIENTS.map(|clients| Workload::RequestResponse { clients, size }));
        }
        workloads.extend(CONCURRENT_CONNECTS.map(|concurrent| Workload::ConnectEchoClose { concurrent }));
        workloads.extend([self.max_clients / 5, self.max_clients * 4 / 5].map(|clients| Workload::Burst { clients }));
        workloads.extend([
            Workload::Stream { bytes: self.stream_bytes },
            Workload::Idle { clients: self.max_clients / 10 },
            Workload::Idle { clients: self.max_clients },
            Workload::BesideCpuHeavy { clients: 50 },
            Workload::Newcomers { busy: 1000 },
        ]);
        workloads
    }
}

impl Workload {
    pub fn name(self) -> String {
        match self {
            Workload::RequestResponse { clients, size } => format!("{clients} busy, {size} B"),
            Workload::ConnectEchoClose { concurrent } => format!("connect-echo-close, {concurrent} at once"),
            Workload::Burst { clients } => format!("{clients} connects in one instant"),
            Workload::Stream { bytes } => format!("one stream of {} MiB", bytes >> 20),
            Workload::Idle { clients } => format!("{clients} idle"),
            Workload::BesideCpuHeavy { clients } => format!("{clients} quick beside one CPU-heavy"),
            Workload::Newcomers { busy } => format!("newcomer beside {busy} busy"),
        }
    }

    /// Whether measuring this workload on the peer says anything. Peers that start a process for each client can't
    /// serve hundreds of them. The sleeping accept differs from the textbook only in workloads that connect.
    pub fn applies_to(self, peer: Peer) -> bool {
        // With an accept queue of 128, the last of 8,000 clients gets its response after half a minute.
        if matches!(self, Workload::Burst { clients } if clients > 2000) {
            return matches!(peer, Peer::Acceptd | Peer::Tokio1K | Peer::Tokio64K | Peer::Mio);
        }
        let reconnects = matches!(self, Workload::ConnectEchoClose { .. } | Workload::Newcomers { .. });
        match peer {
            Peer::Acceptd | Peer::Textbook | Peer::Tokio1K | Peer::Tokio64K | Peer::Mio => true,
            // Where clients come and go, the textbook's accept loop, which is the same, is measured already.
            Peer::BareLoop => matches!(self, Workload::RequestResponse { .. }),
            Peer::Sleeping => reconnects || matches!(self, Workload::Burst { .. }),
            Peer::OneAtATime => {
                matches!(self, Workload::ConnectEchoClose { .. } | Workload::RequestResponse { clients: 1, .. })
            }
            Peer::Socat | Peer::Ncat | Peer::Tcpserver => match self {
                Workload::RequestResponse { clients, .. } => clients <= 8,
                Workload::ConnectEchoClose { concurrent } => concurrent <= 20,
                _ => false,
            },
        }
    }

    /// Starts the peer, measures it and ends it.
    ///
    /// # Errors
    ///
    /// The peer does not respond, or changes a byte.
    pub fn measure(self, peer: Peer, acceptd: &str, scale: Scale) -> io::Result<Measurements> {
        let is_cpu_heavy = matches!(self, Workload::BesideCpuHeavy { .. });
        let running = peers::start(peer, acceptd, is_cpu_heavy)?;
        let addr = running.addr;
        let latencies = |sample: Sample| vec![(Metric::P50, sample.p50), (Metric::P99, sample.p99)];
        let rate_and_latencies = |sample: Sample| [vec![(Metric::Rate, sample.rate)], latencies(sample)].concat();
        match self {
            Workload::RequestResponse { clients, size } => {
                load::request_response(addr, clients, size, scale.time).map(rate_and_latencies)
            }
            // Long enough to include a handshake that is lost and repeated after a second.
            Workload::ConnectEchoClose { concurrent } => {
                load::connect_echo_close(addr, concurrent, scale.time * 2).map(rate_and_latencies)
            }
            Workload::Burst { clients } => {
                load::burst(addr, clients).map(|sample| vec![(Metric::Time, 1.0 / sample.rate)])
            }
            Workload::Stream { bytes } => load::stream(addr, bytes).map(|sample| vec![(Metric::Rate, sample.rate)]),
            Workload::Idle { clients } => idle(running, clients, scale),
            Workload::BesideCpuHeavy { clients } => load::beside_cpu_heavy(addr, clients, scale.time).map(latencies),
            Workload::Newcomers { busy } => load::newcomers(addr, busy, scale.time * 2).map(latencies),
        }
    }
}

fn idle(running: ServerProcess, clients: usize, scale: Scale) -> io::Result<Measurements> {
    let (before, threads_before) = running.resident_and_threads()?;
    let connected = load::idle(running.addr, clients)?;
    // Work that the last responses have started settles meanwhile.
    thread::sleep(scale.time / 2);
    let before_pause = running.cpu_ticks()?;
    thread::sleep(scale.time * 2);
    let busy = running.cpu_ticks()? - before_pause;
    let (resident, threads) = running.resident_and_threads()?;
    let time_to_end = running.terminate()?;
    drop(connected);
    Ok(vec![
        (Metric::Resident, (resident - before) * 1024.0 / clients as f64),
        (Metric::Threads, threads - threads_before),
        (Metric::IdleCpu, busy * 10.0 / (scale.time * 2).as_secs_f64()),
        (Metric::TimeToEnd, time_to_end.as_secs_f64()),
    ])
}
