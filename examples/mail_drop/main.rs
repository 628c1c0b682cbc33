//! A mail drop in the manner of POP3 (RFC 1939): mails wait in a user's maildrop until the user fetches them.
//!
//! It shows a protocol with states, a lock that every end of a session releases, replies of any length, and work that a
//! shutdown lets finish: a mail that is being received. All of the protocol is in files that know nothing of acceptd;
//! `handler.rs` connects them with it. Mails are kept in memory.
//!
//! `cargo run --example mail_drop -- 127.0.0.1:1100 ann:secret bob:word` serves two users. To send Ann a mail (`XSEND` is
//! this server's own command):
//!
//! ```text
//! $ printf 'XSEND ann\r\nSubject: hello\r\n\r\nHow are you?\r\n.\r\nQUIT\r\n' | nc 127.0.0.1 1100
//! +OK mail_drop ready <4711.0.1763968127@localhost>
//! +OK send the mail, and end it with a dot
//! +OK the mail is stored
//! +OK goodbye
//! ```
//!
//! And to fetch it, with any POP3 client, for example with Python's:
//!
//! ```text
//! $ python3
//! >>> import poplib
//! >>> ann = poplib.POP3("127.0.0.1", 1100)
//! >>> ann.apop("ann", "secret")
//! b'+OK 1 messages (32 octets)'
//! >>> ann.retr(1)
//! (b'+OK 32 octets', [b'Subject: hello', b'', b'How are you?'], 32)
//! >>> ann.dele(1), ann.quit()
//! ```
//!
//! Ctrl-C drains it: sessions end, but a mail that has begun to arrive may be completed, for five seconds.

mod apop;
mod command;
mod framing;
mod handler;
mod mail;
mod session;
mod store;
#[cfg(test)]
mod tests;

use std::env;
use std::io;

use store::Store;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:1100".to_owned());
    let accounts: Vec<String> = arguments.collect();
    let store = Store::new(accounts.iter().filter_map(|account| account.split_once(':')));
    println!("{}", handler::serve(&address, store)?);
    Ok(())
}
