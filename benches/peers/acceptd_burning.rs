//! acceptd's library with a handler that computes, for the works that need one. All others run the program itself.

use std::io::{self, BufRead, Write};

use acceptd::{Connection, Limits, Server};
use acceptd_bench::burn;

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
            burn(message);
            client.write_back(count)?;
        }
    });
    Ok(())
}
