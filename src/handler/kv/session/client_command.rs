//! CLIENT: a client's own connection, and those of others.

use std::sync::Arc;

use super::{KvSession, ReplyMode, SessionAction};
use crate::handler::kv::client_list::{INVALID_NAME, ListedClient, is_valid_name};
use crate::handler::kv::commands;
use crate::handler::kv::request::parse_integer;

impl KvSession<'_> {
    pub(super) fn client_command(&mut self, arguments: &[&[u8]]) -> SessionAction {
        let [subcommand, rest @ ..] = arguments else { return SessionAction::Continue };
        let subcommand = String::from_utf8_lossy(subcommand).to_ascii_uppercase();
        match (subcommand.as_str(), rest) {
            ("ID", []) => self.replies.integer(self.client.handle.id() as i64),
            ("INFO", []) => self.replies.verbatim(&format!("{}\n", self.client.list_line())),
            ("LIST", _) => self.client_list(rest),
            ("KILL", [address]) => return self.kill_by_address(address),
            ("KILL", [_, ..]) => return self.kill_by_filters(rest),
            ("GETNAME", []) => {
                let name = self.client.info().name;
                if name.is_empty() { self.replies.nil() } else { self.replies.bulk(&name) }
            }
            ("SETNAME", [name]) if !is_valid_name(name) => self.replies.error(INVALID_NAME),
            ("SETNAME", [name]) => {
                self.client.update_info(|info| info.name = name.to_vec());
                self.replies.ok();
            }
            ("SETINFO", [attribute, value]) => self.client_setinfo(attribute, value),
            ("NO-EVICT" | "NO-TOUCH", [word]) if commands::is(word, "ON") || commands::is(word, "OFF") => {
                // The store never evicts keys, so there is nothing to switch off.
                self.replies.ok();
            }
            ("REPLY", [word]) if commands::is(word, "ON") => {
                self.reply_mode = ReplyMode::On;
                self.replies.ok();
            }
            ("REPLY", [word]) if commands::is(word, "OFF") => self.reply_mode = ReplyMode::Off,
            ("REPLY", [word]) if commands::is(word, "SKIP") => {
                if self.reply_mode == ReplyMode::On {
                    self.reply_mode = ReplyMode::SkipNext;
                }
            }
            ("REPLY" | "NO-EVICT" | "NO-TOUCH", [_]) => self.replies.error("ERR syntax error"),
            ("ID" | "INFO" | "KILL" | "GETNAME" | "SETNAME" | "SETINFO" | "NO-EVICT" | "NO-TOUCH" | "REPLY", _) => {
                let subcommand = subcommand.to_ascii_lowercase();
                self.replies.error(&format!("ERR wrong number of arguments for 'client|{subcommand}' command"));
            }
            _ => self
                .replies
                .error(&format!("ERR unknown subcommand '{subcommand}'. Try CLIENT ID, INFO, LIST or KILL.")),
        }
        SessionAction::Continue
    }

    fn client_setinfo(&mut self, attribute: &[u8], value: &[u8]) {
        if !is_valid_name(value) {
            let attribute = String::from_utf8_lossy(attribute).to_ascii_lowercase();
            let message = format!("ERR {attribute} cannot contain spaces, newlines or special characters.");
            return self.replies.error(&message);
        }
        if commands::is(attribute, "LIB-NAME") {
            self.client.update_info(|info| info.library = value.to_vec());
        } else if commands::is(attribute, "LIB-VER") {
            self.client.update_info(|info| info.library_version = value.to_vec());
        } else {
            let attribute = String::from_utf8_lossy(attribute);
            return self.replies.error(&format!("ERR Unrecognized option '{attribute}'"));
        }
        self.replies.ok();
    }

    fn client_list(&mut self, filter: &[&[u8]]) {
        let clients = self.kv.clients.all();
        let wanted: Vec<Arc<ListedClient>> = match filter {
            [] => clients,
            [option, kind] if commands::is(option, "TYPE") => {
                if commands::is(kind, "normal") {
                    clients
                } else {
                    Vec::new()
                }
            }
            [option, ids @ ..] if commands::is(option, "ID") && !ids.is_empty() => {
                let ids: Vec<i64> = ids.iter().filter_map(|id| parse_integer(id)).collect();
                clients.into_iter().filter(|client| ids.contains(&(client.handle.id() as i64))).collect()
            }
            _ => return self.replies.error("ERR syntax error"),
        };
        let text: String = wanted.iter().map(|client| client.list_line() + "\n").collect();
        self.replies.verbatim(&text);
    }

    /// CLIENT KILL in its old form, with an address alone.
    fn kill_by_address(&mut self, address: &[u8]) -> SessionAction {
        let mut chosen = self.kv.clients.all();
        chosen.retain(|client| client.handle.peer_addr().to_string().as_bytes() == address);
        if chosen.is_empty() {
            self.replies.error("ERR No such client");
        } else {
            self.replies.ok();
        }
        self.kill(&chosen)
    }

    /// CLIENT KILL in its new form, with pairs of a filter and its value.
    fn kill_by_filters(&mut self, filters: &[&[u8]]) -> SessionAction {
        let mut chosen = self.kv.clients.all();
        let mut skip_me = true;
        for pair in filters.chunks(2) {
            let [option, value] = *pair else { return self.kill_error("ERR syntax error") };
            if commands::is(option, "ID") {
                let Some(id) = parse_integer(value).filter(|id| *id > 0) else {
                    return self.kill_error("ERR client-id should be greater than 0");
                };
                chosen.retain(|client| client.handle.id() as i64 == id);
            } else if commands::is(option, "ADDR") {
                chosen.retain(|client| client.handle.peer_addr().to_string().as_bytes() == value);
            } else if commands::is(option, "LADDR") {
                chosen.retain(|client| client.local_addr.is_some_and(|addr| addr.to_string().as_bytes() == value));
            } else if commands::is(option, "SKIPME") {
                skip_me = !commands::is(value, "no");
            } else {
                return self.kill_error("ERR syntax error");
            }
        }
        chosen.retain(|client| client.handle.id() != self.client.handle.id() || !skip_me);
        self.replies.integer(chosen.len() as i64);
        self.kill(&chosen)
    }

    fn kill_error(&mut self, message: &str) -> SessionAction {
        self.replies.error(message);
        SessionAction::Continue
    }

    /// Ends the connections of these clients. This client's own ends only after its reply.
    fn kill(&self, chosen: &[Arc<ListedClient>]) -> SessionAction {
        let mut action = SessionAction::Continue;
        for client in chosen {
            if client.handle.id() == self.client.handle.id() {
                action = SessionAction::Close;
            } else {
                client.kill();
            }
        }
        action
    }
}
