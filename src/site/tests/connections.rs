//! Connections that fail, and names without an address.

use super::*;

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
