//! Outboxes: messages arrive whole and in order, among replies. Limits and slow clients are in `outbox_limits`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use acceptd::{Connection, Limits, Outbox};

use crate::support::{Client, PATIENCE, TestServer, eventually, logged};

/// A server that collects the outboxes of its clients, in the order of connecting, and replies to lines in capitals.
pub(crate) struct OutboxServer {
    pub(crate) inner: TestServer,
    pub(crate) outboxes: Arc<Mutex<Vec<Outbox>>>,
}

impl OutboxServer {
    pub(crate) fn with(limits: Limits) -> OutboxServer {
        OutboxServer::with_setup(limits, |_| Ok(()))
    }

    /// The handler runs `setup` before it reads lines.
    fn with_setup(
        limits: Limits,
        setup: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> OutboxServer {
        let outboxes: Arc<Mutex<Vec<Outbox>>> = Arc::default();
        let for_clients = Arc::clone(&outboxes);
        let inner = TestServer::with(limits, move |client: &mut Connection| {
            for_clients.lock().unwrap().push(client.outbox()?);
            setup(client)?;
            while let Some(line) = client.read_line()? {
                client.write_all(&line.to_ascii_uppercase())?;
                client.write_all(b"\n")?;
            }
            Ok(())
        });
        OutboxServer { inner, outboxes }
    }

    /// The handler writes `output`, and is then busy until the test sends to the channel.
    pub(crate) fn busy(limits: Limits, output: &'static [u8]) -> (OutboxServer, mpsc::Sender<()>) {
        let (go_on, may_go_on) = mpsc::channel();
        let may_go_on = Mutex::new(may_go_on);
        let server = OutboxServer::with_setup(limits, move |client| {
            client.write_all(output)?;
            let _ = may_go_on.lock().unwrap().recv();
            Ok(())
        });
        (server, go_on)
    }

    /// Connects a client. Returns it with its outbox.
    pub(crate) fn connect(&self) -> (Client, Outbox) {
        let before = self.outboxes.lock().unwrap().len();
        let client = self.inner.connect();
        eventually("the new client's outbox is there", || self.outboxes.lock().unwrap().len() > before);
        (client, self.outboxes.lock().unwrap()[before].clone())
    }
}

/// Waits for the log line that says how the connection of the client at `addr` has ended.
pub(crate) fn closing_line(addr: SocketAddr) -> String {
    let parts = ["closed id=", &format!("peer={addr} ")];
    eventually("the closing line is in the log", || !logged(&parts).is_empty());
    logged(&parts)[0].1.clone()
}

fn numbered(sender: usize, number: usize) -> Vec<u8> {
    format!("{sender} {number} {}\n", "x".repeat(number % 200)).into_bytes()
}

#[test]
fn messages_of_each_sender_arrive_whole_and_in_order_among_replies() {
    const COUNT: usize = 5000;
    // The outbox has room for all messages, because the client reads byte by byte, which is slow on a busy machine.
    let server = OutboxServer::with(Limits { max_outbox: 64 << 20, write_timeout: PATIENCE * 5, ..Limits::default() });
    let (mut client, outbox) = server.connect();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let outbox = outbox.clone();
            thread::spawn(move || (0..COUNT).for_each(|number| assert!(outbox.send(numbered(sender, number)))))
        })
        .collect();
    let mut questioner = client.stream.try_clone().unwrap();
    let questions = thread::spawn(move || (0..COUNT).for_each(|n| writeln!(questioner, "question {n}").unwrap()));
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

/// A sender that keeps many messages queued for a client at all times.
#[derive(Default)]
struct ConstantSender {
    /// How many messages were queued so far.
    queued: AtomicUsize,
    /// How many of them the client has read.
    received: AtomicUsize,
    is_over: AtomicBool,
}

impl ConstantSender {
    /// Each sender keeps this many messages in flight. Together they are more than the kernel takes.
    const IN_FLIGHT: usize = 3000;

    fn run(&self, sender: usize, outbox: &Outbox) {
        while !self.is_over.load(Ordering::SeqCst) {
            if self.has_enough_in_flight() {
                thread::park_timeout(Duration::from_millis(1));
            } else {
                assert!(outbox.send(numbered(sender, self.queued())));
                self.queued.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn has_enough_in_flight(&self) -> bool {
        self.queued() >= self.received() + ConstantSender::IN_FLIGHT
    }

    fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// Checks that `line` is the next message of this sender.
    fn receive(&self, sender: usize, line: &str) {
        assert_eq!(format!("{line}\n").as_bytes(), numbered(sender, self.received()));
        self.received.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_reply_comes_after_earlier_messages_and_before_later_ones_even_under_constant_load() {
    let constant_senders: Arc<[ConstantSender; 2]> = Arc::default();
    let for_handler = Arc::clone(&constant_senders);
    let limits = Limits { max_outbox: 16 << 20, write_timeout: PATIENCE, ..Limits::default() };
    let server = OutboxServer::with_setup(limits, move |client| {
        client.read_line()?;
        let [one, other] = for_handler.each_ref().map(ConstantSender::queued);
        writeln!(client, "reply after {one} {other}")
    });
    let (mut client, outbox) = server.connect();
    // A fixed receive buffer, which the kernel would otherwise grow.
    socket2::SockRef::from(&client.stream).set_recv_buffer_size(64 << 10).unwrap();
    let senders = [0, 1].map(|sender| {
        let (constant_senders, outbox) = (Arc::clone(&constant_senders), outbox.clone());
        thread::spawn(move || constant_senders[sender].run(sender, &outbox))
    });
    eventually("enough messages are in flight", || constant_senders.iter().all(ConstantSender::has_enough_in_flight));
    client.send("question\n");

    // Reads line by line with pauses, more slowly than the senders could send.
    let mut lines = BufReader::new(client.stream.try_clone().unwrap()).lines();
    let mut count = 0;
    let mut read_line = || {
        count += 1;
        if count % 32 == 0 {
            thread::park_timeout(Duration::from_millis(1));
        }
        let line = lines.next().unwrap().expect("the client is not cut");
        if !line.starts_with("reply") {
            let sender = usize::from(line.starts_with('1'));
            constant_senders[sender].receive(sender, &line);
        }
        line
    };
    let reply = iter::repeat_with(&mut read_line).find(|line| line.starts_with("reply")).unwrap();
    for (sender, queued_before) in constant_senders.iter().zip(reply.split(' ').skip(2)) {
        assert!(sender.received() >= queued_before.parse().unwrap(), "{reply}, and came after {}", sender.received());
        sender.is_over.store(true, Ordering::SeqCst);
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    while constant_senders.iter().any(|sender| sender.received() < sender.queued()) {
        read_line();
    }
    client.send("still there\n");
    client.expect("STILL THERE\n");
}

#[test]
fn queued_messages_are_sent_by_the_next_flush() {
    let server = OutboxServer::with(Limits::default());
    let (mut client, outbox) = server.connect();
    assert!(outbox.queue(*b"a\n"));
    assert!(outbox.queue(*b"b\n"));
    outbox.flush();
    client.expect("a\nb\n");
}

#[test]
fn messages_sent_before_a_client_leaves_arrive_and_later_ones_are_rejected() {
    let server = OutboxServer::with(Limits { max_outbox: 64 << 20, ..Limits::default() });
    let (mut client, outbox) = server.connect();
    outbox.send(vec![b'x'; 5 << 20]);
    outbox.send(*b"\nlast\n");
    client.end_output();
    assert!(client.rest().ends_with("x\nlast\n"));
    eventually("the client has left", || !outbox.is_open());
    assert!(!outbox.send(*b"too late\n"));
}

#[test]
fn a_drain_delivers_queued_messages_before_the_farewell() {
    let server = OutboxServer::with(Limits { max_outbox: 64 << 20, ..Limits::default() });
    let (mut client, outbox) = server.connect();
    outbox.send(vec![b'x'; 5 << 20]);
    outbox.send(*b"\nlast\n");
    server.inner.shutdown.request();
    let rest = client.rest();
    assert!(rest.ends_with("x\nlast\nERROR the server is shutting down\n"), "{}", &rest[rest.len() - 100..]);
}

#[test]
fn a_pause_lasts_until_its_deadline_and_messages_arrive_meanwhile() {
    const LONG: Duration = Duration::from_millis(400);
    let outboxes: Arc<Mutex<Vec<Outbox>>> = Arc::default();
    let for_clients = Arc::clone(&outboxes);
    let is_over = Arc::new(AtomicBool::new(false));
    let pause_is_over = Arc::clone(&is_over);
    let server = TestServer::start(move |client: &mut Connection| -> io::Result<()> {
        for_clients.lock().unwrap().push(client.outbox()?);
        let start = Instant::now();
        client.pause(start + LONG)?;
        assert!(start.elapsed() >= LONG);
        pause_is_over.store(true, Ordering::SeqCst);
        writeln!(client, "done")
    });
    let mut client = server.connect();
    eventually("the outbox is there", || !outboxes.lock().unwrap().is_empty());
    // More than the socket takes at once, so the client's own thread has to send during the pause.
    let sent = outboxes.lock().unwrap()[0].send(vec![b'x'; 5 << 20]);
    assert!(sent);
    let mut taken = vec![0; 5 << 20];
    client.stream.read_exact(&mut taken).unwrap();
    client.expect("done\n");
    assert!(is_over.load(Ordering::SeqCst));
}

#[test]
fn a_drain_or_a_lost_connection_ends_a_pause() {
    let server = TestServer::start(|client: &mut Connection| {
        client.write_all(b"hello\n")?;
        client.pause(Instant::now() + 10 * PATIENCE).map(|_| ())
    });
    let mut client = server.connect();
    client.expect("hello\n");
    let addr = client.stream.local_addr().unwrap();
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert!(closing_line(addr).contains("lost: "));
    let mut another = server.connect();
    another.expect("hello\n");
    assert_eq!(server.stop().drained, 1);
}

#[test]
fn a_message_to_an_outbox_created_during_a_reply_follows_the_reply() {
    let limits = Limits { max_output: 10, ..Limits::default() };
    let server = TestServer::with(limits, |client: &mut Connection| {
        client.write_all(b"more than ten bytes, ")?;
        client.outbox()?.send(*b"message\n");
        client.write_all(b"and then the rest\n")?;
        client.read_line().map(drop)
    });
    server.connect().expect("more than ten bytes, and then the rest\nmessage\n");
}
