//! Replies about the server: the welcome, its features, counts of users, its version and time.

use std::io;

use jiff::Timestamp;

use super::users::MAX_TARGETS;
use super::{IrcSession, numeric};
use crate::connection::Connection;
use crate::handler::chat::event::{MAX_IRC_LINE, MAX_TEXT, SERVER_DESCRIPTION, SERVER_NAME};
use crate::handler::chat::name;
use crate::handler::chat::state::MAX_ROOMS_PER_MEMBER;

const VERSION: &str = concat!("acceptd-", env!("CARGO_PKG_VERSION"));

impl IrcSession<'_> {
    /// The replies to a completed registration.
    pub(super) fn welcome(&mut self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, numeric::RPL_WELCOME, format_args!(":Welcome to the chat, {}", self.name()))?;
        self.reply(client, numeric::RPL_YOURHOST, format_args!(":Your host is {SERVER_NAME}, running {VERSION}"))?;
        self.reply(
            client,
            numeric::RPL_CREATED,
            format_args!(":This server was started {}", self.chat.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")),
        )?;
        self.reply(client, numeric::RPL_MYINFO, format_args!("{SERVER_NAME} {VERSION} i no"))?;
        self.features(client)?;
        self.lusers(client)?;
        self.motd(client)
    }

    /// The features and limits that clients can rely on (<https://modern.ircdocs.horse/#rplisupport-005>).
    fn features(&self, client: &mut Connection) -> io::Result<()> {
        let limits = format_args!(
            "NICKLEN={} CHANNELLEN={} TOPICLEN={MAX_TEXT} AWAYLEN={MAX_TEXT} KICKLEN={MAX_TEXT} \
             CHANLIMIT=#:{MAX_ROOMS_PER_MEMBER} TARGMAX=NAMES:1,PRIVMSG:{MAX_TARGETS},NOTICE:{MAX_TARGETS} \
             LINELEN={MAX_IRC_LINE} :are supported",
            name::MAX_MEMBER_NAME,
            name::MAX_ROOM_NAME + 1
        )
        .to_string();
        self.reply(client, numeric::RPL_ISUPPORT, limits)?;
        self.reply(
            client,
            numeric::RPL_ISUPPORT,
            "NETWORK=acceptd CASEMAPPING=ascii CHANTYPES=# PREFIX=(o)@ CHANMODES=,,,n UTF8ONLY :are supported",
        )
    }

    pub(super) fn lusers(&mut self, client: &mut Connection) -> io::Result<()> {
        let (members, rooms) = self.with_state(|state, _| (state.member_count(), state.room_count()));
        self.reply(client, numeric::RPL_LUSERCLIENT, format_args!(":There are {members} users on 1 server"))?;
        self.reply(client, numeric::RPL_LUSERCHANNELS, format_args!("{rooms} :channels formed"))?;
        self.reply(client, numeric::RPL_LUSERME, format_args!(":I have {members} clients and 0 servers"))
    }

    pub(super) fn motd(&self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, numeric::RPL_MOTDSTART, format_args!(":- {SERVER_NAME} message of the day -"))?;
        self.reply(client, numeric::RPL_MOTD, ":- #lobby is where people with nc and telnet start.")?;
        self.reply(client, numeric::RPL_ENDOFMOTD, ":End of MOTD")
    }

    pub(super) fn version(&self, client: &mut Connection) -> io::Result<()> {
        self.reply(client, numeric::RPL_VERSION, format_args!("{VERSION} {SERVER_NAME} :{SERVER_DESCRIPTION}"))?;
        self.features(client)
    }

    pub(super) fn time(&self, client: &mut Connection) -> io::Result<()> {
        self.reply(
            client,
            numeric::RPL_TIME,
            format_args!("{SERVER_NAME} :{}", Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC")),
        )
    }
}
