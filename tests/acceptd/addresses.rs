//! The addresses that a server listens on, and the addresses that a connection reports.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use acceptd::{Connection, Echo, Limits, Server};

use crate::support::machine::has_ipv6;
use crate::support::{Client, TestServer, logged};

/// Sends each client its own address and the address that it connected to.
fn whoami(client: &mut Connection) -> io::Result<()> {
    let (peer, local) = (client.peer_addr(), client.local_addr()?);
    writeln!(client, "{peer} {local}")
}

/// The addresses that the server reports, and the expected ones.
fn reported_addresses(server_at: &str, connect_to: &str) -> (String, String) {
    let server = TestServer::at(server_at, Limits::default(), whoami);
    let target = SocketAddr::new(connect_to.parse().unwrap(), server.addr.port());
    let mut client = Client::connect(target);
    let own = client.stream.local_addr().unwrap();
    (client.line(), format!("{own} {target}"))
}

#[test]
fn peer_and_local_addresses_are_right_over_ipv4_and_ipv6() {
    for (at, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::1")] {
        if at.starts_with('[') && !has_ipv6() {
            continue;
        }
        let (reported, expected) = reported_addresses(at, to);
        assert_eq!(reported, expected, "bound to {at}");
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
fn an_address_that_this_machine_lacks_is_logged_and_the_others_are_served() {
    if !has_ipv6() {
        return;
    }
    crate::support::collect_log();
    // 192.0.2.0/24 is reserved for documentation (RFC 5737).
    let addresses: [SocketAddr; 2] = ["192.0.2.7:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let server = Server::bind(&addresses[..], Limits::default()).unwrap();
    assert_eq!(server.local_addrs().len(), 1);
    assert!(server.local_addr().is_ipv6());
    assert_eq!(logged(&["not listening on 192.0.2.7:0"]).len(), 1);
    let error = Server::bind(addresses[0], Limits::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn bind_fails_if_any_one_address_is_in_use() {
    for (in_use, free) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
        let holder = TcpListener::bind((in_use, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port);
        let (in_use, free) = (address(in_use), address(free));
        for addresses in [[in_use, free], [free, in_use]] {
            let error = Server::bind(&addresses[..], Limits::default()).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().contains(&in_use.to_string()), "{error}");
            assert!(TcpStream::connect(free).is_err(), "the other address is not served either");
        }
    }
}

#[test]
fn binding_an_address_in_use_returns_addr_in_use() {
    let first = TestServer::start(Echo);
    let error = Server::bind(first.addr, Limits::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_port_can_be_bound_again_after_its_server_has_ended() {
    let first = TestServer::start(Echo);
    let address = first.addr;
    // The server closes first, so its side of the connection stays in TIME_WAIT.
    let mut client = first.connect();
    client.send("x");
    client.expect("x");
    first.stop();
    assert_eq!(client.rest(), "");
    let second = TestServer::at(&address.to_string(), Limits::default(), Echo);
    assert_eq!(second.connect().talk("y"), "y");
}

#[test]
fn the_backlog_limits_how_many_clients_the_kernel_queues() {
    let queued = |backlog| {
        // The server is bound but not running, so nothing accepts.
        let server = Server::bind("127.0.0.1:0", Limits { backlog, ..Limits::default() }).unwrap();
        let connect = |_: &usize| TcpStream::connect_timeout(&server.local_addr(), Duration::from_millis(400)).ok();
        (0..20).map_while(|i| connect(&i)).collect::<Vec<_>>().len()
    };
    // Linux queues one more than the backlog.
    assert_eq!(queued(3), 4);
    assert_eq!(queued(100), 20);
}

#[test]
fn bind_rejects_invalid_limits() {
    let valid = Limits::default;
    let invalid = [
        Limits { max_connections: 0, ..valid() },
        Limits { idle_timeout: Some(Duration::ZERO), ..valid() },
        Limits { request_timeout: Duration::ZERO, ..valid() },
        Limits { write_timeout: Duration::ZERO, ..valid() },
        Limits { max_line: 0, ..valid() },
        Limits { max_output: 0, ..valid() },
        Limits { max_stream_buffer: 0, ..valid() },
        Limits { keepalive: Duration::from_secs(1), ..valid() },
        Limits { keepalive: Duration::from_secs(24 * 3600), ..valid() },
        Limits { idle_timeout: Some(Duration::MAX), ..valid() },
        Limits { request_timeout: Duration::MAX, ..valid() },
        Limits { write_timeout: Duration::MAX, ..valid() },
        Limits { drain_timeout: Duration::MAX, ..valid() },
    ];
    for limits in invalid {
        let error = Server::bind("127.0.0.1:0", limits.clone()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{limits:?}");
    }
}
