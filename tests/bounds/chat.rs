//! The chat with thousands of members: order, idle cost, what they leave behind, and the drain.

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
mod memory;
mod slow;

use members::{ChatDialect, Readers, ReceiveBuffer, connect, join, join_with_name, request_to_join, resume_reading};

/// A chat without flood control, because most of these tests send fast.
fn chat(more: &[&str]) -> Daemon {
    Daemon::start(&[&["-qq", "--handler", "chat", "--message-rate", "0", "-m", "6000"], more].concat())
}

/// The number of members in the chat.
fn count_members(daemon: &Daemon) -> usize {
    let mut client = daemon.connect();
    client.send("NICK counter\r\nUSER c 0 * :c\r\nLUSERS\r\nQUIT\r\n");
    let received = client.rest();
    let line = received.lines().find_map(|line| line.split_once(":There are ")).unwrap_or_else(|| panic!("{received}"));
    line.1.split(' ').next().unwrap().parse::<usize>().unwrap() - 1
}

fn dialect_of(n: u32) -> ChatDialect {
    if n.is_multiple_of(2) { ChatDialect::Plain } else { ChatDialect::Irc }
}

/// The text of a message that one of these tests sent, without its sender and the rest of the line.
fn message_text(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).unwrap();
    let plain = || text.split_once(": message ");
    text.split_once(" PRIVMSG #lobby :message ").or_else(plain).map(|(_, text)| text)
}

#[test]
fn five_thousand_members_receive_everything_in_the_same_order() {
    const SENDERS: u32 = 4;
    const EACH: usize = 25;
    let _alone = alone();
    let members: u32 = 5000;
    if !raise_descriptors(5_300) {
        return;
    }
    let daemon = chat(&[]);
    let mut senders: Vec<Client> =
        (0..SENDERS).map(|n| join(n, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default)).collect();
    let start = Instant::now();
    let mut readers = Readers::join(SENDERS..members, daemon.addr, dialect_of);
    println!("all have joined after {:?}", start.elapsed());
    let start = Instant::now();
    for (n, sender) in senders.iter_mut().enumerate() {
        (0..EACH).for_each(|count| sender.send(format!("message {n} {count}\n")));
    }
    let mut received: Vec<Vec<String>> = vec![Vec::new(); readers.len()];
    let mut missing = readers.len() * EACH * SENDERS as usize;
    readers.read_lines(|place, line| {
        if let Some(message) = message_text(line) {
            received[place].push(message.to_owned());
            missing -= 1;
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    println!("{} members have received {} messages in {:?}", received.len(), received[0].len(), start.elapsed());
    for sender in 0..SENDERS {
        let own = received[0].iter().filter_map(|message| message.strip_prefix(&format!("{sender} ")));
        assert!(own.map(|count| count.parse::<usize>().unwrap()).eq(0..EACH), "{:?}", received[0]);
    }
    assert!(received.iter().all(|other| *other == received[0]), "all receive the same messages in the same order");
}

/// Members who join, and then never read.
fn non_readers(numbers: std::ops::Range<u32>, daemon: &Daemon, dialect: fn(u32) -> ChatDialect) -> Vec<Client> {
    numbers.map(|n| join(n, daemon.addr, dialect(n), ReceiveBuffer::Small)).collect()
}

/// Waits until the server has handled everything that this member has sent.
fn wait_until_handled(sender: &mut Client) {
    sender.send("/nonsense\n");
    while !sender.line().starts_with("* there is no command") {}
}

/// Connects a client that leaves in one of nine ways.
fn connect_and_leave(n: u32, addr: SocketAddr) {
    match n % 9 {
        0 => {
            let mut client = join(n, addr, ChatDialect::Plain, ReceiveBuffer::Default);
            client.send("hello\n/quit bye\n");
            assert!(client.rest().contains("* goodbye\n"));
        }
        1 => {
            let mut client = join(n, addr, ChatDialect::Irc, ReceiveBuffer::Default);
            client.send("PRIVMSG #lobby :hello\r\nQUIT :bye\r\n");
            assert!(client.rest().contains("ERROR :Closing link: bye\r\n"));
        }
        2 | 3 => {
            let client = join(n, addr, dialect_of(n), ReceiveBuffer::Default);
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        4 | 5 => {
            let mut client = join(n, addr, dialect_of(n), ReceiveBuffer::Default);
            client.talk("PRIVMSG #lobby :hello\n");
        }
        6 => {
            let mut client = join(n, addr, ChatDialect::Plain, ReceiveBuffer::Default);
            client.talk("half a li");
        }
        7 => {
            let mut slow = join_with_name(n, addr, ReceiveBuffer::Small);
            // As many lines as the rate allows at once.
            let mut other = connect(n + 1, addr, ReceiveBuffer::Default);
            other.send(format!("/msg p{n} {}\n", "x".repeat(4000)).repeat(19));
            other.talk("");
            resume_reading(&slow);
            let received = slow.rest();
            assert_eq!(
                received.lines().next_back(),
                Some("* you read too slowly, closing"),
                "{} bytes",
                received.len()
            );
        }
        _ => {
            let mut client = connect(n, addr, ReceiveBuffer::Default);
            request_to_join(&mut client, n, dialect_of(n / 9));
            client.try_send("PING x\n".repeat(300));
            let received = client.rest();
            assert!(received.contains("faster than is allowed") || received.contains("Excess Flood"), "{received}");
        }
    }
}

#[test]
fn five_thousand_members_leave_nothing_behind() {
    let _alone = alone();
    let daemon = Daemon::start(&["-qq", "--handler", "chat", "--max-outbox", "8KiB"]);
    let crowd = |numbers: std::ops::Range<u32>| {
        thread::scope(|scope| {
            for part in 0..4 {
                let (addr, numbers) = (daemon.addr, numbers.clone());
                scope.spawn(move || numbers.skip(part).step_by(4).for_each(|n| connect_and_leave(n, addr)));
            }
        });
    };
    let threads = daemon.status("Threads");
    let at_rest = || {
        eventually("their threads end", || daemon.status("Threads") <= threads);
        (daemon.descriptors(), daemon.status("VmRSS"))
    };
    crowd(0..2000);
    let before = at_rest();
    crowd(2000..7000);
    let after = at_rest();
    println!("(descriptors, KiB): {before:?}, then {after:?}");
    assert_eq!(after.0, before.0, "descriptors");
    // 200 bytes per client: less than a leaked member, and more than the noise of the allocator.
    assert!(after.1 < before.1 + 1000, "{} KiB, then {} KiB", before.1, after.1);
    assert_eq!(count_members(&daemon), 0);
}

/// The context switches and the CPU time (in ticks) of all threads of the program.
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
fn no_thread_runs_while_a_thousand_members_are_idle() {
    let _alone = alone();
    if !raise_descriptors(1_200) {
        return;
    }
    let daemon = chat(&[]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let mut readers = Readers::join(1..1000, daemon.addr, dialect_of);
    sender.send("message hello\n");
    let mut missing = readers.len();
    readers.read_lines(|_, line| {
        missing -= usize::from(message_text(line).is_some());
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // The time is what is measured: nothing happens in it that could be waited for.
    let watch = |time| {
        let before = activity(&daemon);
        thread::sleep(time);
        (before, activity(&daemon))
    };
    // The server frees idle buffers after a second.
    eventually("the server comes to rest", || {
        let (before, after) = watch(Duration::from_millis(1200));
        before == after
    });
    let (before, after) = watch(Duration::from_secs(2));
    assert_eq!(after, before, "(context switches, ticks)");
}

#[test]
fn a_drain_of_a_thousand_members_ends_in_time_with_a_farewell_to_all_who_can_get_it() {
    const DRAIN: Duration = Duration::from_secs(2);
    let _alone = alone();
    if !raise_descriptors(1_200) {
        return;
    }
    let mut daemon = chat(&["--drain-timeout", "2s", "--write-timeout", "60s"]);
    let mut sender = join(0, daemon.addr, ChatDialect::Plain, ReceiveBuffer::Default);
    let mut readers = Readers::join(1..800, daemon.addr, dialect_of);
    // Neither of these groups reads. The kernel buffers everything for the first, but not for the second.
    let mut quiet: Vec<Client> =
        (800..900).map(|n| join(n, daemon.addr, dialect_of(n), ReceiveBuffer::Default)).collect();
    let non_readers = non_readers(900..1000, &daemon, dialect_of);
    for count in 0..15 {
        sender.send(format!("message {count} {}\n", "x".repeat(4000)));
    }
    wait_until_handled(&mut sender);
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    let mut last = vec![String::new(); readers.len()];
    let mut missing = readers.len();
    readers.read_lines(|place, line| {
        let text = String::from_utf8(line.to_vec()).unwrap();
        if text.is_empty() {
            missing -= 1;
        } else {
            last[place] = text;
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    println!("members who read received the end after {:?}", start.elapsed());
    let (status, _) = daemon.wait();
    let took = start.elapsed();
    println!("ended after {took:?}");
    assert!(took < at_most(DRAIN + Duration::from_millis(300)), "{took:?}");
    assert_eq!(status.code(), Some(0));
    let is_told = |line: &str| line.contains("shutting down");
    let told = last.iter().filter(|line| is_told(line)).count();
    assert_eq!(told, last.len(), "a member who reads got {:?}", last.iter().find(|line| !is_told(line)));
    for member in &mut quiet {
        let received = member.rest();
        assert!(is_told(received.lines().next_back().unwrap()), "a member who does not read got {received:?}");
    }
    // These get no farewell, because it can't be put into the middle of a message. But their connections end.
    let start = Instant::now();
    non_readers.iter().for_each(resume_reading);
    for mut member in non_readers {
        let _ = member.stream.read_to_end(&mut Vec::new());
    }
    assert!(start.elapsed() < PATIENCE / 2, "the end came after {:?}", start.elapsed());
}
