//! What the egress policy blocks on a real call.

use super::*;
use crate::model::{Cause, ViaPort};
use std::net::IpAddr;

#[test]
fn ports_of_other_services_are_refused_in_every_url() {
    let refused = |at: &str, port: u16| {
        format!("blocked: {at}port {port} is refused: it belongs to another service than a web server")
    };
    let client = client_with(LONG, Box::new(|_| panic!("no name is looked up")));
    let failure = |endpoint: Endpoint| client.post(&endpoint, b"").unwrap_err().to_string();
    assert_eq!(failure(Endpoint::new("http://site.example:25/", None).unwrap()), refused("", 25));
    assert_eq!(failure(Endpoint::new("https://127.0.0.1:0/", None).unwrap()), refused("", 0));
    let via: ViaPort = "proxy.example:22".parse().unwrap();
    assert_eq!(failure(Endpoint::new("http://site.example/", Some(&via)).unwrap()), refused("", 22));
    let redirect = answer("HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:6667/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        failure(Endpoint::new(&format!("http://{redirect}/"), None).unwrap()),
        refused("at 127.0.0.1:6667: ", 6667)
    );
}

#[test]
fn a_redirect_is_checked_by_the_policy() {
    let long = format!("/{}", "a".repeat(20_000));
    for (location, expected) in [
        ("http://[::1]:8080/", "blocked: at [::1]:8080: ::1 is not a public address (loopback)"),
        (
            "http://169.254.169.254/latest",
            "blocked: at 169.254.169.254: 169.254.169.254 is not a public address (link-local)",
        ),
        ("http://2130706434/", "blocked: at 127.0.0.2: 127.0.0.2 is not a public address (loopback)"),
        (
            "gopher://127.0.0.1/",
            "redirect: status 308 Permanent Redirect: only http and https are supported, not gopher",
        ),
        (&long, "redirect: status 308 Permanent Redirect: its target has more than 8192 bytes"),
    ] {
        let reply = format!("HTTP/1.1 308 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(failure(LONG, answer(reply)), expected);
    }
}

#[test]
fn addresses_that_are_not_public_are_blocked_in_any_notation() {
    let address = answer("HTTP/1.1 200 OK\r\n\r\n");
    let client = Client::with_lookup(
        Options::default(),
        Box::new(|host| {
            Ok(match host {
                "two.example" => vec![[10, 0, 0, 1].into(), [127, 0, 0, 1].into()],
                _ => vec![[127, 0, 0, 1].into()],
            })
        }),
    );
    for (host, expected) in [
        ("127.0.0.1", "127.0.0.1 is not a public address (loopback)"),
        ("127.1", "127.0.0.1 is not a public address (loopback)"),
        ("2130706433", "127.0.0.1 is not a public address (loopback)"),
        ("0x7f000001", "127.0.0.1 is not a public address (loopback)"),
        ("0177.0.0.1", "127.0.0.1 is not a public address (loopback)"),
        ("0x7f.1", "127.0.0.1 is not a public address (loopback)"),
        ("127.0.0.1.", "127.0.0.1 is not a public address (loopback)"),
        ("%31%32%37.0.0.1", "127.0.0.1 is not a public address (loopback)"),
        ("１２７。０。０。１", "127.0.0.1 is not a public address (loopback)"),
        ("1.1.1.1@127.0.0.1", "127.0.0.1 is not a public address (loopback)"),
        ("1.1.1.1:80@127.0.0.1", "127.0.0.1 is not a public address (loopback)"),
        ("1.1.1.1%2f@127.0.0.1", "127.0.0.1 is not a public address (loopback)"),
        ("127.0.0.1\\@1.1.1.1", "127.0.0.1 is not a public address (loopback)"),
        ("[::1]", "::1 is not a public address (loopback)"),
        ("[::127.0.0.1]", "::7f00:1 is not a public address (loopback)"),
        ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1 is not a public address (loopback)"),
        ("[2002:7f00:1::]", "2002:7f00:1:: is not a public address (loopback)"),
        ("[fd00::1]", "fd00::1 is not a public address (private)"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is not a public address (loopback)"),
        ("0", "0.0.0.0 is not a public address (this network)"),
        ("localhost", "127.0.0.1 is not a public address (loopback)"),
        ("two.example", "10.0.0.1 is not a public address (private)"),
    ] {
        let failure = post(&client, &format!("http://{host}:{}/", address.port())).unwrap_err();
        let cause = Cause::Address(expected.split_once(' ').unwrap().0.parse().unwrap());
        let blocked = Failure { cause, ..Failure::new(FailureClass::Blocked, expected) };
        assert_eq!(failure, blocked, "{host}");

        // The same host as a viaPort, if it is valid there.
        if let Ok(via) = format!("{host}:{}", address.port()).parse::<ViaPort>() {
            let endpoint = Endpoint::new("http://public.example/", Some(&via)).unwrap();
            assert_eq!(client.post(&endpoint, b"").unwrap_err(), blocked, "{host}");
        }
    }
}

#[test]
fn only_allowed_addresses_of_a_host_are_tried() {
    let address = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let many = (1..=40).map(|last| IpAddr::from([10, 0, 0, last])).chain([[127, 0, 0, 1].into()]).collect::<Vec<_>>();
    let client = client_with(LONG, Box::new(move |_| Ok(many.clone())));
    assert_eq!(post(&client, &format!("http://site.example:{}/", address.port())), Ok(vec![]));
}

#[test]
fn addresses_beyond_the_limit_of_ureq_are_ignored() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client_with(LONG, Box::new(|_| Ok(vec![[127, 0, 0, 1].into(); 40])));
    let failure = post(&client, &format!("http://site.example:{}/", address.port())).unwrap_err();
    assert_eq!(failure.class, FailureClass::Connect);
}

#[test]
fn an_address_is_checked_also_if_another_one_has_failed() {
    let refused = TcpListener::bind("127.0.0.2:0").unwrap();
    refused.set_nonblocking(true).unwrap();
    let port = refused.local_addr().unwrap().port();
    for addresses in [[[127, 0, 0, 1], [127, 0, 0, 2]], [[127, 0, 0, 2], [127, 0, 0, 1]]] {
        let client = client_with(LONG, Box::new(move |_| Ok(addresses.map(IpAddr::from).into())));
        let failure = post(&client, &format!("http://site.example:{port}/")).unwrap_err();
        assert_eq!(failure.to_string(), "connect: Connection refused");
        assert!(refused.accept().is_err(), "nothing connects to it");
    }
}
