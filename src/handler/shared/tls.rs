//! Recognizes TLS aimed at a port without TLS, and answers it with a TLS alert.
//!
//! A ClientHello contains no line end, or contains one by chance. A line protocol would wait for its timeout, or answer
//! garbage.

/// A fatal `protocol_version` alert (RFC 8446, 6.2) in a TLS 1.0 record, which clients of every version read. Clients then
/// report "alert protocol version" at once. After `handshake_failure` they would suspect their ciphers or certificates, and
/// after plain text they report "wrong version number".
pub(crate) const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// [`is_handshake`] needs at most this many bytes to decide.
pub(crate) const DETECTION_BYTES: usize = 3;

/// Whether a connection begins with a TLS handshake: a record of type 22 and version 3.0 (SSL) to 3.4 (RFC 8446, 5.1). Text
/// never begins like that. `None` if more bytes are needed.
pub(crate) fn is_handshake(first_bytes: &[u8]) -> Option<bool> {
    match first_bytes {
        [] | [22] | [22, 3] => None,
        [22, 3, 0..=4, ..] => Some(true),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_are_enough_to_recognize_a_handshake() {
        let hello = b"\x16\x03\x01\x02\x00\x01\x00";
        for length in 0..hello.len() {
            let expected = (length >= 3).then_some(true);
            assert_eq!(is_handshake(&hello[..length]), expected, "{length} bytes");
        }
    }

    #[test]
    fn other_protocols_are_not_a_handshake() {
        for bytes in [
            &b"P"[..],
            b"\x16\x04\x01",
            b"\x16\x03\x05",
            b"\x16x",
            b"\x80\x2e\x01\x03\x01",
            b"\xff\xfb\x03",
            b"\x17\x03\x03",
        ] {
            assert_eq!(is_handshake(bytes), Some(false), "{bytes:?}");
        }
    }
}
