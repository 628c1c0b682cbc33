//! The values of options that are names: handlers, protocols, and when a store is synchronized.

use std::time::Duration;

use acceptd::handler::chat::ChatProtocol;
use acceptd::handler::kv::{Fsync, KvProtocol};
use clap::ValueEnum;

/// The built-in handlers. A new one is a file in `src/handler/`, and a line in each match here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandlerName {
    /// Sends back what it gets (RFC 862)
    Echo,
    /// Answers commands, a line each; begin with HELP
    Line,
    /// Keeps keys and values, for people and for Redis's clients
    Kv,
    /// Rooms to talk in, for people and for IRC clients
    Chat,
}

impl HandlerName {
    /// Whether a client can change what other clients receive.
    pub(super) fn keeps_state(self) -> bool {
        match self {
            HandlerName::Echo | HandlerName::Line => false,
            HandlerName::Kv | HandlerName::Chat => true,
        }
    }

    /// The default idle timeout. A store's client may wait for its own users, and a member of a chat may only read.
    pub(super) fn idle_timeout(self) -> Option<Duration> {
        match self {
            HandlerName::Echo | HandlerName::Line => Some(Duration::from_secs(5 * 60)),
            HandlerName::Kv | HandlerName::Chat => None,
        }
    }

    /// How many descriptors each client takes.
    pub(super) fn descriptors_per_client(self) -> usize {
        match self {
            HandlerName::Echo | HandlerName::Line | HandlerName::Kv => 1,
            HandlerName::Chat => 2,
        }
    }
}

/// The protocol of a key-value store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KvProtocolName {
    /// The first byte of a connection decides
    Auto,
    /// Lines, as people type them
    Text,
    /// RESP, as Redis's clients speak it; lines are answered in it too
    Resp,
}

impl From<KvProtocolName> for KvProtocol {
    fn from(name: KvProtocolName) -> KvProtocol {
        match name {
            KvProtocolName::Auto => KvProtocol::Auto,
            KvProtocolName::Text => KvProtocol::Text,
            KvProtocolName::Resp => KvProtocol::Resp,
        }
    }
}

/// The protocol of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ChatProtocolName {
    /// The first line of a connection decides
    Auto,
    /// Lines, as people type them
    Text,
    /// IRC
    Irc,
}

impl From<ChatProtocolName> for ChatProtocol {
    fn from(name: ChatProtocolName) -> ChatProtocol {
        match name {
            ChatProtocolName::Auto => ChatProtocol::Auto,
            ChatProtocolName::Text => ChatProtocol::Text,
            ChatProtocolName::Irc => ChatProtocol::Irc,
        }
    }
}

/// When the store's file is synchronized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FsyncName {
    /// Before a write is acknowledged
    Always,
    /// Within a second: a crash may take back that much
    Everysec,
}

impl From<FsyncName> for Fsync {
    fn from(name: FsyncName) -> Fsync {
        match name {
            FsyncName::Always => Fsync::Always,
            FsyncName::Everysec => Fsync::EverySecond,
        }
    }
}
