//! What is measured, at which sizes, and the bar for each ratio.

use std::io;
use std::time::Duration;

use acceptd_bench::process::ServerProcess;

use crate::load::{Pace, Room};
use crate::servers::Server;

/// Members of the room: one sends, all others receive.
pub const SIZES: [usize; 3] = [10, 100, 1000];

/// Messages that not every member has yet, where the rate is measured: enough that no server waits for the sender, and
/// few enough that no server cuts a member, or has it miss some, for being behind.
const WINDOW: usize = 32;

/// Who is compared with whom. IRC costs more bytes and parsing than the plain dialect, so the only peer that speaks it
/// is compared with both.
pub const PAIRS: [(Server, Server); 5] = [
    (Server::Acceptd, Server::Textbook),
    (Server::Acceptd, Server::TextbookOneWrite),
    (Server::Acceptd, Server::Tokio),
    (Server::Acceptd, Server::Ngircd),
    (Server::AcceptdIrc, Server::Ngircd),
];

/// At least this times the peer's rate.
pub fn bar_of_rate(peer: Server, members: usize) -> f64 {
    if peer == Server::Textbook && members == 100 { 1.5 } else { 1.0 }
}

/// At most this times the peer's p99.
pub const BAR_OF_P99: f64 = 1.0;

/// What a measurement gives.
pub type Figures = Vec<(Figure, f64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Figure {
    /// Messages that reached a member, in a second.
    Rate,
    /// Microseconds from the send of a message to its arrival at a member, at a fixed rate.
    P50,
    /// As P50.
    P99,
}

impl Figure {
    pub const ALL: [Figure; 3] = [Figure::Rate, Figure::P50, Figure::P99];

    pub fn name(self) -> &'static str {
        match self {
            Figure::Rate => "rate",
            Figure::P50 => "p50",
            Figure::P99 => "p99",
        }
    }
}

/// How long it takes: all of it, or enough to see that it works.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    rate: Duration,
    latency: Duration,
}

impl Scale {
    pub const FULL: Scale = Scale { rate: Duration::from_secs(1), latency: Duration::from_secs(3) };
    pub const QUICK: Scale = Scale { rate: Duration::from_millis(200), latency: Duration::from_millis(200) };
}

pub fn name(members: usize) -> String {
    format!("{members} members")
}

/// Messages a second where the delivery time is measured: well under half of what each server can do, so that no time
/// is that of a queue. In the small room it could be more, but for the driver's clock, which counts milliseconds.
fn modest_rate(members: usize) -> u32 {
    match members {
        0..100 => 500,
        100..1000 => 100,
        _ => 20,
    }
}

/// Fills a room and talks in it, first as quickly as it goes and then at a modest rate.
///
/// # Errors
///
/// A message did not reach a member, or not as it was, or not in its turn.
pub fn measure(server: Server, running: &ServerProcess, members: usize, scale: Scale) -> io::Result<Figures> {
    let mut room = Room::join(running.addr, server.dialect(), members, server.join_at_once())?;
    let quick = room.talk(Pace::Window(WINDOW), scale.rate)?;
    let modest = room.talk(Pace::Every(Duration::from_secs(1) / modest_rate(members)), scale.latency)?;
    room.hear_nothing()?;
    Ok(vec![(Figure::Rate, quick.rate), (Figure::P50, modest.p50), (Figure::P99, modest.p99)])
}
