//! Telnet's commands among the bytes of a connection (RFC 854, RFC 855).

pub(super) const IAC: u8 = 255;

const DONT: u8 = 254;
const DO: u8 = 253;
const WILL: u8 = 251;
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const SE: u8 = 240;

/// The lowest number of a command: end of file (RFC 1184). `IAC` and a lower byte are text.
const LOWEST: u8 = 236;

/// The option that asks for an answer at a place in the stream (RFC 860).
const TIMING_MARK: u8 = 6;

/// What the bytes before have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Text,
    /// After `IAC`.
    Command,
    /// After `IAC WILL`, `WONT` or `DONT`: an option follows.
    Option,
    /// After `IAC DO`, the same.
    Demand,
    /// After `IAC SB`: anything, until `IAC SE`.
    Subnegotiation,
    SubnegotiationCommand,
}

/// What a byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Itself. 255 is `IAC IAC`.
    Byte(u8),
    /// Itself, and so does the `IAC` before it, which begins no command.
    AfterStrayIac(u8),
    /// A command goes on.
    Part,
    /// A command is complete.
    Command(Command),
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    EraseCharacter,
    EraseLine,
    AreYouThere,
    /// An answer to this very place in the stream.
    TimingMark,
    /// Nothing that is done here. So no option is ever agreed on, which is what not answering means (RFC 1143).
    Other,
}

impl State {
    /// Goes on to the next byte, and says what that means.
    pub(super) fn read(&mut self, byte: u8) -> Meaning {
        let (next, meaning) = match (*self, byte) {
            (State::Text, IAC) => (State::Command, Meaning::Part),
            (State::Text, _) | (State::Command, IAC) => (State::Text, Meaning::Byte(byte)),
            (State::Command, DO) => (State::Demand, Meaning::Part),
            (State::Command, WILL..=DONT) => (State::Option, Meaning::Part),
            (State::Command, SB) => (State::Subnegotiation, Meaning::Part),
            (State::Command, ERASE_LINE) => complete(Command::EraseLine),
            (State::Command, ERASE_CHARACTER) => complete(Command::EraseCharacter),
            (State::Command, ARE_YOU_THERE) => complete(Command::AreYouThere),
            (State::Command, LOWEST..) => complete(Command::Other),
            (State::Command, _) => (State::Text, Meaning::AfterStrayIac(byte)),
            (State::Demand, TIMING_MARK) => complete(Command::TimingMark),
            (State::Demand | State::Option, _) => complete(Command::Other),
            (State::Subnegotiation, IAC) => (State::SubnegotiationCommand, Meaning::Part),
            (State::SubnegotiationCommand, SE) => complete(Command::Other),
            (State::Subnegotiation | State::SubnegotiationCommand, _) => (State::Subnegotiation, Meaning::Part),
        };
        *self = next;
        meaning
    }
}

fn complete(command: Command) -> (State, Meaning) {
    (State::Text, Meaning::Command(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_meaning(bytes: &[u8]) -> Meaning {
        let mut state = State::default();
        bytes.iter().map(|&byte| state.read(byte)).last().unwrap()
    }

    #[test]
    fn every_command_ends_where_it_ends() {
        for command in [236, 237, 238, 239, SE, 241, 242, 243, 244, 245, 249] {
            assert_eq!(last_meaning(&[IAC, command]), Meaning::Command(Command::Other), "{command}");
        }
        for verb in [WILL, 252, DO, DONT] {
            assert_eq!(last_meaning(&[IAC, verb]), Meaning::Part, "{verb}");
            assert_eq!(last_meaning(&[IAC, verb, b'\n']), Meaning::Command(Command::Other), "this LF is an option");
        }
        assert_eq!(last_meaning(&[IAC, SB, 31, IAC, IAC, SE, b'\n']), Meaning::Part);
        assert_eq!(last_meaning(&[IAC, SB, 31, IAC, IAC, 0, IAC, SE]), Meaning::Command(Command::Other));
    }

    #[test]
    fn commands_that_ask_for_something_are_told_apart() {
        assert_eq!(last_meaning(&[IAC, DO, TIMING_MARK]), Meaning::Command(Command::TimingMark));
        assert_eq!(last_meaning(&[IAC, WILL, TIMING_MARK]), Meaning::Command(Command::Other));
        assert_eq!(last_meaning(&[IAC, ARE_YOU_THERE]), Meaning::Command(Command::AreYouThere));
        assert_eq!(last_meaning(&[IAC, ERASE_CHARACTER]), Meaning::Command(Command::EraseCharacter));
        assert_eq!(last_meaning(&[IAC, ERASE_LINE]), Meaning::Command(Command::EraseLine));
    }

    #[test]
    fn what_is_no_command_is_text() {
        assert_eq!(last_meaning(&[IAC, IAC]), Meaning::Byte(IAC));
        assert_eq!(last_meaning(&[IAC, b'\n']), Meaning::AfterStrayIac(b'\n'));
        assert_eq!(last_meaning(&[IAC, LOWEST - 1]), Meaning::AfterStrayIac(LOWEST - 1));
    }
}
