//! Recognises TLS aimed at a port without it, and tells the client so in TLS's own terms.
//!
//! A ClientHello has no line end in it, or one by chance, so a line protocol would wait for its timeout or answer garbage.

/// A fatal alert, `protocol_version` (RFC 8446, 6.2), in a record of TLS 1.0, which every version reads. Clients then say
/// "alert protocol version", at once. `handshake_failure` reads as if ciphers or certificates were wrong, and plain text as
/// "wrong version number".
pub(crate) const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// So many bytes are enough to tell.
pub(crate) const TELLING: usize = 3;

/// Whether a connection begins with a TLS handshake: a record of type 22, of version 3.0 (SSL) to 3.4 (RFC 8446, 5.1). No
/// text begins so. `None`: more bytes have to come to tell.
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
    fn three_bytes_tell_a_handshake() {
        let hello = b"\x16\x03\x01\x02\x00\x01\x00";
        for length in 0..hello.len() {
            let expected = (length >= 3).then_some(true);
            assert_eq!(is_handshake(&hello[..length]), expected, "{length} bytes");
        }
    }

    #[test]
    fn nothing_else_is_one() {
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
