//! Runs the commands that concern the connection rather than the store.

use super::{KvSession, ReplyMode, SessionAction};
use crate::handler::kv::commands::{self, Command};
use crate::handler::kv::reply::KvDialect;

impl KvSession<'_> {
    pub(super) fn execute_connection_command(&mut self, command: &'static Command, words: &[&[u8]]) -> SessionAction {
        self.client.update_info(|info| info.last_command = command.name);
        let arguments = words.get(1..).unwrap_or_default();
        match (command.name, arguments) {
            ("ping", []) => self.pong(),
            ("ping" | "echo", [text]) => self.replies.bulk(text),
            ("ping", _) => self.replies.error("ERR wrong number of arguments for 'ping' command"),
            ("quit", _) => {
                self.replies.ok();
                return SessionAction::Close;
            }
            ("reset", _) => self.reset(),
            ("select", [number]) => match commands::check_database(number) {
                Ok(()) => self.replies.ok(),
                Err(error) => self.replies.error(&error.0),
            },
            ("auth", [password]) => return self.auth(b"default", password),
            ("auth", [user, password]) => return self.auth(user, password),
            ("auth", _) => self.replies.error("ERR syntax error"),
            ("hello", _) => return self.hello(arguments),
            ("multi", _) => self.multi(),
            ("exec", _) => return self.exec(),
            ("discard", _) if self.transaction.is_none() => self.replies.error("ERR DISCARD without MULTI"),
            ("discard", _) => {
                self.discard();
                self.replies.ok();
            }
            ("watch", keys) => self.watch(keys),
            ("unwatch", _) => {
                self.unwatch();
                self.replies.ok();
            }
            ("client", _) => return self.client_command(arguments),
            ("help", _) => self.help(arguments),
            ("time", _) => self.time(),
            ("lolwut", _) => self.lolwut(),
            ("info", _) => self.info(arguments),
            ("config", _) => self.config(arguments),
            ("command", _) => self.command_docs(arguments),
            _ => self.replies.error("ERR internal error: a command that nobody executes"),
        }
        SessionAction::Continue
    }

    /// Health checks type PING as a line and look for `+PONG`, so the text dialect keeps Redis's plus.
    fn pong(&mut self) {
        self.replies.simple(if self.replies.dialect() == KvDialect::Text { "+PONG" } else { "PONG" });
    }

    fn reset(&mut self) {
        self.discard();
        self.reply_mode = ReplyMode::On;
        self.is_authenticated = self.kv.options.password.is_none();
        self.client.update_info(|info| {
            info.name.clear();
            info.resp_version = 2;
        });
        if self.replies.dialect() == KvDialect::Resp3 {
            self.replies.set_dialect(KvDialect::Resp2);
        }
        self.replies.simple("RESET");
    }
}
