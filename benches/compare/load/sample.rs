//! The result of one measurement, and the recorder that collects it.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The result of measuring one peer once.
pub struct Sample {
    /// Requests, connections or bytes a second; for a burst, bursts a second.
    pub rate: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile of the latencies, in microseconds.
    pub p99: f64,
}

impl Sample {
    pub fn new(count: u64, time: Duration, latencies: &Histogram<u64>) -> Sample {
        let micros = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Sample { rate: count as f64 / time.as_secs_f64(), p50: micros(0.5), p99: micros(0.99) }
    }
}

/// Counts the responses between two instants. Records the latency of every response after the first instant, including
/// those that come after the second one: leaving out the slowest would make the latencies look better.
pub struct Recorder {
    begin: Instant,
    end: Instant,
    count: u64,
    latencies: Histogram<u64>,
}

impl Recorder {
    pub fn new(begin: Instant, end: Instant) -> Recorder {
        Recorder { begin, end, count: 0, latencies: histogram() }
    }

    pub fn record(&mut self, sent_at: Instant, received_at: Instant) {
        if received_at >= self.begin {
            self.count += u64::from(received_at < self.end);
            self.latencies.saturating_record((received_at - sent_at).as_nanos() as u64);
        }
    }

    /// The result. The rate is 0 if all responses came late: a server that neglects its clients is slow, not broken.
    ///
    /// # Errors
    ///
    /// `TimedOut` if there was no response at all.
    pub fn sample(&self, time: Duration) -> io::Result<Sample> {
        if self.latencies.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, "no client got a response after the warm-up"));
        }
        Ok(Sample::new(self.count, time, &self.latencies))
    }
}

/// For latencies in nanoseconds, up to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}
