//! The frames of the protocol: a length of 4 bytes (big endian), then as many bytes: a kind and its payload.

use std::sync::Arc;
use std::time::Duration;

/// The longest frame, its length of 4 bytes included.
pub const MAX_FRAME: usize = 64 * 1024;

/// The bytes of the length.
const HEADER: usize = 4;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `P`, milliseconds (4 bytes), body: store a job, and wait so long for room.
    Put { wait: Duration, body: Arc<[u8]> },
    /// `R`, milliseconds (4 bytes): take the next job, and wait so long for one.
    Reserve { wait: Duration },
    /// `D`, id (8 bytes): a job of this client is done.
    Done(u64),
    /// `L`, id (8 bytes): another worker should have the job.
    Release(u64),
    /// `W`: tell me of all that happens from now on.
    Watch,
    /// `S`: how many jobs there are.
    Stats,
    /// A frame that is none of these. The next frame can be read all the same.
    Unknown(&'static str),
    /// A length that no frame has. Where the next frame begins can't be told.
    BadLength(u32),
}

impl Request {
    /// The request at the start of `unread`, and how many bytes it takes. `None` if more have to arrive.
    pub fn decode(unread: &[u8]) -> Option<(Request, usize)> {
        let (header, rest) = unread.split_first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes(*header);
        let Some(wanted) = usize::try_from(length).ok().filter(|length| (1..=MAX_FRAME - HEADER).contains(length))
        else {
            return Some((Request::BadLength(length), HEADER));
        };
        let (kind, payload) = rest.get(..wanted)?.split_first()?;
        Some((Request::from_parts(*kind, payload), HEADER + wanted))
    }

    fn from_parts(kind: u8, payload: &[u8]) -> Request {
        match (kind, payload) {
            (b'P', [a, b, c, d, body @ ..]) => Request::Put { wait: millis([*a, *b, *c, *d]), body: body.into() },
            (b'R', [a, b, c, d]) => Request::Reserve { wait: millis([*a, *b, *c, *d]) },
            (b'D' | b'L', id) => match (id.try_into().map(u64::from_be_bytes), kind) {
                (Ok(id), b'D') => Request::Done(id),
                (Ok(id), _) => Request::Release(id),
                (Err(_), _) => Request::Unknown("the payload is an id of 8 bytes"),
            },
            (b'W', []) => Request::Watch,
            (b'S', []) => Request::Stats,
            (b'P' | b'R' | b'W' | b'S', _) => Request::Unknown("the payload has another length"),
            _ => Request::Unknown("unknown kind of frame"),
        }
    }
}

fn millis(bytes: [u8; 4]) -> Duration {
    Duration::from_millis(u32::from_be_bytes(bytes).into())
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Put = b'P' as isize,
    Reserved = b'R' as isize,
    Done = b'D' as isize,
    /// The worker has released it, or its connection has ended.
    Released = b'L' as isize,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `k`: done.
    Ok,
    /// `p`, id (8 bytes): the job is stored.
    Stored(u64),
    /// `j`, id (8 bytes), body: this client has the job now.
    Job { id: u64, body: Arc<[u8]> },
    /// `e`: no job came in time.
    Empty,
    /// `f`: no room came in time, the job is not stored.
    Full,
    /// `n`: this client has no job of that id.
    NotYours,
    /// `s`, ready, reserved, waiting workers, waiting producers (4 bytes each).
    Stats([u32; 4]),
    /// `v`, event (1 byte), id (8 bytes).
    Event(Event, u64),
    /// `c`: the server shuts down. This was not carried out.
    Closing,
    /// `x`, text.
    Error(String),
}

impl Reply {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Reply::Ok => frame(b'k', &[]),
            Reply::Stored(id) => frame(b'p', &[&id.to_be_bytes()]),
            Reply::Job { id, body } => frame(b'j', &[&id.to_be_bytes(), body]),
            Reply::Empty => frame(b'e', &[]),
            Reply::Full => frame(b'f', &[]),
            Reply::NotYours => frame(b'n', &[]),
            Reply::Stats(counts) => {
                frame(b's', &counts.each_ref().map(|count| count.to_be_bytes()).each_ref().map(|c| &c[..]))
            }
            Reply::Event(event, id) => frame(b'v', &[&[*event as u8], &id.to_be_bytes()]),
            Reply::Closing => frame(b'c', &[]),
            Reply::Error(text) => frame(b'x', &[text.as_bytes()]),
        }
    }
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    // What this server sends is little longer than what it takes, so the length fits.
    let mut frame = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    frame.push(kind);
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(kind: u8, payload: &[u8]) -> Request {
        let bytes = frame(kind, &[payload]);
        for length in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..length]), None, "not before it is whole");
        }
        let (request, length) = Request::decode(&[&bytes[..], b"more"].concat()).unwrap();
        assert_eq!(length, bytes.len());
        request
    }

    #[test]
    fn each_request_is_decoded_once_it_is_whole() {
        let id = 7u64.to_be_bytes();
        let put = Request::Put { wait: Duration::from_millis(258), body: b"body"[..].into() };
        assert_eq!(decoded(b'P', b"\0\0\x01\x02body"), put);
        assert_eq!(decoded(b'P', b"\0\0\0\0"), Request::Put { wait: Duration::ZERO, body: [][..].into() });
        assert_eq!(decoded(b'R', b"\0\0\0\x05"), Request::Reserve { wait: Duration::from_millis(5) });
        assert_eq!(decoded(b'D', &id), Request::Done(7));
        assert_eq!(decoded(b'L', &id), Request::Release(7));
        assert_eq!(decoded(b'W', b""), Request::Watch);
        assert_eq!(decoded(b'S', b""), Request::Stats);
    }

    #[test]
    fn a_wrong_payload_or_kind_takes_its_frame_and_no_more() {
        for (kind, payload) in [(b'P', &b"\0\0\0"[..]), (b'R', b""), (b'D', b"1234567"), (b'W', b"?"), (b'Z', b"")] {
            assert!(matches!(decoded(kind, payload), Request::Unknown(_)), "{kind}");
        }
    }

    #[test]
    fn a_length_that_no_frame_has_is_found_before_its_bytes_arrive() {
        for length in [0, MAX_FRAME as u32 - 3, u32::MAX, u32::from_be_bytes(*b"GET ")] {
            assert_eq!(Request::decode(&length.to_be_bytes()), Some((Request::BadLength(length), HEADER)));
        }
        let longest = MAX_FRAME as u32 - 4;
        assert_eq!(Request::decode(&longest.to_be_bytes()), None, "the longest frame");
    }

    #[test]
    fn replies_have_their_kind_and_their_payload() {
        assert_eq!(Reply::Ok.encode(), b"\0\0\0\x01k");
        assert_eq!(Reply::Stored(1).encode(), b"\0\0\0\x09p\0\0\0\0\0\0\0\x01");
        assert_eq!(Reply::Job { id: 2, body: b"xy"[..].into() }.encode(), b"\0\0\0\x0bj\0\0\0\0\0\0\0\x02xy");
        assert_eq!(Reply::Stats([1, 2, 3, 4]).encode(), b"\0\0\0\x11s\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04");
        assert_eq!(Reply::Event(Event::Done, 3).encode(), b"\0\0\0\x0avD\0\0\0\0\0\0\0\x03");
        assert_eq!(Reply::Error("why".into()).encode(), b"\0\0\0\x04xwhy");
    }
}
