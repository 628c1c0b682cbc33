//! What others send to a client: whole, in order, bounded, and never at anybody's expense.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Limits, Outbox};

use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

/// A short patience with clients, in tests that wait for its end.
const BLINK: Duration = Duration::from_millis(200);

/// A server that hands out the outboxes of its clients, in the order in which they came, and answers lines in capitals.
struct Room {
    server: TestServer,
    outboxes: Arc<Mutex<Vec<Outbox>>>,
}

impl Room {
    fn with(limits: Limits) -> Room {
        Room::beginning(limits, |_| Ok(()))
    }

    /// Its handler does something else before it reads lines.
    fn beginning(limits: Limits, begin: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) -> Room {
        let outboxes: Arc<Mutex<Vec<Outbox>>> = Arc::default();
        let for_clients = Arc::clone(&outboxes);
        let server = TestServer::with(limits, move |client: &mut Connection| {
            for_clients.lock().unwrap().push(client.outbox()?);
            begin(client)?;
            while let Some(line) = client.read_line()? {
                client.write_all(&line.to_ascii_uppercase())?;
                client.write_all(b"\n")?;
            }
            Ok(())
        });
        Room { server, outboxes }
    }

    /// Its handler writes this, and is then busy until it is told to go on.
    fn busy(limits: Limits, words: &'static [u8]) -> (Room, mpsc::Sender<()>) {
        let (go_on, told) = mpsc::channel();
        let told = Mutex::new(told);
        let room = Room::beginning(limits, move |client| {
            client.write_all(words)?;
            let _ = told.lock().unwrap().recv();
            Ok(())
        });
        (room, go_on)
    }

    /// A client, with the way in to it.
    fn enter(&self) -> (Client, Outbox) {
        let before = self.outboxes.lock().unwrap().len();
        let client = self.server.connect();
        eventually("the outbox of a new client is there", || self.outboxes.lock().unwrap().len() > before);
        (client, self.outboxes.lock().unwrap()[before].clone())
    }
}

/// Waits until the log tells how this client's connection has ended.
fn end_of(addr: SocketAddr) -> String {
    let words = ["closed id=", &format!("peer={addr} ")];
    eventually("its end is in the log", || !logged(&words).is_empty());
    logged(&words)[0].1.clone()
}

fn numbered(sender: usize, number: usize) -> Vec<u8> {
    format!("{sender} {number} {}\n", "x".repeat(number % 200)).into_bytes()
}

#[test]
fn messages_of_one_sender_arrive_in_their_order_and_whole_beside_replies() {
    const COUNT: usize = 5000;
    // All of it may wait at once for a client that reads byte by byte, which takes its time on a busy machine.
    let room = Room::with(Limits { max_outbox: 64 << 20, write_timeout: PATIENCE * 5, ..Limits::default() });
    let (mut client, outbox) = room.enter();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let outbox = outbox.clone();
            thread::spawn(move || (0..COUNT).for_each(|number| assert!(outbox.send(numbered(sender, number)))))
        })
        .collect();
    let mut asking = client.stream.try_clone().unwrap();
    let questions = thread::spawn(move || (0..COUNT).for_each(|n| writeln!(asking, "question {n}").unwrap()));
    let mut next = [0; 5];
    for _ in 0..5 * COUNT {
        let line = client.line();
        if let Some(number) = line.strip_prefix("QUESTION ") {
            assert_eq!(number.trim_end(), next[4].to_string());
            next[4] += 1;
        } else {
            let sender: usize = line[..1].parse().unwrap();
            assert_eq!(format!("{line}\n").as_bytes(), numbered(sender, next[sender]));
            next[sender] += 1;
        }
    }
    assert_eq!(next, [COUNT; 5]);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    questions.join().unwrap();
}

/// Somebody who always has more to say than a client has heard.
#[derive(Default)]
struct Chatter {
    /// How many messages are queued.
    said: AtomicUsize,
    /// How many of them the client has read.
    heard: AtomicUsize,
    is_over: AtomicBool,
}

impl Chatter {
    /// So many messages of each are on the way to the client: together more than the kernel takes.
    const AHEAD: usize = 3000;

    fn talk(&self, sender: usize, outbox: &Outbox) {
        while !self.is_over.load(Ordering::SeqCst) {
            if self.is_ahead() {
                thread::park_timeout(Duration::from_millis(1));
            } else {
                assert!(outbox.send(numbered(sender, self.said())));
                self.said.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn is_ahead(&self) -> bool {
        self.said() >= self.heard() + Chatter::AHEAD
    }

    fn said(&self) -> usize {
        self.said.load(Ordering::SeqCst)
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    fn hear(&self, sender: usize, line: &str) {
        assert_eq!(format!("{line}\n").as_bytes(), numbered(sender, self.heard()));
        self.heard.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_reply_to_a_client_for_whom_something_always_waits_comes_after_that_and_before_the_rest() {
    let chatters: Arc<[Chatter; 2]> = Arc::default();
    let for_handler = Arc::clone(&chatters);
    let limits = Limits { max_outbox: 16 << 20, write_timeout: PATIENCE, ..Limits::default() };
    let room = Room::beginning(limits, move |client| {
        client.read_line()?;
        let [one, other] = for_handler.each_ref().map(Chatter::said);
        writeln!(client, "reply after {one} {other}")
    });
    let (mut client, outbox) = room.enter();
    // The kernel would take more and more.
    socket2::SockRef::from(&client.stream).set_recv_buffer_size(64 << 10).unwrap();
    let senders = [0, 1].map(|sender| {
        let (chatters, outbox) = (Arc::clone(&chatters), outbox.clone());
        thread::spawn(move || chatters[sender].talk(sender, &outbox))
    });
    eventually("much is on the way", || chatters.iter().all(Chatter::is_ahead));
    client.send("question\n");

    // A line at a time, and a pause after some: slower than the others could talk.
    let mut lines = BufReader::new(client.stream.try_clone().unwrap()).lines();
    let mut heard = 0;
    let mut hear = || {
        heard += 1;
        if heard % 32 == 0 {
            thread::park_timeout(Duration::from_millis(1));
        }
        let line = lines.next().unwrap().expect("it is not cut");
        if !line.starts_with("reply") {
            let sender = usize::from(line.starts_with('1'));
            chatters[sender].hear(sender, &line);
        }
        line
    };
    let reply = iter::repeat_with(&mut hear).find(|line| line.starts_with("reply")).unwrap();
    for (chatter, said_before) in chatters.iter().zip(reply.split(' ').skip(2)) {
        assert!(chatter.heard() >= said_before.parse().unwrap(), "{reply}, and came after {}", chatter.heard());
        chatter.is_over.store(true, Ordering::SeqCst);
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    while chatters.iter().any(|chatter| chatter.heard() < chatter.said()) {
        hear();
    }
    client.send("still there\n");
    client.expect("STILL THERE\n");
}

#[test]
fn a_client_that_reads_slowly_gets_everything_up_to_the_bound() {
    let room = Room::with(Limits { max_outbox: 16 << 20, ..Limits::default() });
    let (mut client, outbox) = room.enter();
    let message: Arc<[u8]> = vec![b'x'; 100_000].into();
    // More than the kernel takes.
    for _ in 0..100 {
        assert!(outbox.send(Arc::clone(&message)));
    }
    client.send("after that\n");
    let mut taken = vec![0; 100 * message.len()];
    client.stream.read_exact(&mut taken).unwrap();
    assert!(taken.iter().all(|&byte| byte == b'x'));
    client.expect("AFTER THAT\n");
}

#[test]
fn a_client_that_lets_too_much_wait_is_told_and_closed_and_nobody_waits_for_it() {
    let room = Room::with(Limits::default());
    let (mut client, outbox) = room.enter();
    let message: Arc<[u8]> = [&[b'x'; 999][..], b"\n"].concat().into();
    let mut sent = 0;
    while outbox.send(Arc::clone(&message)) {
        sent += message.len();
        assert!(sent < 64 << 20, "nothing bounds it");
    }
    assert!(!outbox.is_open());
    let end = end_of(client.stream.local_addr().unwrap());
    assert!(end.contains("too slow: more than 262144 bytes waited for it"), "{end}");
    // What the kernel had taken comes first, then the reason, at the begin of a line.
    let rest = client.rest();
    assert!(rest.starts_with("xxx"));
    assert!(rest.ends_with("x\nERROR you read too slowly, closing\n"), "{}", &rest[rest.len().saturating_sub(200)..]);
}

#[test]
fn a_client_that_does_not_take_a_message_in_time_is_told_and_closed() {
    let room = Room::with(Limits { write_timeout: Duration::from_millis(300), ..Limits::default() });
    let (mut client, outbox) = room.enter();
    // More than the kernel takes. Nothing comes after it, so nobody but its own thread can tell.
    assert!(outbox.send([&[b'x'; 20 << 20][..], b"\n"].concat()));
    let end = end_of(client.stream.local_addr().unwrap());
    assert!(end.contains("too slow: a message was not taken in time"), "{end}");
    assert!(!outbox.is_open());
    // The message is not complete, so nothing can follow it.
    assert!(client.stream.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_client_that_takes_a_little_now_and_then_is_closed_as_well() {
    let room = Room::with(Limits { write_timeout: Duration::from_millis(500), ..Limits::default() });
    let (mut client, outbox) = room.enter();
    let is_over = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&is_over);
    let dripping = thread::spawn(move || {
        while !tell.load(Ordering::SeqCst) {
            let _ = client.stream.read(&mut [0; 1000]);
            thread::park_timeout(Duration::from_millis(10));
        }
        client
    });
    // 60 KB at a time, each time when the last one has left for the kernel; in the end the kernel is full.
    let start = Instant::now();
    while outbox.send([&[b'x'; 60_000][..], b"\n"].concat()) {
        thread::park_timeout(Duration::from_millis(20));
        assert!(start.elapsed() < PATIENCE);
    }
    is_over.store(true, Ordering::SeqCst);
    let mut client = dripping.join().unwrap();
    assert!(client.rest().ends_with("ERROR you read too slowly, closing\n"));
}

#[test]
fn a_message_longer_than_the_bound_is_taken_when_nothing_waits() {
    let room = Room::with(Limits { max_outbox: 10, ..Limits::default() });
    let (mut client, outbox) = room.enter();
    assert!(outbox.send(*b"more than ten bytes\n"));
    client.expect("more than ten bytes\n");
}

#[test]
fn what_is_queued_is_sent_by_the_next_flush() {
    let room = Room::with(Limits::default());
    let (mut client, outbox) = room.enter();
    assert!(outbox.queue(*b"a\n"));
    assert!(outbox.queue(*b"b\n"));
    outbox.flush();
    client.expect("a\nb\n");
}

#[test]
fn what_was_sent_before_a_client_leaves_arrives_and_later_messages_are_refused() {
    let room = Room::with(Limits { max_outbox: 64 << 20, ..Limits::default() });
    let (mut client, outbox) = room.enter();
    outbox.send(vec![b'x'; 5 << 20]);
    outbox.send(*b"\nlast\n");
    client.end_output();
    assert!(client.rest().ends_with("x\nlast\n"));
    eventually("it has left", || !outbox.is_open());
    assert!(!outbox.send(*b"too late\n"));
}

#[test]
fn an_outbox_that_is_kept_keeps_no_descriptor() {
    let room = Room::with(Limits::default());
    let before = descriptors();
    for _ in 0..50 {
        let (mut client, _) = room.enter();
        client.end_output();
        assert_eq!(client.rest(), "");
    }
    // Other tests run beside this one, and open some.
    eventually("they are closed", || descriptors() < before + 50);
    assert_eq!(room.outboxes.lock().unwrap().len(), 50);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_drain_lets_what_was_sent_arrive_before_the_last_words() {
    let room = Room::with(Limits { max_outbox: 64 << 20, ..Limits::default() });
    let (mut client, outbox) = room.enter();
    outbox.send(vec![b'x'; 5 << 20]);
    outbox.send(*b"\nlast\n");
    room.server.shutdown.request();
    let rest = client.rest();
    assert!(rest.ends_with("x\nlast\nERROR the server is shutting down\n"), "{}", &rest[rest.len() - 100..]);
}

#[test]
fn a_drain_ends_in_time_with_a_client_that_does_not_read() {
    let limits = Limits { drain_timeout: Duration::from_millis(300), max_outbox: 64 << 20, ..Limits::default() };
    let room = Room::with(limits);
    let (_client, outbox) = room.enter();
    outbox.send(vec![b'x'; 40 << 20]);
    let start = Instant::now();
    let summary = room.server.stop();
    assert_eq!(summary.cut, 1);
    assert!(start.elapsed() < PATIENCE / 2);
    assert!(!outbox.is_open());
}

#[test]
fn a_pause_is_as_long_as_it_says_and_messages_arrive_meanwhile() {
    const LONG: Duration = Duration::from_millis(400);
    let outboxes: Arc<Mutex<Vec<Outbox>>> = Arc::default();
    let for_clients = Arc::clone(&outboxes);
    let is_over = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&is_over);
    let server = TestServer::start(move |client: &mut Connection| -> io::Result<()> {
        for_clients.lock().unwrap().push(client.outbox()?);
        let start = Instant::now();
        client.pause(start + LONG)?;
        assert!(start.elapsed() >= LONG);
        tell.store(true, Ordering::SeqCst);
        writeln!(client, "done")
    });
    let mut client = server.connect();
    eventually("it is there", || !outboxes.lock().unwrap().is_empty());
    // More than the socket takes at once: its own thread has to go on while it pauses.
    let sent = outboxes.lock().unwrap()[0].send(vec![b'x'; 5 << 20]);
    assert!(sent);
    let mut taken = vec![0; 5 << 20];
    client.stream.read_exact(&mut taken).unwrap();
    client.expect("done\n");
    assert!(is_over.load(Ordering::SeqCst));
}

#[test]
fn a_pause_ends_with_a_drain_and_with_its_client() {
    let server = TestServer::start(|client: &mut Connection| {
        client.write_all(b"hello\n")?;
        client.pause(Instant::now() + 10 * PATIENCE)
    });
    let mut client = server.connect();
    client.expect("hello\n");
    let addr = client.stream.local_addr().unwrap();
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert!(end_of(addr).contains("lost: "));
    let mut another = server.connect();
    another.expect("hello\n");
    assert_eq!(server.stop().drained, 1);
}

#[test]
fn who_reads_is_not_blamed_for_a_handler_that_is_busy() {
    let limits = Limits { write_timeout: BLINK, ..Limits::default() };
    let (room, go_on) = Room::busy(limits, b"");
    let (mut client, outbox) = room.enter();
    // More than the system takes at once for a client that does not read yet.
    assert!(outbox.send(vec![b'x'; 160_000]));
    client.stream.set_read_timeout(Some(2 * BLINK)).unwrap();
    let mut taken = Vec::new();
    assert!(client.stream.read_to_end(&mut taken).is_err(), "the handler is too busy for the rest");
    assert!(taken.len() < 160_000);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    go_on.send(()).unwrap();
    client.expect(vec![b'x'; 160_000 - taken.len()]);
    client.send("still there\n");
    client.expect("STILL THERE\n");
}

#[test]
fn who_reads_is_not_blamed_for_a_reply_that_takes_long() {
    let limits = Limits { write_timeout: BLINK, max_output: 1, ..Limits::default() };
    let (room, go_on) = Room::busy(limits, b"begin, ");
    let (mut client, outbox) = room.enter();
    client.expect("begin, ");
    assert!(outbox.send(vec![b'x'; 8 << 20]));
    thread::park_timeout(2 * BLINK);
    go_on.send(()).unwrap();
    client.stream.read_exact(&mut vec![0; 8 << 20]).unwrap();
}

#[test]
fn a_message_to_a_client_that_gets_a_reply_comes_after_it_also_when_the_outbox_is_new() {
    let limits = Limits { max_output: 10, ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        client.write_all(b"more than ten bytes, ")?;
        client.outbox()?.send(*b"message\n");
        client.write_all(b"and then the rest\n")?;
        client.read_line().map(drop)
    });
    server.connect().expect("more than ten bytes, and then the rest\nmessage\n");
}

#[test]
fn empty_messages_cost_nothing() {
    let room = Room::with(Limits::default());
    let (mut client, outbox) = room.enter();
    assert!(outbox.send(vec![b'x'; 8 << 20]));
    let nothing: Arc<[u8]> = Arc::from([]);
    for _ in 0..1000 {
        assert!(outbox.send(Arc::clone(&nothing)));
    }
    assert_eq!(Arc::strong_count(&nothing), 1);
    client.end_output();
    assert_eq!(client.rest().len(), 8 << 20);
}
