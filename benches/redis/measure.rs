//! Measures one workload on one running server.

use std::io;

use acceptd_bench::metric::{Measurements, Metric};

use crate::load;
use crate::servers::StoreProcess;
use crate::setups::{Scale, Workload};

/// # Errors
///
/// The server does not reply, or replies with something unexpected.
pub fn measure(workload: Workload, server: &StoreProcess, scale: Scale) -> io::Result<Measurements> {
    match workload {
        Workload::Commands { test, clients, pipeline, .. } => {
            load::commands(server.addr(), test, clients, pipeline, scale.time)
        }
        Workload::Size { .. } => {
            let before = server.resident()?;
            // The client stays connected until the end: used_memory includes its buffers.
            let (client, used) = load::fill(server.addr(), scale.keys)?;
            let resident = (server.resident()? - before) / scale.keys as f64;
            drop(client);
            Ok(vec![(Metric::UsedMemory, used), (Metric::Resident, resident)])
        }
    }
}
