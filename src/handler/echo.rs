//! Echo (RFC 862): what a client sends comes back, byte for byte, until it closes its side.

use std::borrow::Cow;
use std::io::{self, BufRead};

use super::{FarewellReason, Handler};
use crate::Connection;

/// The echo service of [RFC 862](https://www.rfc-editor.org/rfc/rfc862). A client that closes its side still gets
/// everything back that it sent before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Handler for Echo {
    fn handle(&self, client: &mut Connection) -> io::Result<()> {
        loop {
            let count = client.fill_buf()?.len();
            if count == 0 {
                return Ok(());
            }
            client.write_back(count)?;
        }
    }

    /// A line with the reason. In a drain there is no farewell, so that a client gets back exactly what it has sent.
    fn farewell(&self, reason: FarewellReason) -> Cow<'static, [u8]> {
        match reason {
            FarewellReason::Draining => Cow::Borrowed(b""),
            other => format!("ERROR {other}\n").into_bytes().into(),
        }
    }
}
