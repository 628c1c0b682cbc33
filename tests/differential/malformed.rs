//! What is no request, and what Redis says before it closes the connection.

use crate::servers::{Redis, Talker, start_acceptd};
use crate::support::text;

/// Complete requests before and after what is wrong show that the replies before it are sent, and that it is the last.
///
/// Left out: arrays of a million to 2^31 words, and words of 8 MiB to 512 MiB. Redis takes them, acceptd is bounded.
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
    // Right, but seldom.
    b"*0\r\n*-1\r\n*-5\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
];

#[test]
fn malformed_requests_are_refused_in_redis_own_words() {
    let Some(redis) = Redis::start() else { return };
    let acceptd = start_acceptd(&[]);
    for case in CASES {
        let [expected, got] = [redis.addr, acceptd.addr].map(|addr| {
            let mut talker = Talker::connect(addr);
            // Where there is no error, the end of the input ends the conversation.
            talker.send(case).unwrap();
            talker.end_output();
            talker.rest().map_err(|error| error.to_string())
        });
        assert_eq!(got.map(|bytes| text(&bytes)), expected.map(|bytes| text(&bytes)), "{}", case.escape_ascii());
    }
}
