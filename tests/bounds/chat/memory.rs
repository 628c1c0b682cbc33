//! Memory: a member who does not read costs what is configured, and nothing is left of it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use super::members::{ChatDialect, Readers, ReceiveBuffer, join, join_with_name, resume_reading, send_until_blocked};
use super::{chat, count_members, message_text, non_readers, wait_until_handled};
use crate::alone;
use crate::crowds::raise_descriptors;
use crate::support::{Client, eventually};

#[test]
fn a_member_who_never_reads_costs_its_outbox_and_is_cut_when_that_is_full() {
    for (members, length, messages) in [(200, 2000, 160), (20, 1, 8000)] {
        fill_outboxes(members, length, messages);
    }
}

/// Sends each member more messages of this length than its outbox can hold.
fn fill_outboxes(members: u32, length: usize, messages: usize) {
    let _alone = alone();
    let daemon = chat(&["--write-timeout", "60s"]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let _deaf: Vec<Client> = (1..=members).map(|n| join_with_name(n, daemon.addr, ReceiveBuffer::Small)).collect();
    let before = daemon.status("VmHWM");
    // Private messages share no memory. For members who have been cut, the server replies that there is no such name.
    let text = "x".repeat(length);
    for _ in 0..messages {
        for n in 1..=members {
            sender.send(format!("/msg p{n} {text}\n"));
        }
        wait_until_handled(&mut sender);
    }
    let each = daemon.status("VmHWM").saturating_sub(before) / members as usize;
    println!("at most {each} KiB each, with messages of {length} bytes");
    assert!(each < 256 + 64, "{each} KiB for each");
    // Less than the limit of 256, because memory that was freed after the joins is used again.
    assert!(each > 128, "{each} KiB for each: the outboxes were not full, so the test shows nothing");
    eventually("all are cut", || count_members(&daemon) == 1);
}

#[test]
fn a_thousand_members_who_do_not_read_share_their_queued_messages() {
    const MEMBERS: u32 = 1000;
    const MESSAGES: usize = 60;
    let _alone = alone();
    if !raise_descriptors(1_200) {
        return;
    }
    let daemon = chat(&["--write-timeout", "60s"]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let non_readers = non_readers(1..MEMBERS + 1, &daemon, |_| ChatDialect::Plain);
    let before = daemon.status("VmRSS");
    let text = "x".repeat(4000);
    for count in 0..MESSAGES {
        sender.send(format!("message {count} {text}\n"));
    }
    wait_until_handled(&mut sender);
    let grown = daemon.status("VmRSS").saturating_sub(before);
    println!("{grown} KiB for all");
    // 240 KiB once, and for each member a list of queued messages (64 entries of 16 bytes) and a used stack. Without sharing
    // it would be 200 KiB for each.
    assert!(grown < 240 + 16 * MEMBERS as usize, "{grown} KiB");
    assert_eq!(count_members(&daemon), MEMBERS as usize + 1, "all members are still connected");

    non_readers.iter().for_each(resume_reading);
    let mut received = HashMap::new();
    let mut missing = non_readers.len();
    Readers::new(non_readers).read_lines(|place, line| {
        if let Some(message) = message_text(line) {
            let count = received.entry(place).or_insert(0);
            assert!(message.starts_with(&format!("{count} ")), "message {count} for {place}");
            *count += 1;
            missing -= usize::from(*count == MESSAGES);
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
}

#[test]
fn a_member_who_catches_up_costs_no_more_than_any_other() {
    const MEMBERS: u32 = 20;
    // The list of queued messages, with 16 bytes for each, takes 500 KiB per member.
    const MESSAGES: usize = 32_000;
    let _alone = alone();
    let daemon = chat(&["--write-timeout", "60s", "--max-outbox", "16MiB"]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let non_readers = non_readers(1..MEMBERS + 1, &daemon, |_| ChatDialect::Plain);
    let before = daemon.status("VmRSS");
    for count in 1..=MESSAGES {
        sender.send(format!("message {count}\n"));
        if count % 1000 == 0 {
            wait_until_handled(&mut sender);
        }
    }
    let behind = daemon.status("VmRSS");
    assert!(
        behind > before + MEMBERS as usize * 450,
        "{before} KiB, then {behind} KiB: nothing is queued, so the test shows nothing"
    );

    non_readers.iter().for_each(resume_reading);
    let mut missing = non_readers.len();
    let mut readers = Readers::new(non_readers);
    let last = MESSAGES.to_string();
    readers.read_lines(|_, line| {
        missing -= usize::from(message_text(line) == Some(&last));
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let mut after = 0;
    // The allocator keeps some of the freed memory.
    eventually("memory is freed", || {
        after = daemon.status("VmRSS");
        after < before + MEMBERS as usize * 256
    });
    println!("{before} KiB, then {behind} KiB, finally {after} KiB");
}

#[test]
fn endless_commands_whose_replies_are_never_read_cost_no_memory_and_no_thread() {
    let _alone = alone();
    let daemon = chat(&["--write-timeout", "300ms"]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    for count in 0..100 {
        sender.send(format!("message {count} {}\n", "x".repeat(600)));
    }
    let mut rooms = Vec::new();
    for n in 1..50 {
        let mut client = join(n, daemon.addr, ChatDialect::Irc, ReceiveBuffer::Default);
        let list: Vec<String> = (0..10).map(|room| format!("#room{n}x{room}")).collect();
        client.send(format!("JOIN {}\r\nPING done\r\n", list.join(",")));
        while !client.line().ends_with(":done") {}
        rooms.push(client);
    }
    wait_until_handled(&mut sender);
    let threads = daemon.status("Threads");
    for (dialect, command) in [
        (ChatDialect::Plain, "/history\n"),
        (ChatDialect::Plain, "/who\n"),
        (ChatDialect::Plain, "/help\n"),
        (ChatDialect::Plain, "/rooms\n"),
        (ChatDialect::Irc, "LIST\r\n"),
        (ChatDialect::Irc, "WHO #lobby\r\n"),
        (ChatDialect::Irc, "NAMES #lobby\r\n"),
        (ChatDialect::Irc, "PRIVMSG nobody :x\r\n"),
    ] {
        let start = Instant::now();
        // One client that reads its replies, so that what they cost is in the first measurement.
        let mut client = join(2000, daemon.addr, dialect, ReceiveBuffer::Default);
        client.talk(command.repeat(20));
        let before = daemon.status("VmHWM");
        let client = join(2001, daemon.addr, dialect, ReceiveBuffer::Default);
        let sent = send_until_blocked(&client, command.repeat(1000).as_bytes(), 100 << 20);
        assert!(sent < 100 << 20, "{command:?}: the server took 100 MiB although nobody read the replies");
        let grown = daemon.status("VmHWM").saturating_sub(before);
        println!("{command:?}: {sent} bytes sent, {grown} KiB grown, {:?}", start.elapsed());
        assert!(grown < 1024, "{command:?}: {grown} KiB");
    }
    eventually("their threads end", || daemon.status("Threads") <= threads);
}

#[test]
fn long_replies_are_not_held_for_members_who_do_not_read_them() {
    const ASKERS: u32 = 40;
    let _alone = alone();
    let daemon = chat(&[]);
    let mut members = Vec::new();
    for n in 0..60 {
        let mut client = join(n, daemon.addr, ChatDialect::Irc, ReceiveBuffer::Default);
        for room in 0..19 {
            client.send(format!("JOIN #n{n}r{room}\r\nTOPIC #n{n}r{room} :{}\r\n", "x".repeat(300)));
        }
        client.send("PING done\r\n");
        while !client.line().ends_with(":done") {}
        members.push(client);
    }
    let mut next = 1000;
    for (dialect, command, begin) in
        [(ChatDialect::Plain, "/rooms\n", "* lobby"), (ChatDialect::Irc, "LIST\r\n", ":acceptd 321")]
    {
        let mut askers = Vec::new();
        for n in next..next + ASKERS {
            askers.push(join(n, daemon.addr, dialect, ReceiveBuffer::Small));
        }
        next += ASKERS;
        let before = daemon.status("VmRSS");
        for asker in &mut askers {
            asker.send(command);
            // The server sends nothing before it has much of the reply, or all of it.
            while !asker.line().starts_with(begin) {}
        }
        members[0].send("PING asked\r\n");
        while !members[0].line().ends_with(":asked") {}
        let grown = daemon.status("VmRSS").saturating_sub(before);
        println!("{command:?}: {grown} KiB for {ASKERS}");
        assert!(grown < 128 * ASKERS as usize, "{command:?}: {grown} KiB for {ASKERS} who do not read");
    }
}
