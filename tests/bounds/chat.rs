//! A chat costs what is configured, whatever its members do, and no member is felt by another.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::SockRef;

use crate::alone;
use crate::crowds::raise_descriptors;
use crate::support::daemon::Daemon;
use crate::support::machine::at_most;
use crate::support::{Client, PATIENCE, eventually};

mod members;
mod slow;

use members::{Dialect, Listeners, Room, connect, enter, enter_by_name, introduce, listen_again, send_until_stopped};

/// A chat without flood control, since talking fast is what most of this is about.
fn chat(more: &[&str]) -> Daemon {
    Daemon::start(&[&["-qq", "--handler", "chat", "--message-rate", "0", "-m", "6000"], more].concat())
}

/// How many are in the chat, besides who asks.
fn members_there(daemon: &Daemon) -> usize {
    let mut client = daemon.connect();
    client.send("NICK counter\r\nUSER c 0 * :c\r\nLUSERS\r\nQUIT\r\n");
    let said = client.rest();
    let line = said.lines().find_map(|line| line.split_once(":There are ")).unwrap_or_else(|| panic!("{said}"));
    line.1.split(' ').next().unwrap().parse::<usize>().unwrap() - 1
}

fn both(n: u32) -> Dialect {
    if n.is_multiple_of(2) { Dialect::Plain } else { Dialect::Irc }
}

/// What was said, without who has said it and how that is put.
fn said(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).unwrap();
    let plain = || text.split_once(": message ");
    text.split_once(" PRIVMSG #lobby :message ").or_else(plain).map(|(_, said)| said)
}

#[test]
fn all_of_five_thousand_members_hear_everything_in_the_same_order() {
    const SPEAKERS: u32 = 4;
    const EACH: usize = 25;
    let _alone = alone();
    let members: u32 = 5000;
    if !raise_descriptors(5_300) {
        return;
    }
    let daemon = chat(&[]);
    let mut speakers: Vec<Client> = (0..SPEAKERS).map(|n| enter(n, daemon.addr, Dialect::Plain, Room::Usual)).collect();
    let start = Instant::now();
    let mut listeners = Listeners::enter(SPEAKERS..members, daemon.addr, both);
    println!("all are there after {:?}", start.elapsed());
    let start = Instant::now();
    for (n, speaker) in speakers.iter_mut().enumerate() {
        (0..EACH).for_each(|count| speaker.send(format!("message {n} {count}\n")));
    }
    let mut heard: Vec<Vec<String>> = vec![Vec::new(); listeners.len()];
    let mut missing = listeners.len() * EACH * SPEAKERS as usize;
    listeners.listen(|place, line| {
        if let Some(message) = said(line) {
            heard[place].push(message.to_owned());
            missing -= 1;
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    println!("{} members have heard {} messages in {:?}", heard.len(), heard[0].len(), start.elapsed());
    for speaker in 0..SPEAKERS {
        let own = heard[0].iter().filter_map(|said| said.strip_prefix(&format!("{speaker} ")));
        assert!(own.map(|count| count.parse::<usize>().unwrap()).eq(0..EACH), "{:?}", heard[0]);
    }
    assert!(heard.iter().all(|other| *other == heard[0]), "all have heard the same, in the same order");
}

/// Members who have come, and never read again.
fn deaf(numbers: std::ops::Range<u32>, daemon: &Daemon, dialect: fn(u32) -> Dialect) -> Vec<Client> {
    numbers.map(|n| enter(n, daemon.addr, dialect(n), Room::Small)).collect()
}

/// Waits until all that was sent has been acted on.
fn settle(speaker: &mut Client) {
    speaker.send("/nonsense\n");
    while !speaker.line().starts_with("* there is no command") {}
}

#[test]
fn a_member_who_never_reads_costs_its_outbox_and_is_cut_when_that_is_full() {
    for (members, length, messages) in [(200, 2000, 160), (20, 1, 8000)] {
        fill_outboxes(members, length, messages);
    }
}

/// Sends each member so many messages of this length, which is more than its outbox holds.
fn fill_outboxes(members: u32, length: usize, messages: usize) {
    let _alone = alone();
    let daemon = chat(&["--write-timeout", "60s"]);
    let mut speaker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let _deaf: Vec<Client> = (1..=members).map(|n| enter_by_name(n, daemon.addr, Room::Small)).collect();
    let before = daemon.status("VmHWM");
    // To each alone, so that nothing is shared; for who has been cut already, there is nobody of that name.
    let text = "x".repeat(length);
    for _ in 0..messages {
        for n in 1..=members {
            speaker.send(format!("/msg p{n} {text}\n"));
        }
        settle(&mut speaker);
    }
    let each = daemon.status("VmHWM").saturating_sub(before) / members as usize;
    println!("{each} KiB for each at the most, with messages of {length} bytes");
    assert!(each < 256 + 64, "{each} KiB for each");
    // Less than the 256 that there are, since coming took something as well, which was free again.
    assert!(each > 128, "{each} KiB for each: the outboxes were not filled, so nothing is shown");
    eventually("all are cut", || members_there(&daemon) == 1);
}

#[test]
fn a_thousand_members_who_do_not_read_share_what_waits_for_them() {
    const MEMBERS: u32 = 1000;
    const MESSAGES: usize = 60;
    let _alone = alone();
    if !raise_descriptors(1_200) {
        return;
    }
    let daemon = chat(&["--write-timeout", "60s"]);
    let mut speaker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let deaf = deaf(1..MEMBERS + 1, &daemon, |_| Dialect::Plain);
    let before = daemon.status("VmRSS");
    let text = "x".repeat(4000);
    for count in 0..MESSAGES {
        speaker.send(format!("message {count} {text}\n"));
    }
    settle(&mut speaker);
    let grown = daemon.status("VmRSS").saturating_sub(before);
    println!("{grown} KiB for all");
    // 240 KiB once, and for each member a list of what waits (64 entries of 16 bytes) and a stack that has been used.
    // Not shared it would be 200 KiB for each.
    assert!(grown < 240 + 16 * MEMBERS as usize, "{grown} KiB");
    assert_eq!(members_there(&daemon), MEMBERS as usize + 1, "they are all there");

    deaf.iter().for_each(listen_again);
    let mut heard = HashMap::new();
    let mut missing = deaf.len();
    Listeners::of(deaf).listen(|place, line| {
        if let Some(message) = said(line) {
            let count = heard.entry(place).or_insert(0);
            assert!(message.starts_with(&format!("{count} ")), "message {count} for {place}");
            *count += 1;
            missing -= usize::from(*count == MESSAGES);
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
}

#[test]
fn a_member_who_was_far_behind_costs_no_more_than_any_other_once_it_has_read_everything() {
    const MEMBERS: u32 = 20;
    // The list of them, with 16 bytes for each, takes 500 KiB of each member.
    const MESSAGES: usize = 32_000;
    let _alone = alone();
    let daemon = chat(&["--write-timeout", "60s", "--max-outbox", "16MiB"]);
    let mut speaker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let deaf = deaf(1..MEMBERS + 1, &daemon, |_| Dialect::Plain);
    let before = daemon.status("VmRSS");
    for count in 1..=MESSAGES {
        speaker.send(format!("message {count}\n"));
        if count % 1000 == 0 {
            settle(&mut speaker);
        }
    }
    let behind = daemon.status("VmRSS");
    assert!(
        behind > before + MEMBERS as usize * 450,
        "{before} KiB, then {behind} KiB: nothing waits, nothing is shown"
    );

    deaf.iter().for_each(listen_again);
    let mut missing = deaf.len();
    let mut listeners = Listeners::of(deaf);
    let last = MESSAGES.to_string();
    listeners.listen(|_, line| {
        missing -= usize::from(said(line) == Some(&last));
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let mut after = 0;
    // The allocator keeps some of what it gets back.
    eventually("memory comes back", || {
        after = daemon.status("VmRSS");
        after < before + MEMBERS as usize * 256
    });
    println!("{before} KiB, then {behind} KiB, in the end {after} KiB");
}

/// One member of each kind of ending.
fn come_and_go(n: u32, addr: SocketAddr) {
    match n % 9 {
        0 => {
            let mut client = enter(n, addr, Dialect::Plain, Room::Usual);
            client.send("hello\n/quit bye\n");
            assert!(client.rest().contains("* goodbye\n"));
        }
        1 => {
            let mut client = enter(n, addr, Dialect::Irc, Room::Usual);
            client.send("PRIVMSG #lobby :hello\r\nQUIT :bye\r\n");
            assert!(client.rest().contains("ERROR :Closing link: bye\r\n"));
        }
        2 | 3 => {
            let client = enter(n, addr, both(n), Room::Usual);
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        4 | 5 => {
            let mut client = enter(n, addr, both(n), Room::Usual);
            client.talk("PRIVMSG #lobby :hello\n");
        }
        6 => {
            let mut client = enter(n, addr, Dialect::Plain, Room::Usual);
            client.talk("half a li");
        }
        7 => {
            let mut slow = enter_by_name(n, addr, Room::Small);
            // A burst of lines, within what is allowed at once.
            let mut other = connect(n + 1, addr, Room::Usual);
            other.send(format!("/msg p{n} {}\n", "x".repeat(4000)).repeat(19));
            other.talk("");
            listen_again(&slow);
            let said = slow.rest();
            assert_eq!(said.lines().next_back(), Some("* you read too slowly, closing"), "{} bytes", said.len());
        }
        _ => {
            let mut client = connect(n, addr, Room::Usual);
            introduce(&mut client, n, both(n / 9));
            client.try_send("PING x\n".repeat(300));
            let said = client.rest();
            assert!(said.contains("faster than is allowed") || said.contains("Excess Flood"), "{said}");
        }
    }
}

#[test]
fn nothing_is_left_of_five_thousand_members() {
    let _alone = alone();
    let daemon = Daemon::start(&["-qq", "--handler", "chat", "--max-outbox", "8KiB"]);
    let crowd = |numbers: std::ops::Range<u32>| {
        thread::scope(|scope| {
            for part in 0..4 {
                let (addr, numbers) = (daemon.addr, numbers.clone());
                scope.spawn(move || numbers.skip(part).step_by(4).for_each(|n| come_and_go(n, addr)));
            }
        });
    };
    let threads = daemon.status("Threads");
    let settled = || {
        eventually("their threads end", || daemon.status("Threads") <= threads);
        (daemon.descriptors(), daemon.status("VmRSS"))
    };
    crowd(0..2000);
    let before = settled();
    crowd(2000..7000);
    let after = settled();
    println!("(descriptors, KiB): {before:?}, then {after:?}");
    assert_eq!(after.0, before.0, "descriptors");
    // 200 bytes for each: less than a member is, and more than the allocator's moods.
    assert!(after.1 < before.1 + 1000, "{} KiB, then {} KiB", before.1, after.1);
    assert_eq!(members_there(&daemon), 0);
}

/// What all threads of the program have done so far: how often they ran, and for how long.
fn activity(daemon: &Daemon) -> (u64, u64) {
    let folder = format!("/proc/{}", daemon.id());
    let mut switches = 0;
    for thread in std::fs::read_dir(format!("{folder}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        switches += counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum::<u64>();
    }
    let stat = std::fs::read_to_string(format!("{folder}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (switches, fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum())
}

#[test]
fn no_thread_runs_while_a_thousand_members_are_silent() {
    let _alone = alone();
    if !raise_descriptors(1_200) {
        return;
    }
    let daemon = chat(&[]);
    let mut speaker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let mut listeners = Listeners::enter(1..1000, daemon.addr, both);
    speaker.send("message hello\n");
    let mut missing = listeners.len();
    listeners.listen(|_, line| {
        missing -= usize::from(said(line).is_some());
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let watch = |time| {
        let before = activity(&daemon);
        thread::sleep(time);
        (before, activity(&daemon))
    };
    // Buffers are given back after a second.
    eventually("it comes to rest", || {
        let (before, after) = watch(Duration::from_millis(1200));
        before == after
    });
    // Two seconds are what is measured, not waited for.
    let (before, after) = watch(Duration::from_secs(2));
    assert_eq!(after, before, "(context switches, ticks)");
}

#[test]
fn a_drain_of_a_thousand_members_is_over_in_time_and_who_can_be_told_is_told() {
    const DRAIN: Duration = Duration::from_secs(2);
    let _alone = alone();
    if !raise_descriptors(1_200) {
        return;
    }
    let mut daemon = chat(&["--drain-timeout", "2s", "--write-timeout", "60s"]);
    let mut speaker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    let mut listeners = Listeners::enter(1..800, daemon.addr, both);
    // The kernel takes all there is for the first hundred of those who do not read, and not for the others.
    let mut quiet: Vec<Client> = (800..900).map(|n| enter(n, daemon.addr, both(n), Room::Usual)).collect();
    let deaf = deaf(900..1000, &daemon, both);
    for count in 0..15 {
        speaker.send(format!("message {count} {}\n", "x".repeat(4000)));
    }
    settle(&mut speaker);
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    let mut last = vec![String::new(); listeners.len()];
    let mut missing = listeners.len();
    listeners.listen(|place, line| {
        let text = String::from_utf8(line.to_vec()).unwrap();
        if text.is_empty() {
            missing -= 1;
        } else {
            last[place] = text;
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    println!("those who read had the end after {:?}", start.elapsed());
    let (status, _) = daemon.wait();
    let took = start.elapsed();
    println!("ended after {took:?}");
    assert!(took < at_most(DRAIN + Duration::from_millis(300)), "{took:?}");
    assert_eq!(status.code(), Some(0));
    let is_told = |line: &str| line.contains("shutting down");
    let told = last.iter().filter(|line| is_told(line)).count();
    assert_eq!(told, last.len(), "of those who read, {:?}", last.iter().find(|line| !is_told(line)));
    for member in &mut quiet {
        let said = member.rest();
        assert!(is_told(said.lines().next_back().unwrap()), "of those who do not read, {said:?}");
    }
    // In the middle of what waits for them there is no place for last words; but there is an end.
    let start = Instant::now();
    deaf.iter().for_each(listen_again);
    for mut member in deaf {
        let _ = member.stream.read_to_end(&mut Vec::new());
    }
    assert!(start.elapsed() < PATIENCE / 2, "the end came after {:?}", start.elapsed());
}

#[test]
fn commands_without_end_whose_answers_are_never_read_cost_no_memory_and_no_thread() {
    let _alone = alone();
    let daemon = chat(&["--write-timeout", "300ms"]);
    let mut speaker = enter(0, daemon.addr, Dialect::Plain, Room::Usual);
    for count in 0..100 {
        speaker.send(format!("message {count} {}\n", "x".repeat(600)));
    }
    let mut rooms = Vec::new();
    for n in 1..50 {
        let mut client = enter(n, daemon.addr, Dialect::Irc, Room::Usual);
        let list: Vec<String> = (0..10).map(|room| format!("#room{n}x{room}")).collect();
        client.send(format!("JOIN {}\r\nPING done\r\n", list.join(",")));
        while !client.line().ends_with(":done") {}
        rooms.push(client);
    }
    settle(&mut speaker);
    let threads = daemon.status("Threads");
    for (dialect, command) in [
        (Dialect::Plain, "/history\n"),
        (Dialect::Plain, "/who\n"),
        (Dialect::Plain, "/help\n"),
        (Dialect::Plain, "/rooms\n"),
        (Dialect::Irc, "LIST\r\n"),
        (Dialect::Irc, "WHO #lobby\r\n"),
        (Dialect::Irc, "NAMES #lobby\r\n"),
        (Dialect::Irc, "PRIVMSG nobody :x\r\n"),
    ] {
        let start = Instant::now();
        // Once with an answer, so that what that takes has been taken.
        let mut client = enter(2000, daemon.addr, dialect, Room::Usual);
        client.talk(command.repeat(20));
        let before = daemon.status("VmHWM");
        let client = enter(2001, daemon.addr, dialect, Room::Usual);
        let sent = send_until_stopped(&client, command.repeat(1000).as_bytes(), 100 << 20);
        assert!(sent < 100 << 20, "{command:?}: 100 MiB were taken although nobody reads the answers");
        let grown = daemon.status("VmHWM").saturating_sub(before);
        println!("{command:?}: {sent} bytes sent, {grown} KiB grown, {:?}", start.elapsed());
        assert!(grown < 1024, "{command:?}: {grown} KiB");
    }
    eventually("their threads are free, and end", || daemon.status("Threads") <= threads);
}

#[test]
fn long_answers_are_not_held_for_those_who_do_not_read_them() {
    const ASKERS: u32 = 40;
    let _alone = alone();
    let daemon = chat(&[]);
    let mut members = Vec::new();
    for n in 0..60 {
        let mut client = enter(n, daemon.addr, Dialect::Irc, Room::Usual);
        for room in 0..19 {
            client.send(format!("JOIN #n{n}r{room}\r\nTOPIC #n{n}r{room} :{}\r\n", "x".repeat(300)));
        }
        client.send("PING done\r\n");
        while !client.line().ends_with(":done") {}
        members.push(client);
    }
    let mut next = 1000;
    for (dialect, command, begin) in
        [(Dialect::Plain, "/rooms\n", "* lobby"), (Dialect::Irc, "LIST\r\n", ":acceptd 321")]
    {
        let mut askers = Vec::new();
        for n in next..next + ASKERS {
            askers.push(enter(n, daemon.addr, dialect, Room::Small));
        }
        next += ASKERS;
        let before = daemon.status("VmRSS");
        for asker in &mut askers {
            asker.send(command);
            // Nothing is sent before there is much of it, or all.
            while !asker.line().starts_with(begin) {}
        }
        members[0].send("PING asked\r\n");
        while !members[0].line().ends_with(":asked") {}
        let grown = daemon.status("VmRSS").saturating_sub(before);
        println!("{command:?}: {grown} KiB for {ASKERS}");
        assert!(grown < 128 * ASKERS as usize, "{command:?}: {grown} KiB for {ASKERS} who do not read");
    }
}
