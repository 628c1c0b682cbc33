//! Where a server listens, and who its clients seem to be.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use acceptd::{Connection, Echo, Limits, Server};

use crate::support::machine::has_ipv6;
use crate::support::{Client, TestServer, logged};

/// Tells each client its own address and the one it has connected to.
fn whoami(client: &mut Connection) -> io::Result<()> {
    let (peer, local) = (client.peer_addr(), client.local_addr()?);
    writeln!(client, "{peer} {local}")
}

fn told(server_at: &str, connect_to: &str) -> (String, String) {
    let server = TestServer::at(server_at, Limits::default(), whoami);
    let target = SocketAddr::new(connect_to.parse().unwrap(), server.addr.port());
    let mut client = Client::connect(target);
    let own = client.stream.local_addr().unwrap();
    (client.line(), format!("{own} {target}"))
}

#[test]
fn a_client_is_known_by_its_address_over_ipv4_and_ipv6() {
    for (at, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::1")] {
        if at.starts_with('[') && !has_ipv6() {
            continue;
        }
        let (told, expected) = told(at, to);
        assert_eq!(told, expected, "bound to {at}");
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_shown_as_ipv4() {
    if !has_ipv6() {
        return;
    }
    for to in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let server = TestServer::at("[::]:0", Limits::default(), whoami);
        let mut client = Client::connect(SocketAddr::new(to.parse().unwrap(), server.addr.port()));
        let own = client.stream.local_addr().unwrap();
        let own = SocketAddr::new(own.ip().to_canonical(), own.port());
        assert_eq!(client.line(), format!("{own} 127.0.0.1:{}", server.addr.port()));
    }
}

#[test]
fn several_addresses_are_served_on_one_port() {
    if !has_ipv6() {
        return;
    }
    let any_port: [SocketAddr; 2] = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let server = Server::bind(&any_port[..], Limits::default()).unwrap();
    let bound = server.local_addrs().to_vec();
    assert_eq!(bound.len(), 2);
    assert_eq!(bound[0].port(), bound[1].port());
    let shutdown = server.shutdown();
    let runner = std::thread::spawn(move || server.run(Echo));
    for _ in 0..3 {
        for address in &bound {
            assert_eq!(Client::connect(*address).talk("hi"), "hi");
        }
    }
    shutdown.request();
    assert_eq!(runner.join().unwrap().stats.served, 6);
}

#[test]
fn an_address_that_this_machine_lacks_is_named_and_the_others_serve() {
    if !has_ipv6() {
        return;
    }
    crate::support::collect_log();
    // 192.0.2.0/24 is nobody's (RFC 5737).
    let addresses: [SocketAddr; 2] = ["192.0.2.7:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let server = Server::bind(&addresses[..], Limits::default()).unwrap();
    assert_eq!(server.local_addrs().len(), 1);
    assert!(server.local_addr().is_ipv6());
    assert_eq!(logged(&["not listening on 192.0.2.7:0"]).len(), 1);
    let error = Server::bind(addresses[0], Limits::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_name_of_which_one_address_is_in_use_is_not_bound_at_all() {
    for (taken, free) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
        let holder = TcpListener::bind((taken, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port);
        let (taken, free) = (address(taken), address(free));
        for addresses in [[taken, free], [free, taken]] {
            let error = Server::bind(&addresses[..], Limits::default()).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().contains(&taken.to_string()), "{error}");
            assert!(TcpStream::connect(free).is_err(), "the other address is not served either");
        }
    }
}

#[test]
fn an_address_in_use_is_an_error_of_its_own() {
    let first = TestServer::start(Echo);
    let error = Server::bind(first.addr, Limits::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_port_is_free_again_once_its_server_has_ended() {
    let first = TestServer::start(Echo);
    let address = first.addr;
    // The server closes first, so its side of the connection lingers in TIME_WAIT.
    let mut client = first.connect();
    client.send("x");
    client.expect("x");
    first.stop();
    assert_eq!(client.rest(), "");
    let second = TestServer::at(&address.to_string(), Limits::default(), Echo);
    assert_eq!(second.connect().talk("y"), "y");
}

#[test]
fn the_kernel_queues_as_many_clients_as_the_backlog_says() {
    let queued = |backlog| {
        // Bound and not run: nobody accepts.
        let server = Server::bind("127.0.0.1:0", Limits { backlog, ..Limits::default() }).unwrap();
        let connect = |_: &usize| TcpStream::connect_timeout(&server.local_addr(), Duration::from_millis(400)).ok();
        (0..20).map_while(|i| connect(&i)).collect::<Vec<_>>().len()
    };
    // Linux queues one more than it was asked for.
    assert_eq!(queued(3), 4);
    assert_eq!(queued(100), 20);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let good = Limits::default;
    let wrong = [
        Limits { max_connections: 0, ..good() },
        Limits { idle_timeout: Some(Duration::ZERO), ..good() },
        Limits { request_timeout: Duration::ZERO, ..good() },
        Limits { write_timeout: Duration::ZERO, ..good() },
        Limits { max_line: 0, ..good() },
        Limits { max_output: 0, ..good() },
        Limits { max_stream_buffer: 0, ..good() },
        Limits { keepalive: Duration::from_secs(1), ..good() },
        Limits { keepalive: Duration::from_secs(24 * 3600), ..good() },
        Limits { idle_timeout: Some(Duration::MAX), ..good() },
        Limits { request_timeout: Duration::MAX, ..good() },
        Limits { write_timeout: Duration::MAX, ..good() },
        Limits { drain_timeout: Duration::MAX, ..good() },
    ];
    for limits in wrong {
        let error = Server::bind("127.0.0.1:0", limits.clone()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{limits:?}");
    }
}
