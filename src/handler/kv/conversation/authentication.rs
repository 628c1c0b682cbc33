//! AUTH and HELLO: whether a client has given the password, and how it wants to be spoken to.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::{Conversation, NO_NAME, Next, is_name};
use crate::handler::kv::reply::Dialect;
use crate::handler::kv::request::integer;

/// The first wrong password of a connection is answered this much later, and each further one twice as much later as
/// the one before, up to the last. So a connection can try fewer than a thousand passwords in an hour.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(5);

/// How much later the answer to this many wrong passwords comes.
fn delay(wrong_passwords: u32) -> Duration {
    let doublings = wrong_passwords.saturating_sub(1);
    2_u32
        .checked_pow(doublings)
        .and_then(|factor| FIRST_DELAY.checked_mul(factor))
        .map_or(LAST_DELAY, |delay| delay.min(LAST_DELAY))
}

impl Conversation<'_> {
    pub(super) fn auth(&mut self, user: &[u8], password: &[u8]) -> Next {
        if let Some(refused) = self.authenticate(user, password) {
            return refused;
        }
        self.replies.ok();
        Next::Continue
    }

    /// Trusts the client from now on if the password is right. If it is not, says so and returns what comes next.
    fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Option<Next> {
        let Some(right) = &self.kv.options.password else {
            self.replies.error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
            return Some(Next::Continue);
        };
        if user == b"default" && bool::from(right.ct_eq(password)) {
            self.is_trusted = true;
            return None;
        }
        self.replies.error("WRONGPASS invalid username-password pair or user is disabled.");
        self.kv.wrong_passwords.log(self.me.id, self.me.peer);
        self.wrong_passwords = self.wrong_passwords.saturating_add(1);
        Some(Next::ContinueAfter(delay(self.wrong_passwords)))
    }

    pub(super) fn hello(&mut self, arguments: &[&[u8]]) -> Next {
        let mut rest = arguments.iter().copied();
        let mut dialect = self.replies.dialect();
        if let Some(version) = rest.next() {
            dialect = match integer(version) {
                Some(2) => Dialect::Resp2,
                Some(3) => Dialect::Resp3,
                Some(_) => return self.refuse("NOPROTO unsupported protocol version"),
                None => return self.refuse("ERR Protocol version is not an integer or out of range"),
            };
        }
        let mut name = None;
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"AUTH")
                && let (Some(user), Some(password)) = (rest.next(), rest.next())
            {
                if let Some(refused) = self.authenticate(user, password) {
                    return refused;
                }
            } else if option.eq_ignore_ascii_case(b"SETNAME")
                && let Some(wanted) = rest.next()
            {
                name = Some(wanted);
            } else {
                let option = String::from_utf8_lossy(option);
                return self.refuse(&format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
        if !self.is_trusted {
            return self.refuse(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            );
        }
        if let Some(name) = name {
            if !is_name(name) {
                return self.refuse(NO_NAME);
            }
            self.me.say(|said| said.name = name.to_vec());
        }
        self.replies.set_dialect(dialect);
        self.me.say(|said| said.resp = if dialect == Dialect::Resp3 { 3 } else { 2 });
        self.introduce();
        Next::Continue
    }

    fn refuse(&mut self, why: &str) -> Next {
        self.replies.error(why);
        Next::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_its_last() {
        let millis: Vec<u128> = (1..=9).map(|count| delay(count).as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(delay(u32::MAX), LAST_DELAY);
    }
}
