//! The workloads: the sizes of the room, how each is measured, and the bars for the ratios.

use std::io;
use std::time::Duration;

use acceptd_bench::metric::{Measurements, Metric};
use acceptd_bench::process::ServerProcess;

use crate::load::{RoomClients, SendPace};
use crate::servers::ChatServer;

/// The numbers of members in a room. One member sends, all others receive.
pub const SIZES: [usize; 3] = [10, 100, 1000];

/// Messages in flight while the rate is measured: enough that no server waits for the sender, and few enough that no
/// server cuts a slow member or drops messages for it.
const WINDOW: usize = 32;

/// The pairs of servers to compare. IRC takes more bytes and parsing than the plain dialect, so ngircd, the only peer
/// that speaks IRC, is compared with acceptd in both dialects.
pub const PAIRS: [(ChatServer, ChatServer); 5] = [
    (ChatServer::Acceptd, ChatServer::Textbook),
    (ChatServer::Acceptd, ChatServer::TextbookOneWrite),
    (ChatServer::Acceptd, ChatServer::Tokio),
    (ChatServer::Acceptd, ChatServer::Ngircd),
    (ChatServer::AcceptdIrc, ChatServer::Ngircd),
];

/// acceptd's rate divided by the peer's should be at least this.
pub fn rate_bar(peer: ChatServer, members: usize) -> f64 {
    if peer == ChatServer::Textbook && members == 100 { 1.5 } else { 1.0 }
}

/// acceptd's p99 divided by the peer's should be at most this.
pub const P99_BAR: f64 = 1.0;

/// What is measured: deliveries a second, each of one message to one member, and the time from the send of a message to
/// its delivery, at a fixed rate.
pub const METRICS: [Metric; 3] = [Metric::Rate, Metric::P50, Metric::P99];

/// How long the measurements take: in full, or just enough to check that they work.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    rate: Duration,
    latency: Duration,
}

impl Scale {
    pub const FULL: Scale = Scale { rate: Duration::from_secs(1), latency: Duration::from_secs(3) };
    pub const QUICK: Scale = Scale { rate: Duration::from_millis(200), latency: Duration::from_millis(200) };

    /// `factor` times as long.
    pub fn stretched(self, factor: u32) -> Scale {
        Scale { rate: self.rate * factor, latency: self.latency * factor }
    }
}

pub fn name(members: usize) -> String {
    format!("{members} members")
}

/// Messages a second while the delivery time is measured: well under half of what each server can do, so that the times
/// include no queueing. The small room could take more, but the client waits in whole milliseconds.
fn fixed_rate(members: usize) -> u32 {
    match members {
        0..100 => 500,
        100..1000 => 100,
        _ => 20,
    }
}

/// Fills a room and sends messages in it, first as fast as possible and then at a fixed rate.
///
/// # Errors
///
/// A member can't join, or a message is lost, changed, repeated or out of order.
pub fn measure(server: ChatServer, running: &ServerProcess, members: usize, scale: Scale) -> io::Result<Measurements> {
    let mut room = RoomClients::join(running.addr, server.dialect(), members, server.join_at_once())?;
    let full_speed = room.send_messages(SendPace::Window(WINDOW), scale.rate)?;
    let fixed = room.send_messages(SendPace::Every(Duration::from_secs(1) / fixed_rate(members)), scale.latency)?;
    room.expect_no_message()?;
    Ok(vec![(Metric::Rate, full_speed.rate), (Metric::P50, fixed.p50), (Metric::P99, fixed.p99)])
}
