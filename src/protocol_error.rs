//! [`protocol_error`]: how a handler says that its client is at fault.

use std::error::Error;
use std::fmt;
use std::io;

/// An error that says: the client does not keep to the protocol, and the handler has told it so.
///
/// A handler that returns it has its output sent, including the reply that tells the client; then the connection is
/// closed, and the log says `why`. Every other error of a handler's own is the handler's fault, whatever its kind: the
/// client is told that the server failed, and the log gets a warning.
///
/// ```
/// use acceptd::{Connection, protocol_error};
/// use std::io::{self, Write};
///
/// fn handle(client: &mut Connection) -> io::Result<()> {
///     while let Some(line) = client.read_line()? {
///         let Ok(number) = String::from_utf8_lossy(&line).parse::<u32>() else {
///             writeln!(client, "ERROR that is not a number, closing")?;
///             return Err(protocol_error("sent something else than a number"));
///         };
///         writeln!(client, "{}", u64::from(number) + 1)?;
///     }
///     Ok(())
/// }
/// # let _: &dyn acceptd::Handler = &handle;
/// ```
pub fn protocol_error(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, ProtocolError(why.into()))
}

/// Marks the error, so that no error of the same kind from elsewhere is mistaken for it.
#[derive(Debug)]
struct ProtocolError(String);

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ProtocolError {}

/// Whether [`protocol_error`] made this error.
pub(crate) fn is_protocol_error(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<ProtocolError>())
}
