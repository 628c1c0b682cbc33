//! One client's session: which commands its state allows, and what it is answered. It writes to any [`Write`], so it is
//! tested without a socket.

use std::io::{self, Write};
use std::sync::Arc;

use crate::apop;
use crate::command::Command;
use crate::framing::Input;
use crate::mail::{Incoming, write_mail, write_top};
use crate::store::{DeliverError, Mail, Maildrop, OpenError, Store};

/// The longest command, line end included (RFC 2449, section 4 allows 255 bytes; mail servers take 512).
const MAX_COMMAND: usize = 512;

/// The longest line of a mail, line end included (RFC 5321, section 4.5.3.1.6), with one dot more.
const MAX_MAIL_LINE: usize = 1001;

/// After this many wrong passwords, the client has to connect again.
const MAX_FAILURES: u32 = 3;

const CAPABILITIES: &[u8] = b"+OK\r\nTOP\r\nUSER\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\n.\r\n";

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Close,
}

/// A session. Dropped in whatever state, it unlocks its maildrop and deletes nothing.
pub struct Session {
    store: Arc<Store>,
    timestamp: String,
    failures: u32,
    state: State,
}

/// The states of RFC 1939, and one for a mail that is on its way. UPDATE is [`Maildrop::commit`].
enum State {
    Authorization { user: Option<String> },
    Transaction(Maildrop),
    Receiving { recipient: String, mail: Incoming },
}

impl Session {
    /// A new session, with the greeting's timestamp.
    pub fn new(store: Arc<Store>, timestamp: String) -> Session {
        Session { store, timestamp, failures: 0, state: State::Authorization { user: None } }
    }

    pub fn greeting(&self) -> String {
        format!("+OK mail_drop ready {}\r\n", self.timestamp)
    }

    /// Whether a mail has begun and not ended.
    pub fn is_receiving(&self) -> bool {
        matches!(self.state, State::Receiving { .. })
    }

    /// How long the next line may be, line end included.
    pub fn line_limit(&self) -> usize {
        if self.is_receiving() { MAX_MAIL_LINE } else { MAX_COMMAND }
    }

    /// Answers what the client has sent. In a drain, no new mail is taken.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn on_input(&mut self, input: Input, is_draining: bool, out: &mut dyn Write) -> io::Result<Flow> {
        match (input, &mut self.state) {
            (Input::Dropped, _) => Ok(Flow::Continue),
            (Input::TooLong, State::Receiving { mail, .. }) => {
                mail.refuse("the mail has a line of more than 1,000 bytes");
                Ok(Flow::Continue)
            }
            (Input::TooLong, _) => refuse(out, "a command has 512 bytes at the most"),
            (Input::Line(line), State::Receiving { mail, .. }) => {
                if mail.add(&line) {
                    self.store_mail(out)
                } else {
                    Ok(Flow::Continue)
                }
            }
            (Input::Line(line), _) => match Command::parse(&line) {
                Ok(Command::Quit) => self.quit(out),
                Ok(Command::Capa) => accept_with(out, |out| out.write_all(CAPABILITIES)),
                Ok(Command::Xsend(_)) if is_draining => refuse(out, "the server is shutting down"),
                Ok(command) => self.on_command(command, out),
                Err(why) => refuse(out, why),
            },
        }
    }

    /// The client has sent its last byte. It may still read.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn on_end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_receiving() {
            refuse(out, "the mail did not end, and is not stored")?;
        }
        Ok(())
    }

    fn on_command(&mut self, command: Command, out: &mut dyn Write) -> io::Result<Flow> {
        match &mut self.state {
            State::Authorization { user } => {
                let user = user.take();
                self.authorize(user, command, out)
            }
            State::Transaction(maildrop) => transact(maildrop, command, out),
            // Lines of a mail are not commands: see `on_input`.
            State::Receiving { .. } => Ok(Flow::Continue),
        }
    }

    /// `user` is the name from a USER command right before.
    fn authorize(&mut self, user: Option<String>, command: Command, out: &mut dyn Write) -> io::Result<Flow> {
        match (command, user) {
            (Command::User(name), _) => {
                self.state = State::Authorization { user: Some(name) };
                accept(out, "now the password")
            }
            (Command::Pass(password), Some(name)) => self.open(&name, |secret| secret == password, out),
            (Command::Pass(_), None) => refuse(out, "USER comes first"),
            (Command::Apop { name, digest }, _) => {
                let timestamp = self.timestamp.clone();
                self.open(&name, |secret| apop::digest(&timestamp, secret) == digest, out)
            }
            (Command::Xsend(name), _) if self.store.has_user(&name) => {
                self.state = State::Receiving { recipient: name, mail: Incoming::default() };
                accept(out, "send the mail, and end it with a dot")
            }
            (Command::Xsend(_), _) => refuse(out, "there is no such user"),
            _ => refuse(out, "log in first"),
        }
    }

    fn open(&mut self, name: &str, knows_password: impl FnOnce(&str) -> bool, out: &mut dyn Write) -> io::Result<Flow> {
        match self.store.open(name, knows_password) {
            Ok(maildrop) => {
                let (count, size) = count_and_size(&maildrop);
                self.state = State::Transaction(maildrop);
                accept(out, &format!("{count} messages ({size} octets)"))
            }
            // RFC 2449, section 8.1.2.
            Err(OpenError::InUse) => refuse(out, "[IN-USE] another session has this maildrop open"),
            Err(OpenError::Denied) => {
                self.failures += 1;
                // RFC 3206, section 5.
                refuse(out, "[AUTH] wrong user or password")?;
                Ok(if self.failures < MAX_FAILURES { Flow::Continue } else { Flow::Close })
            }
        }
    }

    fn store_mail(&mut self, out: &mut dyn Write) -> io::Result<Flow> {
        let received = std::mem::replace(&mut self.state, State::Authorization { user: None });
        let State::Receiving { recipient, mail } = received else { return Ok(Flow::Continue) };
        let bytes = match mail.finish() {
            Ok(bytes) => bytes,
            Err(why) => return refuse(out, why),
        };
        match self.store.deliver(&recipient, bytes) {
            Ok(()) => accept(out, "the mail is stored"),
            Err(DeliverError::Full) => refuse(out, "the maildrop is full, the mail is not stored"),
            Err(DeliverError::NoSuchUser) => refuse(out, "there is no such user"),
        }
    }

    fn quit(&mut self, out: &mut dyn Write) -> io::Result<Flow> {
        let state = std::mem::replace(&mut self.state, State::Authorization { user: None });
        if let State::Transaction(maildrop) = state {
            maildrop.commit();
        }
        accept(out, "goodbye")?;
        Ok(Flow::Close)
    }
}

/// Answers a command of a client that has logged in.
fn transact(maildrop: &mut Maildrop, command: Command, out: &mut dyn Write) -> io::Result<Flow> {
    match command {
        Command::Noop => accept(out, "nothing done"),
        Command::Stat => {
            let (count, size) = count_and_size(maildrop);
            accept(out, &format!("{count} {size}"))
        }
        Command::List(None) => write_list(maildrop, "sizes", |mail| mail.bytes.len().to_string(), out),
        Command::Uidl(None) => write_list(maildrop, "unique-ids", |mail| format!("{:08x}", mail.uid), out),
        Command::Dele(number) if maildrop.delete(number) => accept(out, "marked as deleted"),
        Command::Rset => {
            maildrop.reset();
            accept(out, "no message is marked as deleted")
        }
        Command::List(Some(number)) => {
            with_mail(maildrop, number, out, |mail, out| write!(out, "+OK {number} {}\r\n", mail.bytes.len()))
        }
        Command::Uidl(Some(number)) => {
            with_mail(maildrop, number, out, |mail, out| write!(out, "+OK {number} {:08x}\r\n", mail.uid))
        }
        Command::Retr(number) => with_mail(maildrop, number, out, |mail, out| {
            write!(out, "+OK {} octets\r\n", mail.bytes.len())?;
            write_mail(&mail.bytes, out)
        }),
        Command::Top { number, lines } => with_mail(maildrop, number, out, |mail, out| {
            out.write_all(b"+OK\r\n")?;
            write_top(&mail.bytes, lines, out)
        }),
        Command::Dele(_) => refuse(out, "there is no such message"),
        _ => refuse(out, "not after the login"),
    }
}

fn count_and_size(maildrop: &Maildrop) -> (usize, usize) {
    let sizes: Vec<usize> = maildrop.mails().map(|(_, mail)| mail.bytes.len()).collect();
    (sizes.len(), sizes.iter().sum())
}

/// One line for each mail, and a dot.
fn write_list(
    maildrop: &Maildrop,
    of_what: &str,
    fact: impl Fn(&Mail) -> String,
    out: &mut dyn Write,
) -> io::Result<Flow> {
    write!(out, "+OK {of_what}\r\n")?;
    for (number, mail) in maildrop.mails() {
        write!(out, "{number} {}\r\n", fact(mail))?;
    }
    accept_with(out, |out| out.write_all(b".\r\n"))
}

fn with_mail(
    maildrop: &Maildrop,
    number: usize,
    out: &mut dyn Write,
    answer: impl FnOnce(&Mail, &mut dyn Write) -> io::Result<()>,
) -> io::Result<Flow> {
    match maildrop.mail(number) {
        Some(mail) => accept_with(out, |out| answer(mail, out)),
        None => refuse(out, "there is no such message"),
    }
}

fn accept(out: &mut dyn Write, text: &str) -> io::Result<Flow> {
    accept_with(out, |out| write!(out, "+OK {text}\r\n"))
}

fn accept_with(out: &mut dyn Write, answer: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Flow> {
    answer(out)?;
    Ok(Flow::Continue)
}

fn refuse(out: &mut dyn Write, why: &str) -> io::Result<Flow> {
    write!(out, "-ERR {why}\r\n")?;
    Ok(Flow::Continue)
}
