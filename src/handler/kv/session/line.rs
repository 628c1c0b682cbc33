//! Requests that are a line of words, as people type them. Programs may send them too, instead of an array.

use super::{CallBatch, KvSession, SessionAction};
use crate::handler::kv::reply::KvDialect;
use crate::handler::kv::request::{Malformed, split};
use crate::handler::shared::http;

/// The NOAUTH error in the text dialect. Redis's own does not say what to type.
pub(super) const NOAUTH: &str = "NOAUTH this store has a password: write AUTH and the password";

/// The body of the response to HTTP.
const USAGE: &str = "It is a key-value store: connect with redis-cli, or with nc or telnet, and type HELP.";

impl KvSession<'_> {
    /// Handles a line without its end, which was `end`. The reply ends the same way.
    pub(super) fn handle_line(&mut self, line: &[u8], end: &'static str) -> SessionAction {
        self.replies.set_line_end(end.as_bytes());
        if http::is_http(line) {
            return self.refuse_http();
        }
        let Some(words) = split(line) else {
            if self.replies.dialect() == KvDialect::Text {
                self.replies.error("ERR unbalanced quotes: close each with \" or ', and a space after it");
                return SessionAction::Continue;
            }
            self.replies.error("ERR Protocol error: unbalanced quotes in request");
            return SessionAction::ProtocolError("unbalanced quotes");
        };
        let mut batch = CallBatch::default();
        let action = self.handle_request(words.iter().map(Vec::as_slice).collect(), &mut batch);
        self.execute_batch(&mut batch);
        action
    }

    /// Replies to input that is not a request, and ends the connection. The input may be HTTP, with a request line that is
    /// longer than a line may be.
    pub(super) fn refuse_malformed(&mut self, input: &[u8], malformed: &Malformed) -> SessionAction {
        if http::begins_request(input) {
            return self.refuse_http();
        }
        self.replies.error_in_bytes(&malformed.0);
        SessionAction::ProtocolError("malformed request")
    }

    fn refuse_http(&mut self) -> SessionAction {
        self.replies.append(http::response(USAGE).as_bytes());
        SessionAction::ProtocolError("HTTP spoken to a key-value store")
    }
}
