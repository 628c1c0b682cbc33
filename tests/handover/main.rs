//! The hand-over between those who send to a client and the client's own thread, in every order in which its steps can
//! happen: [loom](https://docs.rs/loom) runs a model again and again, and takes another turn at one of its locks each
//! time.
//!
//! It is the very file that the server is built from. Around it are a socket that takes two bytes at a time, a event, and
//! the loop of the client's own thread. A thread that waits for what never comes is a deadlock, which loom finds by
//! itself: so whoever ends here has been woken for all that there was to do.
//!
//! "Every order" has a bound in the models of more than two threads: in those a thread is interrupted where it could go
//! on only so many times in a run. Where threads wait for one another costs nothing of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice)]

#[path = "../../src/outbox/handover.rs"]
mod handover;
mod line;

use std::io::ErrorKind;
use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use handover::{End, Wire};
use line::{Client, Line};

/// The socket takes so many bytes until the peer reads.
const LITTLE: usize = 2;
/// And here all there are.
const MUCH: usize = 100;

/// Runs a model in every order, with at most so many preemptions if it would take too long otherwise.
fn in_every_order(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// Another thread.
fn meanwhile<T: 'static>(client: &Client, does: impl FnOnce(&Client) -> T + 'static) -> thread::JoinHandle<T> {
    let client = client.clone();
    thread::spawn(move || does(&client))
}

#[test]
fn messages_of_two_senders_arrive_whole_and_in_order_although_the_peer_is_slow() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let one = meanwhile(&client, |client| assert!(client.send("aaa") && client.send("A")));
        let other = meanwhile(&client, |client| assert!(client.send("bb")));
        let peer = meanwhile(&client, |client| client.line.read(6));
        client.wait().unwrap();
        let (sent, rest) = client.close();
        assert!(["aaaAbb", "aaabbA", "bbaaaA"].contains(&&*sent), "{sent}");
        assert_eq!(rest, None);
        join([one, other, peer]);
    });
}

#[test]
fn what_is_queued_by_one_may_be_flushed_by_another_and_keeps_its_order() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(MUCH), MUCH);
        assert!(client.queue("aaa"));
        assert!(client.queue("bbb"));
        let one = meanwhile(&client, Client::flush);
        let other = meanwhile(&client, |client| {
            assert!(client.queue("ccc"));
            client.flush();
        });
        let peer = meanwhile(&client, |client| client.line.read(9));
        client.wait().unwrap();
        assert_eq!(client.close(), ("aaabbbccc".into(), None));
        join([one, other, peer]);
    });
}

#[test]
fn a_reply_is_never_in_the_middle_of_a_message_nor_lost_and_messages_after_it_arrive() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let sender = meanwhile(&client, |client| assert!(client.send("aaa") && client.send("A")));
        let peer = meanwhile(&client, |client| client.line.read(7));
        client.reply("rrr").unwrap();
        client.wait().unwrap();
        let (sent, rest) = client.close();
        assert!(["rrraaaA", "aaarrrA", "aaaArrr"].contains(&&*sent), "{sent}");
        assert_eq!(rest, None);
        join([sender, peer]);
    });
}

#[test]
fn a_reply_comes_after_what_was_queued_before_it() {
    in_every_order(None, || {
        let client = Client::new(Line::new(MUCH), MUCH);
        assert!(client.queue("aaa"));
        let sender = meanwhile(&client, Client::flush);
        client.reply("rrr").unwrap();
        assert_eq!(client.close(), ("aaarrr".into(), None));
        join([sender]);
    });
}

#[test]
fn who_wants_to_reply_waits_only_for_who_is_sending_already() {
    in_every_order(Some(3), || {
        let client = Client::new(Line::new(MUCH), MUCH);
        let one = meanwhile(&client, |client| assert!(client.send("aaa")));
        let other = meanwhile(&client, |client| assert!(client.send("bbb")));
        // It looks at who sends meanwhile.
        client.claim().unwrap();
        join([one, other]);
        assert!(client.close().1.is_none());
    });
}

#[test]
fn what_is_queued_after_a_claim_does_not_delay_it() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        assert!(client.send("aaa") && client.queue("A"));
        client.begin_claim();
        let sender = meanwhile(&client, |client| assert!(client.send("bbb") && client.send("B")));
        let peer = meanwhile(&client, |client| client.line.read(11));
        client.reply("rrr").unwrap();
        client.wait().unwrap();
        assert_eq!(client.close(), ("aaaArrrbbbB".into(), None));
        join([sender, peer]);
    });
}

#[test]
fn what_is_queued_after_a_claim_is_not_sent_in_one_call_with_what_was_before() {
    in_every_order(None, || {
        let client = Client::new(Line::new(MUCH), MUCH);
        assert!(client.queue("aaa") && client.queue("A"));
        let flusher = meanwhile(&client, Client::flush);
        client.begin_claim();
        assert!(client.queue("bbb"));
        client.reply("rrr").unwrap();
        assert_eq!(client.close(), ("aaaArrrbbb".into(), None));
        join([flusher]);
    });
}

#[test]
fn who_has_waited_to_reply_leaves_in_the_middle_of_no_message_although_others_wait() {
    in_every_order(None, || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        assert!(client.send("aaa"));
        client.begin_claim();
        let sender = meanwhile(&client, |client| try_to_send(client, "bbb"));
        let peer = meanwhile(&client, |client| client.line.take_once());
        client.claim().unwrap();
        assert_eq!(client.close(), ("aaa".into(), None));
        assert!(client.line.begin(), "last words can follow");
        join([sender, peer]);
        assert!(is_forgotten(client));
    });
}

#[test]
fn who_waits_to_reply_learns_that_too_much_waits() {
    in_every_order(Some(3), || {
        let client = Client::new(Line::new(LITTLE), 5);
        assert!(client.queue("bb") && client.queue("aaa"));
        let sender = meanwhile(&client, Client::flush);
        let other = meanwhile(&client, |client| assert!(!client.send("ccccc")));
        let peer = meanwhile(&client, |client| client.line.take_once());
        assert_eq!(client.reply("rrr"), Err(End::Full));
        let (sent, rest) = client.close();
        let whole = sent.clone() + &rest.unwrap_or_default();
        assert!(["", "bb", "bbaaa"].contains(&&*whole), "{sent} {whole}");
        join([sender, other, peer]);
        assert!(is_forgotten(client));
    });
}

#[test]
fn a_reply_between_two_senders_is_whole_too() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(MUCH), MUCH);
        let one = meanwhile(&client, |client| assert!(client.send("aaa")));
        let other = meanwhile(&client, |client| assert!(client.send("bbb")));
        let peer = meanwhile(&client, |client| client.line.read(12));
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
fn who_lets_too_much_wait_is_closed_at_once_and_is_sent_no_more() {
    const LIMIT: usize = 5;
    in_every_order(Some(3), || {
        let client = Client::new(Line::new(LITTLE), LIMIT);
        // The peer does not read. Each sends until it hears that the client gets no more.
        let flood = |client: &Client, message: &str| {
            let mut taken = 0;
            while client.send(message) {
                taken += message.len();
            }
            assert!(!client.send(message), "it stays closed");
            taken
        };
        let one = meanwhile(&client, move |client| flood(client, "aaa"));
        let other = meanwhile(&client, move |client| flood(client, "bb"));
        assert_eq!(client.wait(), Err(End::Full));
        let (sent, rest) = client.close();
        assert_eq!(client.end(), Some(End::Full), "the first reason stays");
        let taken = one.join().unwrap() + other.join().unwrap();
        assert!(taken <= LITTLE + LIMIT, "{taken} bytes were taken");
        // What is left of the first message, and nothing of those after it.
        let whole = sent.clone() + &rest.unwrap_or_default();
        assert!(["aaa", "bb", ""].contains(&&*whole), "{sent} {whole}");
        assert!(is_forgotten(client));
    });
}

#[test]
fn who_lets_too_much_wait_is_sent_no_more_although_there_is_room_again() {
    for [first, second] in [["bb", "aaa"], ["aaa", "bb"]] {
        in_every_order(Some(3), move || {
            let client = Client::new(Line::new(LITTLE), 5);
            assert!(client.queue(first) && client.queue(second));
            let sender = meanwhile(&client, Client::flush);
            let other = meanwhile(&client, |client| assert!(!client.send("cccc")));
            assert_eq!(client.wait(), Err(End::Full));
            let sent = client.line.sent();
            client.line.take_once();
            join([sender, other]);
            let (all, rest) = client.close();
            assert_eq!(all, sent);
            assert!(["", first].contains(&&*(sent.clone() + &rest.unwrap_or_default())), "{sent}");
        });
    }
}

#[test]
fn who_leaves_while_others_send_knows_what_they_have_sent_and_nothing_follows() {
    in_every_order(None, || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let sender = meanwhile(&client, |client| {
            let outcomes = [client.send("a"), client.send("bbb"), client.send("c")];
            assert!(outcomes.is_sorted_by(|earlier, later| earlier >= later), "it stays closed: {outcomes:?}");
        });
        let (sent, rest) = client.close();
        match rest {
            None => assert!(["", "a"].contains(&&*sent), "{sent}"),
            Some(rest) => assert!(["a", "abbb"].contains(&&*(sent.clone() + &rest)), "{sent} {rest}"),
        }
        join([sender]);
        assert_eq!(client.line.sent(), sent);
        assert_eq!(client.end(), Some(End::Closed));
        assert!(is_forgotten(client));
    });
}

#[test]
fn who_leaves_waits_for_a_sender_only_as_long_as_it_sends() {
    in_every_order(Some(3), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let one = meanwhile(&client, |client| try_to_send(client, "aaa"));
        let other = meanwhile(&client, |client| try_to_send(client, "bbb"));
        let peer = meanwhile(&client, |client| client.line.take_once());
        let (sent, rest) = client.close();
        let whole = sent.clone() + &rest.unwrap_or_default();
        assert!(["", "aaa", "bbb", "aaabbb", "bbbaaa"].contains(&&*whole), "{sent} {whole}");
        join([one, other, peer]);
        assert_eq!(client.line.sent(), sent);
        assert!(is_forgotten(client));
    });
}

#[test]
fn messages_after_the_last_words_of_somebody_else_end_the_conversation() {
    in_every_order(Some(3), || {
        let client = Client::new(Line::new(MUCH), MUCH);
        assert!(client.line.begin());
        let one = meanwhile(&client, |client| try_to_send(client, "aaa"));
        let other = meanwhile(&client, |client| try_to_send(client, "bbb"));
        assert_eq!(client.wait(), Err(End::Lost(ErrorKind::ConnectionAborted)));
        assert_eq!(client.close(), (String::new(), None));
        join([one, other]);
        assert!(is_forgotten(client));
    });
}

#[test]
fn last_words_of_somebody_else_are_never_in_the_middle_of_a_message_nor_before_one() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let sender = meanwhile(&client, |client| try_to_send(client, "aaa"));
        let peer = meanwhile(&client, |client| client.line.take_once());
        let server = meanwhile(&client, |client| client.line.say_last("w"));
        let outcome = client.wait();
        assert!(matches!(outcome, Ok(()) | Err(End::Lost(ErrorKind::ConnectionAborted))), "{outcome:?}");
        let (_, rest) = client.close();
        let were_said = server.join().unwrap();
        join([sender, peer]);
        let sent = client.line.sent();
        match rest {
            _ if were_said => assert!(["w", "aaaw"].contains(&&*sent) && rest.is_none(), "{sent} {rest:?}"),
            rest => assert_eq!(sent + &rest.unwrap_or_default(), "aaa"),
        }
    });
}

#[test]
fn when_the_socket_fails_the_clients_own_thread_learns_it() {
    in_every_order(Some(2), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let one = meanwhile(&client, |client| try_to_send(client, "aaa"));
        let other = meanwhile(&client, |client| try_to_send(client, "bbb"));
        let peer = meanwhile(&client, |client| client.line.fail(ErrorKind::ConnectionReset));
        assert_eq!(client.wait(), Err(End::Lost(ErrorKind::ConnectionReset)));
        let (sent, _) = client.close();
        assert!(["", "aa", "bb"].contains(&&*sent), "{sent}");
        join([one, other, peer]);
        assert!(!client.send("too late"));
        assert!(is_forgotten(client));
    });
}

#[test]
fn who_waits_to_reply_learns_that_the_socket_has_failed() {
    in_every_order(Some(3), || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        assert!(client.send("aaa"));
        let sender = meanwhile(&client, |client| try_to_send(client, "bbb"));
        let peer = meanwhile(&client, |client| client.line.fail(ErrorKind::BrokenPipe));
        assert_eq!(client.reply("rrr"), Err(End::Lost(ErrorKind::BrokenPipe)));
        assert_eq!(client.close(), ("aa".into(), Some("a".into())));
        join([sender, peer]);
    });
}

#[test]
fn after_many_signals_the_clients_own_thread_goes_on() {
    in_every_order(Some(3), || {
        // More than a sender lets itself be interrupted.
        let client = Client::new(Line::with_signals(MUCH, 6), MUCH);
        let sender = meanwhile(&client, |client| assert!(client.send("aaa")));
        let peer = meanwhile(&client, |client| client.line.read(3));
        client.wait().unwrap();
        assert_eq!(client.close(), ("aaa".into(), None));
        join([sender, peer]);
    });
}

#[test]
fn who_is_given_up_gets_no_more() {
    in_every_order(None, || {
        let client = Client::new(Line::new(LITTLE), MUCH);
        let sender = meanwhile(&client, |client| {
            assert!(client.send("aaa"));
            try_to_send(client, "bbb");
        });
        assert_eq!(client.give_up(), Err(End::Slow));
        assert_eq!(client.close(), ("aa".into(), Some("a".into())));
        join([sender]);
        assert!(is_forgotten(client));
    });
}

/// It may be too late for that.
fn try_to_send(client: &Client, message: &str) {
    client.send(message);
}

fn join<const COUNT: usize>(threads: [thread::JoinHandle<()>; COUNT]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Whether an outbox that is kept keeps nothing of the client that has left.
fn is_forgotten(client: Client) -> bool {
    let Client { line, .. } = client;
    Arc::strong_count(&line) == 1
}
