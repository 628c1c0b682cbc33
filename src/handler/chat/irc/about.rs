//! The server: what it is, what it can do, and who is there.

use std::io;

use jiff::Timestamp;

use super::Irc;
use super::people::TARGETS_AT_MOST;
use crate::connection::Connection;
use crate::handler::chat::event::{ABOUT, LONGEST_OF_IRC, LONGEST_TEXT, SERVER};
use crate::handler::chat::hall::ROOMS_AT_MOST;
use crate::handler::chat::name;

const VERSION: &str = concat!("acceptd-", env!("CARGO_PKG_VERSION"));

impl Irc<'_> {
    /// What a client is told as soon as it has said who it is.
    pub(super) fn welcome(&mut self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, 1, format_args!(":Welcome to the chat, {}", self.name()))?;
        self.reply(client, 2, format_args!(":Your host is {SERVER}, running {VERSION}"))?;
        self.reply(
            client,
            3,
            format_args!(":This server was started {}", self.chat.since.strftime("%Y-%m-%d %H:%M:%S UTC")),
        )?;
        self.reply(client, 4, format_args!("{SERVER} {VERSION} i no"))?;
        self.support(client)?;
        self.lusers(client)?;
        self.motd(client)
    }

    /// What clients may rely on (<https://modern.ircdocs.horse/#rplisupport-005>).
    fn support(&self, client: &mut Connection) -> io::Result<()> {
        let limits = format_args!(
            "NICKLEN={} CHANNELLEN={} TOPICLEN={LONGEST_TEXT} AWAYLEN={LONGEST_TEXT} KICKLEN={LONGEST_TEXT} \
             CHANLIMIT=#:{ROOMS_AT_MOST} TARGMAX=NAMES:1,PRIVMSG:{TARGETS_AT_MOST},NOTICE:{TARGETS_AT_MOST} \
             LINELEN={LONGEST_OF_IRC} :are supported",
            name::LONGEST,
            name::LONGEST_OF_ROOM + 1
        )
        .to_string();
        self.reply(client, 5, limits)?;
        self.reply(
            client,
            5,
            "NETWORK=acceptd CASEMAPPING=ascii CHANTYPES=# PREFIX=(o)@ CHANMODES=,,,n UTF8ONLY :are supported",
        )
    }

    pub(super) fn lusers(&mut self, client: &mut Connection) -> io::Result<()> {
        let (members, rooms) = self.hall(|hall, _| (hall.len(), hall.room_count()));
        self.reply(client, 251, format_args!(":There are {members} users on 1 server"))?;
        self.reply(client, 254, format_args!("{rooms} :channels formed"))?;
        self.reply(client, 255, format_args!(":I have {members} clients and 0 servers"))
    }

    pub(super) fn motd(&self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, 375, format_args!(":- {SERVER} message of the day -"))?;
        self.reply(client, 372, ":- #lobby is where people with nc and telnet start.")?;
        self.reply(client, 376, ":End of MOTD")
    }

    pub(super) fn version(&self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, 351, format_args!("{VERSION} {SERVER} :{ABOUT}"))?;
        self.support(client)
    }

    pub(super) fn time(&self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, 391, format_args!("{SERVER} :{}", Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC")))
    }
}
