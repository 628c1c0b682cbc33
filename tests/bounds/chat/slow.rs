//! A member who does not read does not slow down the others, and is cut with a reason.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::members::{ChatDialect, Readers, ReceiveBuffer, join, join_with_name, resume_reading};
use super::{chat, count_members};
use crate::alone;
use crate::support::machine::{at_most, can_measure_ratios, skip};
use crate::support::{Client, PATIENCE, eventually};

/// How long one measurement takes, and how many messages are sent in a second.
const RUN: Duration = Duration::from_millis(500);
const RATE: u32 = 1000;

/// KiB to queue for the stopped member before a measurement: more than the kernels buffer for a member with a small buffer
/// (some 38 KiB on both sides), and so much of the outbox that it overflows after some 400 of the 500 messages.
const QUEUED_BEFORE: usize = 264;

/// How many times in a row to measure with and without a stopped member.
const ROUNDS: u32 = 5;

/// Sends messages of 64 bytes, `RATE` times a second, that begin with the time. A late message is sent as soon as possible.
/// The sleep keeps this rate, which is the load; it waits for nothing that the server does.
fn send_messages(sender: &mut Client, epoch: Instant, run: Duration) {
    let start = Instant::now();
    for count in 0.. {
        let due = start + Duration::from_secs(1) * count / RATE;
        if due >= start + run {
            return;
        }
        while Instant::now() < due {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let message = format!("{:<63}\n", format!("at {} {count} .", Instant::now().duration_since(epoch).as_nanos()));
        sender.send(message.replace("  ", " x"));
    }
}

/// The 99th percentile of the time from sending to receiving, over all messages and readers.
fn p99(sender: &mut Client, readers: &mut Readers) -> Duration {
    let epoch = Instant::now();
    let mut times = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            send_messages(sender, epoch, RUN);
            sender.send("the end\n");
        });
        let mut reading = readers.len();
        readers.read_lines(|_, line| {
            let now = epoch.elapsed();
            let text = std::str::from_utf8(line).unwrap();
            if let Some((_, message)) = text.split_once(": at ") {
                let at = message.split(' ').next().unwrap().parse().unwrap();
                times.push(now.saturating_sub(Duration::from_nanos(at)));
            } else if text.ends_with(": the end") {
                reading -= 1;
            }
            if reading == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    });
    assert_eq!(times.len() as u128, RUN.as_millis() * u128::from(RATE) / 1000 * readers.len() as u128);
    times.sort();
    times[times.len() * 99 / 100]
}

/// Sends a member private messages until that many KiB are queued.
fn fill(sender: &mut Client, name: &str, kib: usize) {
    let start = Instant::now();
    for _ in 0..kib / 2 {
        sender.send(format!("/msg {name} {}\n", "x".repeat(2034 - name.len())));
    }
    // The reply shows that the server has handled all of it.
    sender.send("/nonsense\n");
    while !sender.line().starts_with("* there is no command") {}
    assert!(start.elapsed() < PATIENCE / 4, "writing to a stopped member took {:?}", start.elapsed());
}

/// A member who has stopped reading, with messages queued.
fn stopped(n: u32, addr: SocketAddr, sender: &mut Client) -> Client {
    let stopped = join_with_name(n, addr, ReceiveBuffer::Small);
    fill(sender, &format!("p{n}"), QUEUED_BEFORE);
    stopped
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_member_who_stops_reading_does_not_slow_down_a_hundred_others_and_is_cut() {
    if !can_measure_ratios("how little one stopped member slows down a hundred others") {
        return;
    }
    let _alone = alone();
    let daemon = chat(&[]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let mut readers = Readers::join(1..99, daemon.addr, |_| ChatDialect::Plain);
    p99(&mut sender, &mut readers);

    let mut number = 100;
    let mut ratio = f64::MAX;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // Other work on the machine disturbs the measurement, so a ratio above the limit is measured again: the median of more
    // rounds depends less on chance.
    for _ in 0..6 {
        for _ in 0..ROUNDS {
            // Each measurement follows the same steps, because recent work affects it.
            drop(stopped(number, daemon.addr, &mut sender));
            eventually("the stopped member has left", || count_members(&daemon) == 99);
            without.push(p99(&mut sender, &mut readers));

            let mut stopped = stopped(number, daemon.addr, &mut sender);
            with.push(p99(&mut sender, &mut readers));
            eventually("the stopped member is cut", || count_members(&daemon) == 99);
            resume_reading(&stopped);
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
    panic!("the 99th percentile is {ratio:.2} times that without a stopped member");
}

/// `cat`, connected to the chat, with the name `stopped`.
fn cat(addr: SocketAddr) -> Command {
    let script = format!(r"exec 3<>/dev/tcp/{}/{}; printf '/name stopped\n' >&3; exec cat <&3", addr.ip(), addr.port());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn a_process_stopped_by_a_signal_is_cut_and_finds_the_reason_when_it_resumes() {
    let _alone = alone();
    let daemon = chat(&[]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let mut readers = Readers::join(1..40, daemon.addr, |_| ChatDialect::Plain);
    let Ok(mut process) = cat(daemon.addr).spawn() else {
        return skip("a member that is stopped by a signal, because there is no bash", "apt-get install bash");
    };
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut received = String::new();
    while !received.ends_with("* you are now stopped\n") {
        assert!(output.read_line(&mut received).unwrap() > 0, "{received}");
    }
    p99(&mut sender, &mut readers);
    // What it has received so far is in the pipe.
    let before = daemon.status("VmRSS");
    kill_process(Pid::from_child(&process), Signal::STOP).unwrap();

    let start = Instant::now();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                send_messages(&mut sender, start, RUN / 10);
            }
        });
        readers.read_lines(|_, line| {
            if line == b"* stopped left (read too slowly)" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        is_over.store(true, Ordering::Relaxed);
    });
    let took = start.elapsed();
    println!("cut after {took:?}");
    // The default write timeout is 10 s. The outbox is full before that, unless the kernel buffers more than usual.
    assert!(took < at_most(Duration::from_secs(11)), "{took:?}");
    let mut after = 0;
    eventually("memory is freed", || {
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
    eventually("cat ends", || reader.is_finished());
    assert_eq!(reader.join().unwrap().last().map(String::as_str), Some("* you read too slowly, closing"));
    assert!(process.wait().unwrap().success());
    assert!(start.elapsed() < PATIENCE);
}
