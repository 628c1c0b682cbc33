//! What a client of the tests sends, and the replies that it reads, as frames.

use acceptd::testing::TestClient;

use crate::frame::Reply;

pub fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let length = u32::try_from(1 + payload.len()).unwrap();
    [&length.to_be_bytes()[..], &[kind], &payload].concat()
}

pub fn put(body: &str, wait_ms: u32) -> Vec<u8> {
    frame(b'P', &[&wait_ms.to_be_bytes(), body.as_bytes()])
}

pub fn reserve(wait_ms: u32) -> Vec<u8> {
    frame(b'R', &[&wait_ms.to_be_bytes()])
}

pub fn done(id: u64) -> Vec<u8> {
    frame(b'D', &[&id.to_be_bytes()])
}

pub fn watch() -> Vec<u8> {
    frame(b'W', &[])
}

pub fn stats() -> Vec<u8> {
    frame(b'S', &[])
}

pub fn job(id: u64, body: &str) -> Reply {
    Reply::Job { id, body: body.as_bytes().into() }
}

/// Reads these replies and no others.
pub fn expect(client: &mut TestClient, replies: &[Reply]) {
    client.expect(replies.iter().flat_map(Reply::encode).collect::<Vec<u8>>());
}

/// Sends a request and reads its reply.
pub fn ask(client: &mut TestClient, request: Vec<u8>, reply: Reply) {
    client.send(request);
    expect(client, &[reply]);
}
