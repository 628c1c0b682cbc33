//! Finds telnet commands among the bytes of a connection (RFC 854, RFC 855).

pub(super) const IAC: u8 = 255;

const DONT: u8 = 254;
const DO: u8 = 253;
const WILL: u8 = 251;
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const SE: u8 = 240;

/// The lowest command, end of file (RFC 1184). An `IAC` before a lower byte is text.
const LOWEST_COMMAND: u8 = 236;

/// The option whose answer marks a place in the stream (RFC 860).
const TIMING_MARK: u8 = 6;

/// Decodes a stream byte by byte. Its variants are the states within a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Decoder {
    #[default]
    Text,
    /// After `IAC`.
    Command,
    /// After `IAC WILL`, `WONT` or `DONT`: an option follows.
    Option,
    /// After `IAC DO`: an option follows.
    DoOption,
    /// After `IAC SB`: anything, until `IAC SE`.
    Subnegotiation,
    /// After an `IAC` within a subnegotiation.
    SubnegotiationCommand,
}

/// What a byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// This byte is data. 255 was sent as `IAC IAC`.
    Byte(u8),
    /// This byte is data, and so is the `IAC` before it, which begins no command.
    AfterStrayIac(u8),
    /// The byte belongs to a command that is not complete.
    Incomplete,
    /// The byte completes a command.
    Command(TelnetCommand),
}

/// A command that the server acts on, or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TelnetCommand {
    EraseCharacter,
    EraseLine,
    AreYouThere,
    /// `DO TIMING-MARK`, which asks for an answer at this place in the stream.
    TimingMark,
    /// A command that is ignored. No option is ever negotiated: not answering means refusing (RFC 1143).
    Other,
}

impl Decoder {
    /// Takes the next byte.
    pub(super) fn decode(&mut self, byte: u8) -> Decoded {
        let (next, decoded) = match (*self, byte) {
            (Decoder::Text, IAC) => (Decoder::Command, Decoded::Incomplete),
            (Decoder::Text, _) | (Decoder::Command, IAC) => (Decoder::Text, Decoded::Byte(byte)),
            (Decoder::Command, DO) => (Decoder::DoOption, Decoded::Incomplete),
            (Decoder::Command, WILL..=DONT) => (Decoder::Option, Decoded::Incomplete),
            (Decoder::Command, SB) => (Decoder::Subnegotiation, Decoded::Incomplete),
            (Decoder::Command, ERASE_LINE) => complete(TelnetCommand::EraseLine),
            (Decoder::Command, ERASE_CHARACTER) => complete(TelnetCommand::EraseCharacter),
            (Decoder::Command, ARE_YOU_THERE) => complete(TelnetCommand::AreYouThere),
            (Decoder::Command, LOWEST_COMMAND..) => complete(TelnetCommand::Other),
            (Decoder::Command, _) => (Decoder::Text, Decoded::AfterStrayIac(byte)),
            (Decoder::DoOption, TIMING_MARK) => complete(TelnetCommand::TimingMark),
            (Decoder::DoOption | Decoder::Option, _) => complete(TelnetCommand::Other),
            (Decoder::Subnegotiation, IAC) => (Decoder::SubnegotiationCommand, Decoded::Incomplete),
            (Decoder::SubnegotiationCommand, SE) => complete(TelnetCommand::Other),
            (Decoder::Subnegotiation | Decoder::SubnegotiationCommand, _) => {
                (Decoder::Subnegotiation, Decoded::Incomplete)
            }
        };
        *self = next;
        decoded
    }
}

fn complete(command: TelnetCommand) -> (Decoder, Decoded) {
    (Decoder::Text, Decoded::Command(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_last(bytes: &[u8]) -> Decoded {
        let mut decoder = Decoder::default();
        bytes.iter().map(|&byte| decoder.decode(byte)).last().unwrap()
    }

    #[test]
    fn every_command_ends_at_its_last_byte() {
        for command in [236, 237, 238, 239, SE, 241, 242, 243, 244, 245, 249] {
            assert_eq!(decode_last(&[IAC, command]), Decoded::Command(TelnetCommand::Other), "{command}");
        }
        for verb in [WILL, 252, DO, DONT] {
            assert_eq!(decode_last(&[IAC, verb]), Decoded::Incomplete, "{verb}");
            assert_eq!(
                decode_last(&[IAC, verb, b'\n']),
                Decoded::Command(TelnetCommand::Other),
                "this LF is an option"
            );
        }
        assert_eq!(decode_last(&[IAC, SB, 31, IAC, IAC, SE, b'\n']), Decoded::Incomplete);
        assert_eq!(decode_last(&[IAC, SB, 31, IAC, IAC, 0, IAC, SE]), Decoded::Command(TelnetCommand::Other));
    }

    #[test]
    fn commands_that_ask_for_something_are_distinguished() {
        assert_eq!(decode_last(&[IAC, DO, TIMING_MARK]), Decoded::Command(TelnetCommand::TimingMark));
        assert_eq!(decode_last(&[IAC, WILL, TIMING_MARK]), Decoded::Command(TelnetCommand::Other));
        assert_eq!(decode_last(&[IAC, ARE_YOU_THERE]), Decoded::Command(TelnetCommand::AreYouThere));
        assert_eq!(decode_last(&[IAC, ERASE_CHARACTER]), Decoded::Command(TelnetCommand::EraseCharacter));
        assert_eq!(decode_last(&[IAC, ERASE_LINE]), Decoded::Command(TelnetCommand::EraseLine));
    }

    #[test]
    fn an_iac_that_begins_no_command_is_text() {
        assert_eq!(decode_last(&[IAC, IAC]), Decoded::Byte(IAC));
        assert_eq!(decode_last(&[IAC, b'\n']), Decoded::AfterStrayIac(b'\n'));
        assert_eq!(decode_last(&[IAC, LOWEST_COMMAND - 1]), Decoded::AfterStrayIac(LOWEST_COMMAND - 1));
    }
}
