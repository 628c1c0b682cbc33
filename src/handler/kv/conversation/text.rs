//! What only people are told, and the lines that they type.

use super::{Conversation, Gathered, Next, unknown};
use crate::handler::kv::commands::{self, COMMANDS, Command};
use crate::handler::kv::reply::Dialect;
use crate::handler::kv::request::split;
use crate::handler::shared::http;

/// What a person reads where Redis's own words say nothing about what to type.
pub(super) const NOAUTH: &str = "NOAUTH this store has a password: write AUTH and the password";

/// What whoever speaks HTTP is told.
const USAGE: &str = "It is a key-value store: connect with redis-cli, or with nc or telnet, and type HELP.";

impl Conversation<'_> {
    /// A line of words. Programs may send one too, instead of an array.
    pub(super) fn line(&mut self, line: &[u8], end: &'static str) -> Next {
        self.replies.set_line_end(end.as_bytes());
        if http::is_http(line) {
            self.replies.append(http::response(USAGE).as_bytes());
            return Next::Misspoke("HTTP spoken to a key-value store");
        }
        let Some(words) = split(line) else {
            if self.replies.dialect() == Dialect::Text {
                self.replies.error("ERR unbalanced quotes: close each with \" or ', and a space after it");
                return Next::Continue;
            }
            self.replies.error("ERR Protocol error: unbalanced quotes in request");
            return Next::Misspoke("unbalanced quotes");
        };
        let mut gathered = Gathered::default();
        let next = self.request(words.iter().map(Vec::as_slice).collect(), &mut gathered);
        self.execute(&mut gathered);
        next
    }

    /// A line for each command, or for those that are named.
    pub(super) fn help(&mut self, names: &[&[u8]]) {
        let mut wanted = Vec::new();
        for name in names {
            match commands::find(name) {
                Some(command) => wanted.push(command),
                None => return self.replies.error_in_bytes(&unknown(&[name], true)),
            }
        }
        if wanted.is_empty() {
            wanted.extend(COMMANDS);
        }
        let width = wanted.iter().map(|command| command.usage().len()).filter(|length| *length < 40).max().unwrap_or(0);
        let line = |command: &&Command| format!("{:width$}  {}", command.usage(), command.summary);
        self.replies.verbatim(&wanted.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
}
