//! One client's session: its settings, its transaction, and the execution of its requests.

use std::sync::Arc;
use std::time::Duration;

use super::client_list::ListedClient;
use super::commands::{self, Access, Command, Flag};
use super::engine::Call;
use super::reply::{KvDialect, Replies};
use super::request::{Frame, Parser, RequestLimits, Syntax};
use super::watched_keys::WatchedKey;
use super::{Kv, MAX_PENDING_REPLIES};
use crate::{Connection, Stats};

mod authentication;
mod client_command;
mod command_docs;
mod connection_commands;
mod line;
mod server_info;
mod transaction;

use transaction::Transaction;

/// The most calls in a batch, if the engine prefers batches.
const MAX_BATCH_CALLS: usize = 1024;

/// How much of a client's words an error quotes, in bytes.
const MAX_QUOTED: usize = 128;

const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// One client's session. The connection lends it the input, and sends the replies.
pub(super) struct KvSession<'k> {
    kv: &'k Kv,
    client: Arc<ListedClient>,
    /// Replies that have not been sent.
    pub(super) replies: Replies,
    parser: Parser,
    is_authenticated: bool,
    wrong_passwords: u32,
    /// The commands since MULTI. `None` outside of a transaction.
    transaction: Option<Transaction>,
    /// The keys that WATCH has named.
    watched: Vec<WatchedKey>,
    /// The length of these keys together, as WATCH counts it.
    watched_bytes: usize,
    reply_mode: ReplyMode,
    /// The counters of the server, for INFO.
    pub(super) stats: Stats,
    max_clients: usize,
}

/// Which replies are sent, as CLIENT REPLY has set it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReplyMode {
    On,
    /// The reply to the next command is not sent.
    SkipNext,
    Off,
}

/// What the session asks the connection to do with the replies so far, and after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionAction {
    /// Send the replies, and read the next requests.
    Continue,
    /// The same, but send the replies only after this delay.
    DelayReplies(Duration),
    /// Send the replies, and close the connection.
    Close,
    /// The same, because the client violates the protocol. The log gets this reason.
    ProtocolError(&'static str),
}

impl Drop for KvSession<'_> {
    fn drop(&mut self) {
        self.unwatch();
        self.kv.clients.remove(self.client.handle.id());
    }
}

impl<'k> KvSession<'k> {
    pub(super) fn new(kv: &'k Kv, connection: &Connection) -> KvSession<'k> {
        let client = Arc::new(ListedClient::new(connection));
        kv.clients.add(&client);
        KvSession {
            kv,
            client,
            replies: Replies::new(KvDialect::Resp2),
            parser: Parser::default(),
            is_authenticated: kv.options.password.is_none(),
            wrong_passwords: 0,
            transaction: None,
            watched: Vec::new(),
            watched_bytes: 0,
            reply_mode: ReplyMode::On,
            stats: connection.stats(),
            max_clients: connection.limits().max_connections,
        }
    }

    pub(super) fn request_limits(&self) -> RequestLimits {
        if self.is_authenticated {
            RequestLimits::new(self.kv.options.max_value)
        } else {
            RequestLimits::unauthenticated()
        }
    }

    /// Executes the complete requests in `input`, until the pending replies reach their limit. Returns what to do next
    /// and how many bytes were consumed, at most `limit`. Returns `None` if no request is complete and there is no reply to
    /// send.
    pub(super) fn process(&mut self, input: &[u8], limit: usize) -> Option<(SessionAction, usize)> {
        let mut consumed = 0;
        let mut action = SessionAction::Continue;
        let mut batch = CallBatch::default();
        while action == SessionAction::Continue && self.replies.len() < MAX_PENDING_REPLIES {
            let rest = input.get(consumed..).unwrap_or_default();
            match self.parser.next_frame(rest, self.request_limits(), self.syntax()) {
                Ok(None) => break,
                Ok(Some(frame)) if consumed > 0 && consumed + frame.length() > limit => break,
                Ok(Some(frame)) => {
                    consumed += frame.length();
                    action = self.handle_frame(frame, rest, &mut batch);
                }
                Err(malformed) => {
                    self.execute_batch(&mut batch);
                    action = self.refuse_malformed(rest, &malformed);
                    consumed = input.len().min(limit);
                }
            }
        }
        self.execute_batch(&mut batch);
        // Telnet may request an answer in the middle of a line, which consumes nothing.
        (consumed > 0 || self.replies.len() > 0).then_some((action, consumed))
    }

    fn syntax(&self) -> Syntax {
        if self.replies.dialect() == KvDialect::Text { Syntax::Text } else { Syntax::Resp }
    }

    /// Handles a frame that begins at the first byte of `input`.
    fn handle_frame<'i>(&mut self, frame: Frame<'i>, input: &'i [u8], batch: &mut CallBatch<'i>) -> SessionAction {
        match frame {
            Frame::Array { words, .. } => {
                let words = words.into_iter().map(|word| input.get(word).unwrap_or_default()).collect();
                self.handle_request(words, batch)
            }
            Frame::Line { line, end, .. } => {
                self.execute_batch(batch);
                self.handle_line(&line, end)
            }
            Frame::Skip { reply, .. } => {
                self.execute_batch(batch);
                self.replies.append(reply);
                SessionAction::Continue
            }
        }
    }

    /// Executes a request of any dialect, or adds it to the batch.
    fn handle_request<'i>(&mut self, words: Vec<&'i [u8]>, batch: &mut CallBatch<'i>) -> SessionAction {
        let Some(name) = words.first() else { return SessionAction::Continue };
        let found = self.find_command(name);
        let checked = self.check(found, &words);
        if let Ok(command) = &checked
            && self.may_join_batch(command)
        {
            batch.push(command, words);
            if batch.is_complete() || !self.kv.engine.prefers_batches() {
                self.execute_batch(batch);
            }
            return SessionAction::Continue;
        }
        // Replies keep the order of the requests.
        self.execute_batch(batch);
        let reply_start = self.replies.len();
        let mode_before = self.reply_mode;
        let action = match checked {
            Ok(command) => self.execute_alone(command, &words),
            Err(error) => {
                self.reject(found, &error);
                SessionAction::Continue
            }
        };
        self.apply_reply_mode(mode_before, reply_start);
        action
    }

    /// The command with this name, if the client's dialect has it.
    fn find_command(&self, name: &[u8]) -> Option<&'static Command> {
        let is_text = self.replies.dialect() == KvDialect::Text;
        commands::find(name).filter(|command| is_text || !command.has_flag(Flag::TextOnly))
    }

    /// Whether a command can join a batch: it works only on the store, is not queued for EXEC, and its reply is sent.
    fn may_join_batch(&self, command: &Command) -> bool {
        !command.is_connection_command() && self.transaction.is_none() && self.reply_mode == ReplyMode::On
    }

    /// Removes the reply that begins at `reply_start`, if CLIENT REPLY has switched replies off. `mode_before` is the mode
    /// before the command that was just executed: the reply to CLIENT REPLY ON is sent, and CLIENT REPLY SKIP does not
    /// count as the command that it skips.
    fn apply_reply_mode(&mut self, mode_before: ReplyMode, reply_start: usize) {
        if mode_before != ReplyMode::On && self.reply_mode != ReplyMode::On {
            self.replies.truncate(reply_start);
        }
        if mode_before == ReplyMode::SkipNext && self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::On;
        }
    }

    /// Returns the command if the request may be executed. The error is the reply.
    fn check(&self, found: Option<&'static Command>, words: &[&[u8]]) -> Result<&'static Command, Vec<u8>> {
        let is_text = self.replies.dialect() == KvDialect::Text;
        if !self.is_authenticated && !found.is_some_and(|command| command.has_flag(Flag::NoAuth)) {
            return Err(if is_text { line::NOAUTH } else { "NOAUTH Authentication required." }.into());
        }
        let Some(command) = found else { return Err(unknown_command(words, is_text)) };
        if !command.accepts_word_count(words.len()) {
            let hint = if is_text { format!("; write {}", command.usage()) } else { String::new() };
            let mut message = format!("ERR wrong number of arguments for '{}' command{hint}", command.name);
            if command.name == "exec" {
                message = message.replacen("ERR", "EXECABORT Transaction discarded because of:", 1);
            }
            return Err(message.into());
        }
        // Only words of a line can be too long here: the parser has checked those of an array.
        if words.iter().any(|word| word.len() > self.kv.options.max_value) {
            return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
        }
        if command.access == Access::Writes && self.is_memory_full() {
            return Err(OUT_OF_MEMORY.into());
        }
        Ok(command)
    }

    fn is_memory_full(&self) -> bool {
        let max = self.kv.options.max_memory;
        max > 0 && !self.kv.engine.is_durable() && self.kv.engine.used_memory() > max
    }

    /// Executes a request outside of a batch, or queues it for EXEC.
    fn execute_alone(&mut self, command: &'static Command, words: &[&[u8]]) -> SessionAction {
        if self.transaction.is_some() && !command.has_flag(Flag::Immediate) {
            self.queue_command(command, words);
        } else if command.is_connection_command() {
            return self.execute_connection_command(command, words);
        } else {
            self.kv.engine.execute(&[Call { command, words }], &mut self.replies);
        }
        SessionAction::Continue
    }

    /// Replies with an error to a request that must not be executed. In a transaction it makes EXEC fail.
    fn reject(&mut self, found: Option<&'static Command>, error: &[u8]) {
        if found.is_some_and(|command| command.name == "exec") {
            self.discard();
        } else if let Some(transaction) = &mut self.transaction {
            transaction.has_errors = true;
        }
        self.replies.error_in_bytes(error);
    }

    fn execute_batch(&mut self, batch: &mut CallBatch<'_>) {
        if batch.calls.is_empty() {
            return;
        }
        let calls: Vec<Call<'_>> = batch.calls.iter().map(|(command, words)| Call { command, words }).collect();
        self.kv.engine.execute(&calls, &mut self.replies);
        batch.calls.clear();
    }
}

/// Calls that the engine executes together.
#[derive(Default)]
struct CallBatch<'i> {
    calls: Vec<(&'static Command, Vec<&'i [u8]>)>,
}

impl<'i> CallBatch<'i> {
    fn push(&mut self, command: &'static Command, words: Vec<&'i [u8]>) {
        self.calls.push((command, words));
    }

    /// Whether no further call may be added: the batch is full, or its last call must not share a batch with later ones.
    fn is_complete(&self) -> bool {
        let may_grow = self.calls.last().is_some_and(|(command, words)| command.is_batchable(words.len()));
        self.calls.len() >= MAX_BATCH_CALLS || !may_grow
    }
}

/// The error for an unknown command. As in Redis it quotes each word up to a NUL, and about 128 bytes of the name and
/// of all other words together.
fn unknown_command(words: &[&[u8]], is_text: bool) -> Vec<u8> {
    let quotable = |word: &[u8], max_length: usize| -> Vec<u8> {
        word.iter().copied().take_while(|byte| *byte != 0).take(max_length).collect()
    };
    let name = quotable(words.first().copied().unwrap_or_default(), MAX_QUOTED);
    if is_text {
        return [b"ERR unknown command '", &name[..], b"', try HELP"].concat();
    }
    let mut arguments = Vec::new();
    for word in words.iter().skip(1) {
        let room = MAX_QUOTED.saturating_sub(arguments.len());
        if room == 0 {
            break;
        }
        arguments.extend([b"'", &quotable(word, room)[..], b"' "].concat());
    }
    [b"ERR unknown command '", &name[..], b"', with args beginning with: ", &arguments[..]].concat()
}
