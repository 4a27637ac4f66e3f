//! Connections that fail, and names without an address.

use super::*;
use socket2::{Domain, Socket, Type};
use std::net::IpAddr;
use std::time::Instant;

#[test]
fn a_closed_port_is_a_connect_failure() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(failure(LONG, address), "connect: Connection refused");
}

#[test]
fn an_early_end_is_disconnected() {
    for (address, expected) in [
        (answer(""), "closed while waiting for the reply"),
        (answer("HTTP/1.1 200 OK\r\nConte"), "closed while waiting for the reply"),
        (answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), "closed while reading the reply"),
        (answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort"), "closed while reading the reply"),
    ] {
        assert_eq!(failure(LONG, address), format!("disconnected: {expected}"));
    }
}

#[test]
fn a_reset_is_disconnected() {
    for reply in [
        "",
        "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\n\r\nof unknown length",
    ] {
        let failure = failure(LONG, reset_after(reply));
        assert!(failure.starts_with("disconnected: Connection reset by peer while "), "{failure}");
    }
}

#[test]
fn a_name_without_an_address_is_a_dns_failure_and_a_slow_one_a_timeout() {
    let failure = post(&client(LONG), "http://nowhere.example/").unwrap_err();
    assert_eq!(failure.to_string(), "dns: no address");

    let hanging = client_with(
        SHORT,
        Box::new(|_| {
            thread::sleep(LONG);
            Ok(vec![])
        }),
    );
    let failure = post(&hanging, "http://hangs.example/").unwrap_err();
    assert_eq!(failure.to_string(), "timeout: timed out while resolving the host's name");
}

#[test]
fn an_address_that_is_silent_or_refuses_does_not_delay_the_next_one() {
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let port = answer(reply).port();
    // Two connections fill its queue, so that it ignores the next one.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
    silent.listen(0).unwrap();
    let _queued = [(); 2].map(|()| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
        let _ = socket.connect(&silent.local_addr().unwrap());
        socket
    });
    let allow_net = vec!["127.0.0.0/8".parse().unwrap()];
    for (dead, at_least) in [(&[2][..], 250), (&[3], 0), (&[3, 2, 4], 250)] {
        let addresses = dead.iter().chain(&[1]).map(|last| [127, 0, 0, *last].into()).collect::<Vec<IpAddr>>();
        let options = Options { allow_net: allow_net.clone(), ..Options::default() };
        let client = Client::with_lookup(options, Box::new(move |_| Ok(addresses.clone())));
        let url = format!("http://site.example:{port}/");
        let took = || {
            let began = Instant::now();
            assert_eq!(post(&client, &url), Ok(vec![]));
            began.elapsed().as_millis()
        };
        let first = took();
        assert!((at_least..3_000).contains(&first), "{first} ms for {dead:?}");
        assert!((0..3).map(|_| took()).min() < Some(250), "now the living address is tried first");
    }
}
