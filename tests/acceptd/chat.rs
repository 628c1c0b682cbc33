//! The chat, in each of its dialects and between them.

mod across_dialects;
mod channels;
mod detection;
mod flood;
mod other_protocols;
mod plain;
mod promises;
mod registration;
mod rooms;
mod settings;
mod shutdown;
mod telnet;
mod users;
