//! Model checks of the hand-over between senders and a client's own thread. [loom](https://docs.rs/loom) runs each model
//! in every possible order of its steps.
//!
//! The models include `src/outbox/handover.rs` itself. `model` adds a small socket, an event, and the loop of the client's
//! own thread. loom reports a thread that waits forever as a deadlock. So a model that ends has woken every thread that
//! had work left.
//!
//! Models of more than two threads limit how often a run preempts a thread that could continue. Switching away from a
//! thread that waits does not count.

#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice)]

// The models use what changes the state, not all that only looks at it.
#[allow(dead_code)]
#[path = "../../src/outbox/handover.rs"]
mod handover;
mod model;
mod support;

use std::io::ErrorKind;

use loom::sync::Mutex;

use handover::{End, Wire};
use model::{Client, ModelSocket};
use support::{has_dropped_socket, in_every_order, join, spawn, try_to_send};

/// How many bytes the socket takes until the peer reads.
const SMALL_CAPACITY: usize = 2;
/// More than all bytes of any model.
const AMPLE: usize = 100;

#[test]
fn messages_of_two_senders_arrive_whole_and_in_order_at_a_slow_peer() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let one = spawn(&client, |client| assert!(client.send("aaa") && client.send("A")));
        let other = spawn(&client, |client| assert!(client.send("bb")));
        let peer = spawn(&client, |client| client.socket.read(6));
        client.wait().unwrap();
        let (sent, rest) = client.close();
        assert!(["aaaAbb", "aaabbA", "bbaaaA"].contains(&&*sent), "{sent}");
        assert_eq!(rest, None);
        join([one, other, peer]);
    });
}

#[test]
fn messages_flushed_by_another_thread_keep_their_order() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(AMPLE), AMPLE);
        assert!(client.queue("aaa"));
        assert!(client.queue("bbb"));
        let one = spawn(&client, Client::flush);
        let other = spawn(&client, |client| {
            assert!(client.queue("ccc"));
            client.flush();
        });
        let peer = spawn(&client, |client| client.socket.read(9));
        client.wait().unwrap();
        assert_eq!(client.close(), ("aaabbbccc".into(), None));
        join([one, other, peer]);
    });
}

#[test]
fn a_reply_is_never_sent_inside_a_message_and_later_messages_arrive() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let sender = spawn(&client, |client| assert!(client.send("aaa") && client.send("A")));
        let peer = spawn(&client, |client| client.socket.read(7));
        client.reply("rrr").unwrap();
        client.wait().unwrap();
        let (sent, rest) = client.close();
        assert!(["rrraaaA", "aaarrrA", "aaaArrr"].contains(&&*sent), "{sent}");
        assert_eq!(rest, None);
        join([sender, peer]);
    });
}

#[test]
fn a_reply_comes_after_messages_queued_before_it() {
    in_every_order(None, || {
        let client = Client::new(ModelSocket::new(AMPLE), AMPLE);
        assert!(client.queue("aaa"));
        let sender = spawn(&client, Client::flush);
        client.reply("rrr").unwrap();
        assert_eq!(client.close(), ("aaarrr".into(), None));
        join([sender]);
    });
}

#[test]
fn a_claim_waits_only_for_the_thread_that_is_already_sending() {
    in_every_order(Some(3), || {
        let client = Client::new(ModelSocket::new(AMPLE), AMPLE);
        let one = spawn(&client, |client| assert!(client.send("aaa")));
        let other = spawn(&client, |client| assert!(client.send("bbb")));
        // `claim` checks that at most one other send happens meanwhile.
        client.claim().unwrap();
        join([one, other]);
        assert!(client.close().1.is_none());
    });
}

#[test]
fn messages_queued_after_a_claim_do_not_delay_it() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        assert!(client.send("aaa") && client.queue("A"));
        client.begin_claim();
        let sender = spawn(&client, |client| assert!(client.send("bbb") && client.send("B")));
        let peer = spawn(&client, |client| client.socket.read(11));
        client.reply("rrr").unwrap();
        client.wait().unwrap();
        assert_eq!(client.close(), ("aaaArrrbbbB".into(), None));
        join([sender, peer]);
    });
}

#[test]
fn messages_queued_before_and_after_a_claim_are_not_sent_in_one_call() {
    in_every_order(None, || {
        let client = Client::new(ModelSocket::new(AMPLE), AMPLE);
        assert!(client.queue("aaa") && client.queue("A"));
        let flusher = spawn(&client, Client::flush);
        client.begin_claim();
        assert!(client.queue("bbb"));
        client.reply("rrr").unwrap();
        assert_eq!(client.close(), ("aaaArrrbbb".into(), None));
        join([flusher]);
    });
}

#[test]
fn closing_after_a_claim_leaves_no_message_unfinished() {
    in_every_order(None, || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        assert!(client.send("aaa"));
        client.begin_claim();
        let sender = spawn(&client, |client| try_to_send(client, "bbb"));
        let peer = spawn(&client, |client| client.socket.read_once());
        client.claim().unwrap();
        assert_eq!(client.close(), ("aaa".into(), None));
        assert!(client.socket.begin_sending(), "a farewell can follow");
        join([sender, peer]);
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn a_claim_fails_when_the_queue_exceeds_its_limit() {
    in_every_order(Some(3), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), 5);
        assert!(client.queue("bb") && client.queue("aaa"));
        let sender = spawn(&client, Client::flush);
        let other = spawn(&client, |client| assert!(!client.send("ccccc")));
        let peer = spawn(&client, |client| client.socket.read_once());
        assert_eq!(client.reply("rrr"), Err(End::Full));
        let (sent, rest) = client.close();
        let whole = sent.clone() + &rest.unwrap_or_default();
        assert!(["", "bb", "bbaaa"].contains(&&*whole), "{sent} {whole}");
        join([sender, other, peer]);
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn replies_among_messages_of_two_senders_arrive_whole() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(AMPLE), AMPLE);
        let one = spawn(&client, |client| assert!(client.send("aaa")));
        let other = spawn(&client, |client| assert!(client.send("bbb")));
        let peer = spawn(&client, |client| client.socket.read(12));
        client.reply("rrr").unwrap();
        client.reply("RRR").unwrap();
        client.wait().unwrap();
        let (sent, rest) = client.close();
        let mut parts: Vec<&[u8]> = sent.as_bytes().chunk_by(|one, next| one == next).collect();
        assert!(sent.find('r') < sent.find('R'), "{sent}");
        parts.sort_unstable();
        assert_eq!(parts, ["RRR", "aaa", "bbb", "rrr"].map(str::as_bytes), "{sent}");
        assert_eq!(rest, None);
        join([one, other, peer]);
    });
}

#[test]
fn a_client_over_its_limit_is_closed_at_once_and_gets_no_more_messages() {
    const LIMIT: usize = 5;
    in_every_order(Some(3), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), LIMIT);
        // The peer does not read. Each sender sends until `send` returns false.
        let flood = |client: &Client, message: &str| {
            let mut taken = 0;
            while client.send(message) {
                taken += message.len();
            }
            assert!(!client.send(message), "it stays closed");
            taken
        };
        let one = spawn(&client, move |client| flood(client, "aaa"));
        let other = spawn(&client, move |client| flood(client, "bb"));
        assert_eq!(client.wait(), Err(End::Full));
        let (sent, rest) = client.close();
        assert_eq!(client.end(), Some(End::Full), "the first reason stays");
        let taken = one.join().unwrap() + other.join().unwrap();
        assert!(taken <= SMALL_CAPACITY + LIMIT, "{taken} bytes were taken");
        // The rest is of the first message only, and not of later ones.
        let whole = sent.clone() + &rest.unwrap_or_default();
        assert!(["aaa", "bb", ""].contains(&&*whole), "{sent} {whole}");
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn a_client_over_its_limit_gets_no_more_messages_even_after_its_peer_reads() {
    for [first, second] in [["bb", "aaa"], ["aaa", "bb"]] {
        in_every_order(Some(3), move || {
            let client = Client::new(ModelSocket::new(SMALL_CAPACITY), 5);
            assert!(client.queue(first) && client.queue(second));
            let sender = spawn(&client, Client::flush);
            let other = spawn(&client, |client| assert!(!client.send("cccc")));
            assert_eq!(client.wait(), Err(End::Full));
            let sent = client.socket.sent();
            client.socket.read_once();
            join([sender, other]);
            let (all, rest) = client.close();
            assert_eq!(all, sent);
            assert!(["", first].contains(&&*(sent.clone() + &rest.unwrap_or_default())), "{sent}");
        });
    }
}

#[test]
fn close_returns_the_unsent_rest_and_nothing_is_sent_afterwards() {
    in_every_order(None, || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let sender = spawn(&client, |client| {
            let outcomes = [client.send("a"), client.send("bbb"), client.send("c")];
            assert!(outcomes.is_sorted_by(|earlier, later| earlier >= later), "it stays closed: {outcomes:?}");
        });
        let (sent, rest) = client.close();
        match rest {
            None => assert!(["", "a"].contains(&&*sent), "{sent}"),
            Some(rest) => assert!(["a", "abbb"].contains(&&*(sent.clone() + &rest)), "{sent} {rest}"),
        }
        join([sender]);
        assert_eq!(client.socket.sent(), sent);
        assert_eq!(client.end(), Some(End::Closed));
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn close_waits_for_a_sender_only_while_it_sends() {
    in_every_order(Some(3), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let one = spawn(&client, |client| try_to_send(client, "aaa"));
        let other = spawn(&client, |client| try_to_send(client, "bbb"));
        let peer = spawn(&client, |client| client.socket.read_once());
        let (sent, rest) = client.close();
        let whole = sent.clone() + &rest.unwrap_or_default();
        assert!(["", "aaa", "bbb", "aaabbb", "bbbaaa"].contains(&&*whole), "{sent} {whole}");
        join([one, other, peer]);
        assert_eq!(client.socket.sent(), sent);
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn sending_a_message_after_a_farewell_ends_the_connection() {
    in_every_order(Some(3), || {
        let client = Client::new(ModelSocket::new(AMPLE), AMPLE);
        assert!(client.socket.begin_sending());
        let one = spawn(&client, |client| try_to_send(client, "aaa"));
        let other = spawn(&client, |client| try_to_send(client, "bbb"));
        assert_eq!(client.wait(), Err(End::Lost(ErrorKind::ConnectionAborted)));
        assert_eq!(client.close(), (String::new(), None));
        join([one, other]);
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn a_farewell_of_another_thread_is_never_sent_inside_or_before_a_message() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let sender = spawn(&client, |client| try_to_send(client, "aaa"));
        let peer = spawn(&client, |client| client.socket.read_once());
        let server = spawn(&client, |client| client.socket.send_farewell("w"));
        let outcome = client.wait();
        assert!(matches!(outcome, Ok(()) | Err(End::Lost(ErrorKind::ConnectionAborted))), "{outcome:?}");
        let (_, rest) = client.close();
        let was_sent = server.join().unwrap();
        join([sender, peer]);
        let sent = client.socket.sent();
        match rest {
            _ if was_sent => assert!(["w", "aaaw"].contains(&&*sent) && rest.is_none(), "{sent} {rest:?}"),
            rest => assert_eq!(sent + &rest.unwrap_or_default(), "aaa"),
        }
    });
}

#[test]
fn a_socket_error_reaches_the_clients_own_thread() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let one = spawn(&client, |client| try_to_send(client, "aaa"));
        let other = spawn(&client, |client| try_to_send(client, "bbb"));
        let peer = spawn(&client, |client| client.socket.fail(ErrorKind::ConnectionReset));
        assert_eq!(client.wait(), Err(End::Lost(ErrorKind::ConnectionReset)));
        let (sent, _) = client.close();
        assert!(["", "aa", "bb"].contains(&&*sent), "{sent}");
        join([one, other, peer]);
        assert!(!client.send("too late"));
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn a_claim_fails_when_the_socket_fails() {
    in_every_order(Some(3), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        assert!(client.send("aaa"));
        let sender = spawn(&client, |client| try_to_send(client, "bbb"));
        let peer = spawn(&client, |client| client.socket.fail(ErrorKind::BrokenPipe));
        assert_eq!(client.reply("rrr"), Err(End::Lost(ErrorKind::BrokenPipe)));
        assert_eq!(client.close(), ("aa".into(), Some("a".into())));
        join([sender, peer]);
    });
}

#[test]
fn the_clients_own_thread_sends_the_rest_after_many_interrupted_calls() {
    in_every_order(Some(3), || {
        // More interrupted calls than a sender retries.
        let client = Client::new(ModelSocket::with_signals(AMPLE, 6), AMPLE);
        let sender = spawn(&client, |client| assert!(client.send("aaa")));
        let peer = spawn(&client, |client| client.socket.read(3));
        client.wait().unwrap();
        assert_eq!(client.close(), ("aaa".into(), None));
        join([sender, peer]);
    });
}

#[test]
fn a_client_that_is_given_up_gets_no_more_messages() {
    in_every_order(None, || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let sender = spawn(&client, |client| {
            assert!(client.send("aaa"));
            try_to_send(client, "bbb");
        });
        assert_eq!(client.give_up(), Err(End::Slow));
        assert_eq!(client.close(), ("aa".into(), Some("a".into())));
        join([sender]);
        assert!(has_dropped_socket(client));
    });
}

#[test]
fn an_outbox_that_another_thread_closes_delivers_earlier_messages_and_takes_no_later_ones() {
    in_every_order(Some(2), || {
        let client = Client::new(ModelSocket::new(SMALL_CAPACITY), AMPLE);
        let closer = spawn(&client, |client| {
            assert!(client.send("aaa"));
            client.close_by_other();
            client.close_by_other();
            assert!(!client.send("bbb"));
        });
        let peer = spawn(&client, |client| client.socket.read(1));
        client.wait_until_closing();
        client.claim().unwrap();
        assert_eq!(client.close(), ("aaa".into(), None));
        join([closer, peer]);
        assert!(has_dropped_socket(client));
    });
}
