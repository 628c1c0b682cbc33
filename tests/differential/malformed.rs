//! Malformed requests: both servers must reply with the same error and close the connection.

use crate::servers::{Redis, RespConnection, start_acceptd};
use crate::support::text;

/// Some cases have valid requests around the malformed one, to show that earlier requests get their replies and later
/// ones do not.
///
/// Left out are arrays of a million to 2^31 words, and words of 8 MiB to 512 MiB: Redis accepts them, acceptd has
/// limits.
const CASES: &[&[u8]] = &[
    b"*3000000000\r\n",
    b"*99999999999999999999\r\n",
    b"*abc\r\n",
    b"*\r\n",
    b"*1 \r\n",
    b"*1\r\nfoo\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\n*1\r\n",
    b"*1\r\n\xff\r\n",
    b"*1\r\n'\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$-10\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$2000000000\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\nx\r\n*1\r\n$4\r\nPING\r\n",
    // Unusual, but valid.
    b"*0\r\n*-1\r\n*-5\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
];

#[test]
fn malformed_requests_get_the_same_errors_as_from_redis() {
    let Some(redis) = Redis::start() else { return };
    let acceptd = start_acceptd(&[]);
    for case in CASES {
        let [expected, got] = [redis.addr, acceptd.addr].map(|addr| {
            let mut connection = RespConnection::connect(addr);
            connection.send(case).unwrap();
            // Without an error, the server closes the connection because the input ends.
            connection.end_output();
            connection.rest().map_err(|error| error.to_string())
        });
        assert_eq!(got.map(|bytes| text(&bytes)), expected.map(|bytes| text(&bytes)), "{}", case.escape_ascii());
    }
}
