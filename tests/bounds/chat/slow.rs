//! A member who does not read is not felt by the others, and is cut with its reason.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::members::{Dialect, Listeners, Room, enter, enter_by_name, listen_again};
use super::{chat, members_there};
use crate::alone;
use crate::support::machine::{at_most, measures_ratios, skip};
use crate::support::{Client, PATIENCE, eventually};

/// How long one measurement takes, and how many messages a second somebody says in it.
const RUN: Duration = Duration::from_millis(500);
const RATE: u32 = 1000;

/// What waits for who has stopped before it is measured: more than the kernel takes for a member with a small buffer
/// (some 38 KiB, here and there), and so much of the outbox that it overflows after some 400 of the 500 messages.
const BEFOREHAND: usize = 264;

/// How often it is measured at once, with and without.
const ROUNDS: u32 = 5;

/// Says 64 bytes, `RATE` times a second, which begin with the time. A message that is late is sent as soon as possible,
/// and counts from when it should have been sent.
fn talk(talker: &mut Client, epoch: Instant, run: Duration) {
    let start = Instant::now();
    for count in 0.. {
        let due = start + Duration::from_secs(1) * count / RATE;
        if due >= start + run {
            return;
        }
        while Instant::now() < due {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let said = format!("{:<63}\n", format!("at {} {count} .", Instant::now().duration_since(epoch).as_nanos()));
        talker.send(said.replace("  ", " x"));
    }
}

/// The 99th percentile of the time from saying to hearing, of all messages to all listeners.
fn p99(talker: &mut Client, listeners: &mut Listeners) -> Duration {
    let epoch = Instant::now();
    let mut times = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            talk(talker, epoch, RUN);
            talker.send("the end\n");
        });
        let mut listening = listeners.len();
        listeners.listen(|_, line| {
            let now = epoch.elapsed();
            let text = std::str::from_utf8(line).unwrap();
            if let Some((_, said)) = text.split_once(": at ") {
                let at = said.split(' ').next().unwrap().parse().unwrap();
                times.push(now.saturating_sub(Duration::from_nanos(at)));
            } else if text.ends_with(": the end") {
                listening -= 1;
            }
            if listening == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    });
    assert_eq!(times.len() as u128, RUN.as_millis() * u128::from(RATE) / 1000 * listeners.len() as u128);
    times.sort();
    times[times.len() * 99 / 100]
}

/// Fills what waits for somebody, to whom nobody else has to listen.
fn fill(talker: &mut Client, whom: &str, kib: usize) {
    let start = Instant::now();
    for _ in 0..kib / 2 {
        talker.send(format!("/msg {whom} {}\n", "x".repeat(2034 - whom.len())));
    }
    // An answer says that all of it was done.
    talker.send("/nonsense\n");
    while !talker.line().starts_with("* there is no command") {}
    assert!(start.elapsed() < PATIENCE / 4, "who writes to somebody who has stopped waits {:?}", start.elapsed());
}

/// Who has stopped, and has been written to.
fn stopped(n: u32, addr: SocketAddr, talker: &mut Client) -> Client {
    let stopped = enter_by_name(n, addr, Room::Small);
    fill(talker, &format!("p{n}"), BEFOREHAND);
    stopped
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn of_a_hundred_members_one_who_has_stopped_is_not_felt_by_the_others_and_is_cut() {
    if !measures_ratios("how little one member who has stopped is felt by a hundred others") {
        return;
    }
    let _alone = alone();
    let daemon = chat(&[]);
    let mut talker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let mut listeners = Listeners::enter(1..99, daemon.addr, |_| Dialect::Plain);
    p99(&mut talker, &mut listeners);

    let mut number = 100;
    let mut ratio = f64::MAX;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // The machine does other things as well, so what is above the bar is measured on: of more rounds, the median is less
    // up to chance.
    for _ in 0..6 {
        for _ in 0..ROUNDS {
            // Before both it is the same that happens, since what has just been done is felt as well.
            drop(stopped(number, daemon.addr, &mut talker));
            eventually("who has stopped has left", || members_there(&daemon) == 99);
            without.push(p99(&mut talker, &mut listeners));

            let mut stopped = stopped(number, daemon.addr, &mut talker);
            with.push(p99(&mut talker, &mut listeners));
            eventually("who has stopped is cut", || members_there(&daemon) == 99);
            listen_again(&stopped);
            assert_eq!(stopped.rest().lines().next_back(), Some("* you read too slowly, closing"));
            number += 1;
        }
        println!("p99 without {without:?}, with {with:?}");
        ratio = median(&with).as_secs_f64() / median(&without).as_secs_f64();
        println!("ratio {ratio:.2}");
        if ratio <= 1.2 {
            return;
        }
    }
    panic!("the 99th percentile is {ratio:.2} times what it is without a member who has stopped");
}

/// `cat`, connected to the chat, with the name `stopped`.
fn cat(addr: SocketAddr) -> Command {
    let script = format!(r"exec 3<>/dev/tcp/{}/{}; printf '/name stopped\n' >&3; exec cat <&3", addr.ip(), addr.port());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn a_process_stopped_by_a_signal_is_cut_and_finds_the_reason_when_it_goes_on_and_the_others_are_told() {
    let _alone = alone();
    let daemon = chat(&[]);
    let mut talker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let mut listeners = Listeners::enter(1..40, daemon.addr, |_| Dialect::Plain);
    let Ok(mut process) = cat(daemon.addr).spawn() else {
        return skip("a member that is stopped by a signal, since there is no bash", "apt-get install bash");
    };
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut heard = String::new();
    while !heard.ends_with("* you are now stopped\n") {
        assert!(output.read_line(&mut heard).unwrap() > 0, "{heard}");
    }
    p99(&mut talker, &mut listeners);
    // What it has heard so far waits in the pipe.
    let before = daemon.status("VmRSS");
    kill_process(Pid::from_child(&process), Signal::STOP).unwrap();

    let start = Instant::now();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                talk(&mut talker, start, RUN / 10);
            }
        });
        listeners.listen(|_, line| {
            if line == b"* stopped left (read too slowly)" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        is_over.store(true, Ordering::Relaxed);
    });
    let took = start.elapsed();
    println!("cut after {took:?}");
    // The default of the write timeout. The outbox is full before that, unless the kernel takes more than usual.
    assert!(took < at_most(Duration::from_secs(11)), "{took:?}");
    let mut after = 0;
    eventually("memory comes back", || {
        after = daemon.status("VmRSS");
        after < before + 512
    });
    println!("{before} KiB, then {after} KiB");

    kill_process(Pid::from_child(&process), Signal::CONT).unwrap();
    let mut lines = Vec::new();
    let reader = thread::spawn(move || {
        lines.extend(output.lines().map(Result::unwrap));
        lines
    });
    eventually("it ends", || reader.is_finished());
    assert_eq!(reader.join().unwrap().last().map(String::as_str), Some("* you read too slowly, closing"));
    assert!(process.wait().unwrap().success());
    assert!(start.elapsed() < PATIENCE);
}
