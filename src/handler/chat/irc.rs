//! stub
use super::Chat;
use crate::connection::Connection;
use crate::handler::Farewell;
use std::borrow::Cow;
use std::io;
pub(super) fn converse(_chat: &Chat, _client: &mut Connection) -> io::Result<()> {
    Ok(())
}
pub(super) fn farewell(reason: Farewell) -> Cow<'static, [u8]> {
    format!("ERROR :{reason}\r\n").into_bytes().into()
}
