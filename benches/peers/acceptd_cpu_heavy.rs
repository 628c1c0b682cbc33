//! acceptd's library with a handler that computes, for the CPU-heavy workload. The other workloads run the acceptd
//! program.

use std::io::{self, BufRead, Write};

use acceptd::{Connection, Limits, Server};
use acceptd_bench::compute_if_marked;

fn main() -> io::Result<()> {
    let server = Server::bind("127.0.0.1:0", Limits::default())?;
    writeln!(io::stdout(), "listening on {}", server.local_addr())?;
    server.run(|client: &mut Connection| {
        loop {
            let message = client.fill_buf()?;
            let count = message.len();
            if count == 0 {
                return Ok(());
            }
            compute_if_marked(message);
            client.write_back(count)?;
        }
    });
    Ok(())
}
