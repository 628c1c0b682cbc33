//! Flood control: a burst passes at once, more lines are queued, and too many close the client.

use std::time::{Duration, Instant};

use acceptd::handler::chat::{ChatOptions, MessageRate};

use crate::support::TestServer;
use crate::support::chat::{ChatClient, limits, options, serve_with};

fn serve_at(per_second: u32, burst: u32) -> TestServer {
    serve_with(limits(), ChatOptions { rate: MessageRate { per_second, burst }, ..options() })
}

/// A member in the lobby who has sent nothing.
fn listener(server: &TestServer) -> ChatClient {
    let mut listener = ChatClient::guest(server);
    (0..3).for_each(|_| drop(listener.line()));
    listener
}

fn pasted(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

#[test]
fn a_burst_is_delivered_at_once_and_the_rest_at_the_rate() {
    let server = serve_at(50, 20);
    let mut alice = listener(&server);
    let mut bob = ChatClient::guest(&server);
    let start = Instant::now();
    bob.client.send(pasted(35));
    assert_eq!(alice.line(), "* guest2 joined");
    for number in 0..35_u32 {
        assert_eq!(alice.line(), format!("guest2: line {number}"));
        let earliest = Duration::from_millis(20) * (number + 1).saturating_sub(20);
        assert!(start.elapsed() >= earliest, "line {number} after {:?}", start.elapsed());
    }
    // Only the rate delays the lines: 15 of them waited, for 20 ms each.
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_default_rate_is_a_burst_of_20_lines_then_10_a_second() {
    assert_eq!(ChatOptions::default().rate, MessageRate { per_second: 10, burst: 20 });
    let server = serve_with(limits(), ChatOptions::default());
    let mut alice = listener(&server);
    let mut bob = ChatClient::guest(&server);
    // Measures from here, because when alice receives the last line of the burst depends on the machine.
    let start = Instant::now();
    bob.client.send(pasted(22));
    let received: Vec<String> = (0..21).map(|_| alice.line()).collect();
    assert_eq!(received[20], "guest2: line 19");
    alice.line();
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    alice.line();
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn pasted_text_survives() {
    let server = serve_at(300, 20);
    let mut alice = listener(&server);
    let mut bob = ChatClient::guest(&server);
    bob.client.send(pasted(150));
    assert_eq!(alice.line(), "* guest2 joined");
    for number in 0..150 {
        assert_eq!(alice.line(), format!("guest2: line {number}"));
    }
}

#[test]
fn pasted_text_survives_the_end_of_the_input_even_in_the_middle_of_a_line() {
    let server = serve_at(300, 20);
    for end in ["", "half a line"] {
        let mut alice = listener(&server);
        let mut bob = ChatClient::guest(&server);
        bob.client.send(pasted(60) + "/who\n" + end);
        bob.client.end_output();
        assert!(alice.line().ends_with(" joined"));
        for number in 0..60 {
            assert!(alice.line().ends_with(&format!(": line {number}")));
        }
        let received = bob.rest();
        assert_eq!(received[3], "* 2 people are in lobby:", "the command was answered");
        assert_eq!(received.len(), if end.is_empty() { 5 } else { 6 }, "{received:?}");
        if !end.is_empty() {
            assert_eq!(received[5], "* your last line was not complete; it was not said");
        }
        assert!(alice.line().ends_with(" left"));
        alice.client.end_output();
        alice.rest();
    }
}

#[test]
fn more_than_200_queued_lines_close_the_client_with_a_reason_in_both_dialects() {
    let server = serve_at(1, 5);
    let mut alice = listener(&server);
    let mut bob = ChatClient::guest(&server);
    bob.client.try_send(pasted(400));
    assert_eq!(bob.rest().last().unwrap(), "* you send faster than is allowed, closing");
    let mut ike = ChatClient::unregistered(&server);
    ike.client.try_send("NICK ike\r\nUSER i 0 * :I\r\nJOIN #lobby\r\n".to_owned() + &"PING x\r\n".repeat(400));
    assert_eq!(ike.rest().last().unwrap(), "ERROR :Closing link: Excess Flood");
    let received: Vec<String> =
        std::iter::from_fn(|| Some(alice.line())).take_while(|line| !line.contains("ike left")).collect();
    assert!(received.contains(&"* guest2 left (flood)".to_owned()), "{received:?}");
    let said = received.iter().filter(|line| line.contains(": line")).count();
    assert!((5..20).contains(&said), "{said} lines were delivered");
}

#[test]
fn commands_and_lines_that_are_too_long_count_towards_the_rate() {
    let server = serve_at(1, 3);
    for line in ["/help\n", "/me waves\n", "\n", &("x".repeat(5000) + "\n")] {
        let mut bob = ChatClient::guest(&server);
        bob.client.try_send(line.repeat(300));
        assert_eq!(bob.rest().last().unwrap(), "* you send faster than is allowed, closing", "{line:.9}");
    }
}

#[test]
fn a_flooding_member_does_not_delay_the_others() {
    let server = serve_at(1, 3);
    let mut alice = listener(&server);
    let mut bob = ChatClient::guest(&server);
    bob.client.send(pasted(100));
    while alice.line() != "guest2: line 2" {}
    let mut carol = ChatClient::guest(&server);
    carol.client.send("hello\n");
    let start = Instant::now();
    while alice.line() != "guest3: hello" {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
