//! Chat, in both of its dialects and across them.

mod across;
mod channels;
mod detection;
mod flood;
mod foreign;
mod people;
mod plain;
mod promises;
mod registration;
mod rooms;
mod settings;
mod shutdown;
mod telnet;
