//! What a client can learn of the server, of itself and of others.

use std::fmt::Write;
use std::sync::Arc;

use super::{Conversation, NO_NAME, Next, Silence, is_name};
use crate::handler::kv::clients::Client;
use crate::handler::kv::commands::{self, Access, COMMANDS, Command};
use crate::handler::kv::reply::{Dialect, Replies};
use crate::handler::kv::request::integer;
use crate::handler::kv::{commands::matches, engine};

/// The version of Redis whose commands these are. Clients look at it to know what they can ask for.
const REDIS_VERSION: &str = "7.0.15";

impl Conversation<'_> {
    /// Commands that only tell something.
    pub(super) fn about(&mut self, name: &str, arguments: &[&[u8]]) {
        match name {
            "help" => self.help(arguments),
            "time" => self.time(),
            "lolwut" => self.replies.verbatim(&picture()),
            "info" => {
                let info = self.info(arguments);
                self.replies.verbatim(&info);
            }
            "config" => self.config(arguments),
            "command" => self.command(arguments),
            _ => self.replies.error("ERR internal error: a command that nobody executes"),
        }
    }

    /// What HELLO answers.
    pub(super) fn introduce(&mut self) {
        let replies = &mut self.replies;
        replies.map(7);
        for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        replies.bulk(b"proto");
        replies.integer(if replies.dialect() == Dialect::Resp3 { 3 } else { 2 });
        replies.bulk(b"id");
        replies.integer(self.me.id as i64);
        for (name, value) in [("mode", "standalone"), ("role", "master")] {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        replies.bulk(b"modules");
        replies.array(0);
    }

    fn time(&mut self) {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.replies.array(2);
        self.replies.bulk(since.as_secs().to_string().as_bytes());
        self.replies.bulk(since.subsec_micros().to_string().as_bytes());
    }

    /// INFO, in Redis's sections and with its names, as far as they mean something here.
    fn info(&self, sections: &[&[u8]]) -> String {
        let engine = &self.kv.engine;
        let (keys, expiring) = engine.count();
        let uptime = self.kv.started.elapsed().as_secs();
        let all = [
            (
                "Server",
                format!(
                    "redis_version:{REDIS_VERSION}\r\nacceptd_version:{}\r\nredis_mode:standalone\r\nos:Linux\r\n\
                     process_id:{}\r\nuptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\n",
                    env!("CARGO_PKG_VERSION"),
                    std::process::id(),
                    uptime / 86_400,
                ),
            ),
            (
                "Clients",
                format!("connected_clients:{}\r\nmaxclients:{}\r\n", self.kv.clients.all().len(), self.max_clients),
            ),
            (
                "Memory",
                format!(
                    "used_memory:{}\r\nmaxmemory:{}\r\nmaxmemory_policy:noeviction\r\n",
                    engine.used_memory(),
                    self.kv.options.max_memory,
                ),
            ),
            ("Persistence", format!("loading:0\r\naof_enabled:{}\r\n", u8::from(engine.is_durable()))),
            (
                "Stats",
                format!(
                    "total_connections_received:{}\r\nrejected_connections:{}\r\nexpired_keys:{}\r\n",
                    self.kv.clients.entered(),
                    self.stats.refused,
                    engine.expired(),
                ),
            ),
            ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
            (
                "Keyspace",
                if keys > 0 { format!("db0:keys={keys},expires={expiring},avg_ttl=0\r\n") } else { String::new() },
            ),
        ];
        let is_wanted = |name: &str| {
            let is_any = |word: &[u8]| ["all", "default", "everything"].iter().any(|any| commands::is(word, any));
            sections.is_empty() || sections.iter().any(|word| commands::is(word, name) || is_any(word))
        };
        let wanted = all.iter().filter(|(name, _)| is_wanted(name));
        wanted.map(|(name, text)| format!("# {name}\r\n{text}")).collect::<Vec<_>>().join("\r\n")
    }

    fn config(&mut self, arguments: &[&[u8]]) {
        let [option, patterns @ ..] = arguments else { return };
        if !commands::is(option, "GET") || patterns.is_empty() {
            let option = String::from_utf8_lossy(option);
            let message = format!(
                "ERR Unknown subcommand or wrong number of arguments for '{option}'. Settings are given on the command \
                 line, CONFIG GET shows them."
            );
            return self.replies.error(&message);
        }
        let settings = [
            ("appendonly", if self.kv.engine.is_durable() { "yes" } else { "no" }.to_owned()),
            ("databases", "1".to_owned()),
            ("maxclients", self.max_clients.to_string()),
            ("maxmemory", self.kv.options.max_memory.to_string()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("proto-max-bulk-len", self.kv.options.max_value.to_string()),
            ("save", String::new()),
        ];
        let is_wanted =
            |name: &str| patterns.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
        let wanted: Vec<_> = settings.iter().filter(|(name, _)| is_wanted(name)).collect();
        self.replies.map(wanted.len());
        for (name, value) in wanted {
            self.replies.bulk(name.as_bytes());
            self.replies.bulk(value.as_bytes());
        }
    }

    fn command(&mut self, arguments: &[&[u8]]) {
        let replies = &mut self.replies;
        let named = |names: &[&[u8]]| names.iter().map(|name| commands::find(name)).collect::<Vec<_>>();
        let all = || COMMANDS.iter().map(Some).collect::<Vec<_>>();
        match arguments {
            [] => describe_all(&all(), replies),
            [option] if commands::is(option, "COUNT") => replies.integer(COMMANDS.len() as i64),
            [option, names @ ..] if commands::is(option, "INFO") => {
                describe_all(&if names.is_empty() { all() } else { named(names) }, replies);
            }
            [option, names @ ..] if commands::is(option, "DOCS") => {
                document_all(&if names.is_empty() { all() } else { named(names) }, replies);
            }
            [option] if commands::is(option, "LIST") => {
                replies.array(COMMANDS.len());
                COMMANDS.iter().for_each(|command| replies.bulk(command.name.as_bytes()));
            }
            [option, ..] => {
                let option = String::from_utf8_lossy(option);
                replies.error(&format!("ERR unknown subcommand '{option}'. Try COUNT, DOCS, INFO or LIST."));
            }
        }
    }

    /// CLIENT, about this connection and others.
    pub(super) fn client(&mut self, arguments: &[&[u8]]) -> Next {
        let [option, rest @ ..] = arguments else { return Next::Continue };
        let option = String::from_utf8_lossy(option).to_ascii_uppercase();
        match (option.as_str(), rest) {
            ("ID", []) => self.replies.integer(self.me.id as i64),
            ("INFO", []) => self.replies.verbatim(&format!("{}\n", self.me.describe())),
            ("LIST", _) => self.list(rest),
            ("KILL", [_, ..]) => return self.kill(rest),
            ("GETNAME", []) => {
                let name = self.me.said().name;
                if name.is_empty() { self.replies.nil() } else { self.replies.bulk(&name) }
            }
            ("SETNAME", [name]) if !is_name(name) => self.replies.error(NO_NAME),
            ("SETNAME", [name]) => {
                self.me.say(|said| said.name = name.to_vec());
                self.replies.ok();
            }
            ("SETINFO", [what, value]) => self.set_info(what, value),
            ("NO-EVICT" | "NO-TOUCH", [word]) if commands::is(word, "ON") || commands::is(word, "OFF") => {
                // Nothing is evicted here, so nobody can be spared.
                self.replies.ok();
            }
            ("REPLY", [word]) if commands::is(word, "ON") => {
                self.silence = Silence::None;
                self.replies.ok();
            }
            ("REPLY", [word]) if commands::is(word, "OFF") => self.silence = Silence::All,
            ("REPLY", [word]) if commands::is(word, "SKIP") => {
                if self.silence == Silence::None {
                    self.silence = Silence::Next;
                }
            }
            ("REPLY" | "NO-EVICT" | "NO-TOUCH", [_]) => self.replies.error("ERR syntax error"),
            ("ID" | "INFO" | "KILL" | "GETNAME" | "SETNAME" | "SETINFO" | "NO-EVICT" | "NO-TOUCH" | "REPLY", _) => {
                let option = option.to_ascii_lowercase();
                self.replies.error(&format!("ERR wrong number of arguments for 'client|{option}' command"));
            }
            _ => self.replies.error(&format!("ERR unknown subcommand '{option}'. Try CLIENT ID, INFO, LIST or KILL.")),
        }
        Next::Continue
    }

    fn set_info(&mut self, what: &[u8], value: &[u8]) {
        if !is_name(value) {
            let what = String::from_utf8_lossy(what).to_ascii_lowercase();
            let message = format!("ERR {what} cannot contain spaces, newlines or special characters.");
            return self.replies.error(&message);
        }
        if commands::is(what, "LIB-NAME") {
            self.me.say(|said| said.library = value.to_vec());
        } else if commands::is(what, "LIB-VER") {
            self.me.say(|said| said.library_version = value.to_vec());
        } else {
            let what = String::from_utf8_lossy(what);
            return self.replies.error(&format!("ERR Unrecognized option '{what}'"));
        }
        self.replies.ok();
    }

    fn list(&mut self, filter: &[&[u8]]) {
        let clients = self.kv.clients.all();
        let wanted: Vec<Arc<Client>> = match filter {
            [] => clients,
            [option, kind] if commands::is(option, "TYPE") => {
                if commands::is(kind, "normal") {
                    clients
                } else {
                    Vec::new()
                }
            }
            [option, ids @ ..] if commands::is(option, "ID") && !ids.is_empty() => {
                let ids: Vec<i64> = ids.iter().filter_map(|id| integer(id)).collect();
                clients.into_iter().filter(|client| ids.contains(&(client.id as i64))).collect()
            }
            _ => return self.replies.error("ERR syntax error"),
        };
        let text: String = wanted.iter().map(|client| client.describe() + "\n").collect();
        self.replies.verbatim(&text);
    }

    /// CLIENT KILL, in its old form (an address) and its new one (filters).
    fn kill(&mut self, filter: &[&[u8]]) -> Next {
        let by_address = |address: &[u8]| {
            let address = String::from_utf8_lossy(address).into_owned();
            move |client: &Client| client.peer.to_string() == address
        };
        let (mut chosen, mut skips_me) = (self.kv.clients.all(), true);
        let is_old_form = filter.len() == 1;
        if let [address] = filter {
            chosen.retain(|client| by_address(address)(client));
            skips_me = false;
        }
        for pair in filter.chunks_exact(2) {
            let [option, value] = pair else { continue };
            if commands::is(option, "ID") {
                let Some(id) = integer(value).filter(|id| *id > 0) else {
                    self.replies.error("ERR client-id should be greater than 0");
                    return Next::Continue;
                };
                chosen.retain(|client| client.id as i64 == id);
            } else if commands::is(option, "ADDR") {
                chosen.retain(|client| by_address(value)(client));
            } else if commands::is(option, "LADDR") {
                let address = String::from_utf8_lossy(value);
                chosen.retain(|client| client.local.is_some_and(|local| local.to_string() == address));
            } else if commands::is(option, "SKIPME") {
                skips_me = !commands::is(value, "no");
            } else {
                self.replies.error("ERR syntax error");
                return Next::Continue;
            }
        }
        if !is_old_form && !filter.len().is_multiple_of(2) {
            self.replies.error("ERR syntax error");
            return Next::Continue;
        }
        chosen.retain(|client| client.id != self.me.id || !skips_me);
        let kills_me = chosen.iter().any(|client| client.id == self.me.id);
        chosen.iter().filter(|client| client.id != self.me.id).for_each(|client| client.kill());
        match (is_old_form, chosen.len()) {
            (true, 0) => self.replies.error("ERR No such client"),
            (true, _) => self.replies.ok(),
            (false, count) => self.replies.integer(count as i64),
        }
        if kills_me { Next::Close } else { Next::Continue }
    }
}

/// What COMMAND says of each: its name, arity, flags, and where its keys are.
fn describe_all(chosen: &[Option<&'static Command>], replies: &mut Replies) {
    replies.array(chosen.len());
    for command in chosen {
        let Some(command) = command else {
            replies.nil_array();
            continue;
        };
        replies.array(10);
        replies.bulk(command.name.as_bytes());
        replies.integer(command.arity.into());
        let flags: &[&str] = match command.access {
            Access::Reads => &["readonly"],
            Access::Writes => &["write", "denyoom"],
            Access::Frees => &["write"],
            Access::Talks => &["fast"],
        };
        replies.set(flags.len());
        flags.iter().for_each(|flag| replies.simple(flag));
        let (first, last, step) = command.key_places();
        [first, last, step].into_iter().for_each(|place| replies.integer(place));
        // Categories, tips, key specifications and subcommands: there are none.
        (0..4).for_each(|_| replies.array(0));
    }
}

fn document_all(chosen: &[Option<&'static Command>], replies: &mut Replies) {
    replies.map(chosen.iter().flatten().count());
    for command in chosen.iter().flatten() {
        replies.bulk(command.name.as_bytes());
        replies.map(3);
        for (name, value) in [("summary", command.summary), ("group", "generic")] {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        document_arguments(command.arguments, replies);
    }
}

/// Each word of the arguments as one of Redis's, from which `redis-cli` makes its hints: a word in brackets is
/// optional, and dots at the end let all that is before them be repeated. What is inside of brackets is not explained
/// further.
fn document_arguments(arguments: &str, replies: &mut Replies) {
    let (words, is_repeated) = match arguments.strip_suffix(" ...") {
        Some(group) => (vec![group], true),
        None => (outer_words(arguments), false),
    };
    replies.bulk(b"arguments");
    replies.array(words.len());
    for word in words {
        let optional = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        replies.map(3);
        for (field, value) in [("name", optional.unwrap_or(word)), ("type", "string")] {
            replies.bulk(field.as_bytes());
            replies.bulk(value.as_bytes());
        }
        let flags = [("optional", optional.is_some()), ("multiple", is_repeated)];
        let flags: Vec<_> = flags.iter().filter(|(_, is_set)| *is_set).collect();
        replies.bulk(b"flags");
        replies.set(flags.len());
        flags.iter().for_each(|(flag, _)| replies.simple(flag));
    }
}

/// The words of a text, of which those in brackets are one.
fn outer_words(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let is_between = |character: char| {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ' ' && depth == 0
    };
    text.split(is_between).filter(|word| !word.is_empty()).collect()
}

/// A row of hills, another one each second.
fn picture() -> String {
    let seed = engine::now() / 1000;
    let height = |x: u64| ((x.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 7) % 5) as usize;
    let mut picture = String::new();
    for level in (1..=5).rev() {
        let row: String = (0..64).map(|x| if height(x / 4) + 1 >= level { '#' } else { ' ' }).collect();
        let _ = writeln!(picture, "{}", row.trim_end());
    }
    let _ = write!(picture, "\nacceptd ver. {}", env!("CARGO_PKG_VERSION"));
    picture
}
