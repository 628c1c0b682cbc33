//! AUTH and HELLO: checks the password and selects the protocol version.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::{KvSession, SessionAction};
use crate::handler::kv::client_list::{INVALID_NAME, is_valid_name};
use crate::handler::kv::reply::KvDialect;
use crate::handler::kv::request::parse_integer;

/// How long the reply to the first wrong password of a connection is delayed. The delay doubles with each further one,
/// up to the maximum. So one connection can try fewer than a thousand passwords in an hour.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The delay after this many wrong passwords.
fn delay(wrong_passwords: u32) -> Duration {
    let doublings = wrong_passwords.saturating_sub(1);
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_DELAY)
}

impl KvSession<'_> {
    pub(super) fn auth(&mut self, user: &[u8], password: &[u8]) -> SessionAction {
        if let Err(action) = self.authenticate(user, password) {
            return action;
        }
        self.replies.ok();
        SessionAction::Continue
    }

    /// Checks the password. If it is wrong, adds an error reply and returns what to do next.
    fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Result<(), SessionAction> {
        let Some(expected) = &self.kv.options.password else {
            self.replies.error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
            return Err(SessionAction::Continue);
        };
        if user == b"default" && bool::from(expected.ct_eq(password)) {
            self.is_authenticated = true;
            return Ok(());
        }
        self.replies.error(match self.replies.dialect() {
            KvDialect::Text => "WRONGPASS that is not the password; put quotes around a password with spaces",
            KvDialect::Resp2 | KvDialect::Resp3 => "WRONGPASS invalid username-password pair or user is disabled.",
        });
        self.kv.wrong_password_log.log(self.client.handle.id(), self.client.handle.peer_addr());
        self.wrong_passwords = self.wrong_passwords.saturating_add(1);
        Err(SessionAction::DelayReplies(delay(self.wrong_passwords)))
    }

    pub(super) fn hello(&mut self, arguments: &[&[u8]]) -> SessionAction {
        let mut rest = arguments.iter().copied();
        let mut dialect = self.replies.dialect();
        if let Some(version) = rest.next() {
            dialect = match parse_integer(version) {
                Some(2) => KvDialect::Resp2,
                Some(3) => KvDialect::Resp3,
                Some(_) => return self.reply_error("NOPROTO unsupported protocol version"),
                None => return self.reply_error("ERR Protocol version is not an integer or out of range"),
            };
        }
        let mut name = None;
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"AUTH")
                && let (Some(user), Some(password)) = (rest.next(), rest.next())
            {
                if let Err(action) = self.authenticate(user, password) {
                    return action;
                }
            } else if option.eq_ignore_ascii_case(b"SETNAME")
                && let Some(new_name) = rest.next()
            {
                name = Some(new_name);
            } else {
                let option = String::from_utf8_lossy(option);
                return self.reply_error(&format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
        if !self.is_authenticated {
            return self.reply_error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            );
        }
        if let Some(name) = name {
            if !is_valid_name(name) {
                return self.reply_error(INVALID_NAME);
            }
            self.client.update_info(|info| info.name = name.to_vec());
        }
        self.replies.set_dialect(dialect);
        self.client.update_info(|info| info.resp_version = if dialect == KvDialect::Resp3 { 3 } else { 2 });
        self.reply_to_hello();
        SessionAction::Continue
    }

    fn reply_error(&mut self, message: &str) -> SessionAction {
        self.replies.error(message);
        SessionAction::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_maximum() {
        let millis: Vec<u128> = (1..=9).map(|count| delay(count).as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(delay(u32::MAX), MAX_DELAY);
    }
}
