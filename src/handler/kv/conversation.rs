//! One client's conversation: what it has been told of itself, its transaction, and the commands that are about these.

use std::sync::Arc;
use std::time::Duration;

use super::clients::Client;
use super::commands::{self, Access, Command, Special};
use super::engine::{Call, Watched};
use super::reply::{Dialect, Replies};
use super::request::{Bounds, Parsed, Parser, Syntax};
use super::{BATCH, Kv};
use crate::{Connection, Stats};

mod about;
mod authentication;
mod text;
mod transaction;

use transaction::Transaction;

/// The longest name of a client or its library, in bytes.
const LONGEST_NAME: usize = 256;

/// Calls that are executed in one go at the most, if the engine gathers them.
const GATHERED: usize = 1024;

pub(super) struct Conversation<'k> {
    kv: &'k Kv,
    me: Arc<Client>,
    /// What is to be sent.
    pub(super) replies: Replies,
    parser: Parser,
    is_trusted: bool,
    wrong_passwords: u32,
    transaction: Option<Transaction>,
    watched: Vec<Watched>,
    watched_bytes: usize,
    silence: Silence,
    /// How busy the server is.
    pub(super) stats: Stats,
    max_clients: usize,
}

/// What CLIENT REPLY has set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    None,
    /// The reply to the next command is not sent.
    Next,
    /// No reply is sent.
    All,
}

/// What comes after the replies to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    /// The replies are held back for this long.
    ContinueAfter(Duration),
    Close,
    /// The client does not keep to the protocol; the connection ends.
    Misspoke(&'static str),
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.unwatch();
        self.kv.clients.leave(self.me.id);
    }
}

impl<'k> Conversation<'k> {
    pub(super) fn new(kv: &'k Kv, client: &Connection) -> Conversation<'k> {
        let me = Client::new(client.id(), client.peer_addr(), client.local_addr().ok(), client.socket());
        let me = Arc::new(me);
        kv.clients.enter(&me);
        Conversation {
            kv,
            me,
            replies: Replies::new(Dialect::Resp2),
            parser: Parser::default(),
            is_trusted: kv.options.password.is_none(),
            wrong_passwords: 0,
            transaction: None,
            watched: Vec::new(),
            watched_bytes: 0,
            silence: Silence::None,
            stats: client.stats(),
            max_clients: client.limits().max_connections,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        if self.is_trusted { Bounds::new(self.kv.options.max_value) } else { Bounds::of_a_stranger() }
    }

    /// Executes the requests that are complete, as far as there is room for their replies. What comes then, and how
    /// many bytes they were, at most `limit`; `None` if none is complete, and there is nothing to be sent.
    pub(super) fn converse(&mut self, input: &[u8], limit: usize) -> Option<(Next, usize)> {
        let (mut consumed, mut next) = (0, Next::Continue);
        let mut gathered = Gathered::default();
        while next == Next::Continue && self.replies.len() < BATCH {
            let rest = input.get(consumed..).unwrap_or_default();
            let syntax = if self.replies.dialect() == Dialect::Text { Syntax::Text } else { Syntax::Resp };
            let parsed = match self.parser.next(rest, self.bounds(), syntax) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(malformed) => {
                    self.execute(&mut gathered);
                    self.replies.error_in_bytes(&malformed.0);
                    consumed = input.len().min(limit);
                    next = Next::Misspoke("what was sent is no request");
                    break;
                }
            };
            let end = consumed + parsed.length();
            if end > limit && consumed > 0 {
                break;
            }
            consumed = end;
            next = match parsed {
                Parsed::Array { words, .. } => {
                    let words = words.into_iter().map(|word| rest.get(word).unwrap_or_default()).collect();
                    self.request(words, &mut gathered)
                }
                Parsed::Line { line, end, .. } => {
                    self.execute(&mut gathered);
                    self.line(&line, end)
                }
                Parsed::Telnet { reply, .. } => {
                    self.execute(&mut gathered);
                    self.replies.append(reply);
                    Next::Continue
                }
            };
        }
        self.execute(&mut gathered);
        // Telnet may ask for something in the middle of a line.
        (consumed > 0 || self.replies.len() > 0).then_some((next, consumed))
    }

    /// A request of any dialect.
    fn request<'i>(&mut self, words: Vec<&'i [u8]>, gathered: &mut Gathered<'i>) -> Next {
        let Some(name) = words.first() else { return Next::Continue };
        let found = commands::find(name);
        let checked = self.check(found, &words);
        if let (Ok(command), None, Silence::None) = (&checked, &self.transaction, self.silence)
            && !command.talks()
        {
            gathered.push(command, words);
            let is_full = gathered.calls.len() >= GATHERED;
            if is_full || !self.kv.engine.gathers() || !gathered.may_go_on() {
                self.execute(gathered);
            }
            return Next::Continue;
        }
        self.execute(gathered);
        let before = self.replies.len();
        let silence = self.silence;
        let next = match checked {
            Err(why) => {
                if found.is_some_and(|command| command.name == "exec") {
                    self.discard();
                } else if let Some(transaction) = &mut self.transaction {
                    transaction.is_broken = true;
                }
                self.replies.error_in_bytes(&why);
                Next::Continue
            }
            Ok(command) if self.transaction.is_some() && !command.has(Special::Immediate) => {
                self.queue(command, &words);
                Next::Continue
            }
            Ok(command) if command.talks() => self.talk(command, &words),
            Ok(command) => {
                self.kv.engine.run(&[Call { command, words: &words }], &mut self.replies);
                Next::Continue
            }
        };
        if silence != Silence::None && self.silence != Silence::None {
            self.replies.truncate(before);
        }
        if silence == Silence::Next && self.silence == Silence::Next {
            self.silence = Silence::None;
        }
        next
    }

    /// Whether a request may be executed, or why not.
    fn check(&self, found: Option<&'static Command>, words: &[&[u8]]) -> Result<&'static Command, Vec<u8>> {
        let is_text = self.replies.dialect() == Dialect::Text;
        let known = found.filter(|command| is_text || !command.has(Special::TextOnly));
        if !self.is_trusted && !known.is_some_and(|command| command.has(Special::Open)) {
            return Err(if is_text { text::NOAUTH } else { "NOAUTH Authentication required." }.into());
        }
        let Some(command) = known else { return Err(unknown(words, is_text)) };
        if !command.takes(words.len()) {
            let hint = if is_text { format!("; write {}", command.usage()) } else { String::new() };
            let mut why = format!("ERR wrong number of arguments for '{}' command{hint}", command.name);
            if command.name == "exec" {
                why = why.replacen("ERR", "EXECABORT Transaction discarded because of:", 1);
            }
            return Err(why.into());
        }
        // Those of an array were measured when they came.
        if words.iter().any(|word| word.len() > self.kv.options.max_value) {
            return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
        }
        if command.access == Access::Writes && self.is_full() {
            return Err(OOM.into());
        }
        Ok(command)
    }

    fn is_full(&self) -> bool {
        let max = self.kv.options.max_memory;
        max > 0 && !self.kv.engine.is_durable() && self.kv.engine.used_memory() > max
    }

    /// Executes what was gathered.
    fn execute(&mut self, gathered: &mut Gathered<'_>) {
        if gathered.calls.is_empty() {
            return;
        }
        let calls: Vec<Call<'_>> = gathered.calls.iter().map(|(command, words)| Call { command, words }).collect();
        self.kv.engine.run(&calls, &mut self.replies);
        gathered.calls.clear();
    }

    /// A command about the conversation.
    fn talk(&mut self, command: &'static Command, words: &[&[u8]]) -> Next {
        self.me.say(|said| said.command = command.name);
        let arguments = words.get(1..).unwrap_or_default();
        match (command.name, arguments) {
            ("ping", []) => self.pong(),
            ("ping" | "echo", [text]) => self.replies.bulk(text),
            ("ping", _) => self.replies.error("ERR wrong number of arguments for 'ping' command"),
            ("quit", _) => {
                self.replies.ok();
                return Next::Close;
            }
            ("reset", _) => self.reset(),
            ("select", [number]) => match commands::database(number) {
                Ok(()) => self.replies.ok(),
                Err(failure) => self.replies.error(&failure.0),
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
            ("client", _) => return self.client(arguments),
            _ => self.about(command.name, arguments),
        }
        Next::Continue
    }

    /// In text too as Redis says it, since programs that ask whether it is well type a line and look for `+PONG`.
    fn pong(&mut self) {
        self.replies.simple(if self.replies.dialect() == Dialect::Text { "+PONG" } else { "PONG" });
    }

    fn reset(&mut self) {
        self.discard();
        self.silence = Silence::None;
        self.is_trusted = self.kv.options.password.is_none();
        self.me.say(|said| {
            said.name.clear();
            said.resp = 2;
        });
        if self.replies.dialect() == Dialect::Resp3 {
            self.replies.set_dialect(Dialect::Resp2);
        }
        self.replies.simple("RESET");
    }
}

/// Calls that are executed in one go.
#[derive(Default)]
struct Gathered<'i> {
    calls: Vec<(&'static Command, Vec<&'i [u8]>)>,
}

impl<'i> Gathered<'i> {
    fn push(&mut self, command: &'static Command, words: Vec<&'i [u8]>) {
        self.calls.push((command, words));
    }

    /// Whether more may follow the last call in the same go.
    fn may_go_on(&self) -> bool {
        self.calls.last().is_some_and(|(command, words)| command.is_brief(words.len()))
    }
}

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Names go into lists, a line for each client.
fn is_name(name: &[u8]) -> bool {
    name.len() <= LONGEST_NAME && name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

const NO_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// As Redis shows it: words up to a NUL, and about 128 bytes of the name and of all others together.
fn unknown(words: &[&[u8]], is_text: bool) -> Vec<u8> {
    let shown =
        |word: &[u8], most: usize| word.iter().copied().take_while(|byte| *byte != 0).take(most).collect::<Vec<_>>();
    let name = shown(words.first().copied().unwrap_or_default(), MOST_SHOWN);
    if is_text {
        return [b"ERR unknown command '", &name[..], b"', try HELP"].concat();
    }
    let mut all = Vec::new();
    for word in words.iter().skip(1) {
        let Some(room @ 1..) = MOST_SHOWN.checked_sub(all.len()) else { break };
        all.extend([b"'", &shown(word, room)[..], b"' "].concat());
    }
    [b"ERR unknown command '", &name[..], b"', with args beginning with: ", &all[..]].concat()
}

const MOST_SHOWN: usize = 128;
