//! INFO, CONFIG, TIME, LOLWUT and the reply to HELLO: what a client can learn about the server.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::KvSession;
use crate::handler::kv::commands::{self, matches};
use crate::handler::kv::engine::KeyCounts;
use crate::handler::kv::keyspace::unix_millis;
use crate::handler::kv::reply::KvDialect;

/// The version of Redis that has the same commands. Clients derive from it which commands they can use.
const REDIS_VERSION: &str = "7.0.15";

impl KvSession<'_> {
    pub(super) fn reply_to_hello(&mut self) {
        let replies = &mut self.replies;
        replies.map(7);
        for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        replies.bulk(b"proto");
        replies.integer(if replies.dialect() == KvDialect::Resp3 { 3 } else { 2 });
        replies.bulk(b"id");
        replies.integer(self.client.handle.id() as i64);
        for (name, value) in [("mode", "standalone"), ("role", "master")] {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        replies.bulk(b"modules");
        replies.array(0);
    }

    pub(super) fn time(&mut self) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.replies.array(2);
        self.replies.bulk(since_epoch.as_secs().to_string().as_bytes());
        self.replies.bulk(since_epoch.subsec_micros().to_string().as_bytes());
    }

    pub(super) fn lolwut(&mut self) {
        self.replies.verbatim(&picture());
    }

    pub(super) fn info(&mut self, sections: &[&[u8]]) {
        let info = self.info_text(sections);
        self.replies.verbatim(&info);
    }

    /// The sections and fields of Redis that apply to acceptd.
    fn info_text(&self, sections: &[&[u8]]) -> String {
        let engine = &self.kv.engine;
        let key_counts = engine.key_counts();
        let uptime = self.kv.started_at.elapsed().as_secs();
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
                    self.kv.clients.total(),
                    self.stats.refused,
                    engine.expired_keys(),
                ),
            ),
            ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
            (
                "Keyspace",
                match key_counts {
                    KeyCounts { all: 0, .. } => String::new(),
                    KeyCounts { all, with_expiry } => format!("db0:keys={all},expires={with_expiry},avg_ttl=0\r\n"),
                },
            ),
        ];
        let is_wanted = |name: &str| {
            let is_all = |word: &[u8]| ["all", "default", "everything"].iter().any(|all| commands::is(word, all));
            sections.is_empty() || sections.iter().any(|word| commands::is(word, name) || is_all(word))
        };
        let wanted = all.iter().filter(|(name, _)| is_wanted(name));
        wanted.map(|(name, text)| format!("# {name}\r\n{text}")).collect::<Vec<_>>().join("\r\n")
    }

    pub(super) fn config(&mut self, arguments: &[&[u8]]) {
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
}

/// Draws a row of hills that changes each second.
fn picture() -> String {
    let seed = unix_millis() / 1000;
    let height = |x: u64| ((x.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 7) % 5) as usize;
    let mut picture = String::new();
    for level in (1..=5).rev() {
        let row: String = (0..64).map(|x| if height(x / 4) + 1 >= level { '#' } else { ' ' }).collect();
        let _ = writeln!(picture, "{}", row.trim_end());
    }
    let _ = write!(picture, "\nacceptd ver. {}", env!("CARGO_PKG_VERSION"));
    picture
}
