//! Replies that are failures: their status, or what is not HTTP.

use super::*;
use crate::model::PollTrace;
use chrono::{TimeDelta, Utc};

#[test]
fn a_reply_that_is_not_http_is_garbled() {
    for (reply, expected) in [
        ("<html><title>Router</title></html>\r\n\r\n", "not HTTP: page without a head: Router"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "not HTTP: SSH-2.0-OpenSSH_9.6"),
        ("HTTP/1.1 OK\r\n\r\n", "not HTTP: HTTP/1.1 OK"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "status 101 Switching Protocols"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "invalid HTTP: Content-Length is not a number"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "invalid HTTP: chunk size is not a number"),
    ] {
        assert_eq!(failure(LONG, answer(reply)), format!("garbled: {expected}"));
    }
}

#[test]
fn a_server_that_greets_and_waits_is_not_waited_for() {
    for greeting in [&["220 mail.example ESMTP\r\n"][..], &["SSH-", "2.0"]] {
        let address = holding(move |stream| {
            for piece in greeting {
                let _ = stream.write_all(piece.as_bytes());
                thread::sleep(Duration::from_millis(20));
            }
        });
        let expected = format!("garbled: not HTTP: {}", greeting.concat().trim_end());
        assert_eq!(failure(LONG, address), expected);
    }
}

#[test]
fn the_end_of_the_connection_is_not_waited_for_after_a_whole_reply() {
    for reply in [
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n!",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n",
    ] {
        let address = holding(move |stream| {
            request(stream);
            let _ = stream.write_all(reply.as_bytes());
        });
        assert_eq!(post(&client(LONG), &format!("http://{address}/")).unwrap(), b"!");
    }
}

#[test]
fn large_heads_are_read_and_what_follows_a_reply_is_not() {
    let cookies = format!("Set-Cookie: {}\r\n", "x".repeat(1000)).repeat(60);
    let body = format!("CXN-0.2-AES-CBC-HMAC\x01{}", "y".repeat(40_000));
    let length = body.len();
    let address = answer(format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: {length}\r\n\r\n{body}<!-- x -->"));
    assert_eq!(post(&client(LONG), &format!("http://{address}/")).unwrap(), body.into_bytes());
    let location = format!("https://o.example/{}", "a".repeat(50_000));
    let address = answer(format!("HTTP/1.1 301 x\r\nLocation: {location}\r\n\r\n"));
    assert!(
        failure(LONG, address).starts_with("redirect: redirected (301 Moved Permanently) to https://o.example/aaa")
    );
}

#[test]
fn what_is_wrong_with_the_body_of_a_failure_changes_nothing() {
    for headers in [
        "Content-Length: 5000",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
    ] {
        let reply = format!("HTTP/1.1 500 x\r\n{headers}\r\n\r\n<html>");
        assert_eq!(failure(LONG, answer(reply)), "http: status 500 Internal Server Error", "{headers}");
    }
}

#[test]
fn the_trace_shows_whether_anything_arrived_and_the_clock_of_the_site() {
    let trace = |address: SocketAddr, limit| {
        let mut trace = PollTrace::default();
        let endpoint = Endpoint::new(&format!("http://{address}/"), None).unwrap();
        let _ = client(limit).post_traced(&endpoint, b"message", &mut trace);
        assert_eq!(trace.address, Some(address.ip()));
        (trace.answered, trace.clock_offset_s)
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(trace(closed, LONG), (false, None));
    assert_eq!(trace(silence(), SHORT), (false, None));
    assert_eq!(trace(answer(""), LONG), (false, None));
    assert_eq!(trace(answer("H"), LONG), (true, None));
    let date = (Utc::now() + TimeDelta::hours(2)).format("%a, %d %b %Y %H:%M:%S GMT");
    let (answered, offset) = trace(answer(format!("HTTP/1.1 500 x\r\nDate: {date}\r\n\r\n")), LONG);
    assert!(answered && (7190..=7201).contains(&offset.unwrap()), "{offset:?}");
}

#[test]
fn a_status_from_400_is_a_failure_with_any_body() {
    for (status, expected) in [
        ("400 Anything", "http: status 400 Bad Request"),
        ("404 Not Found", "http: status 404 Not Found"),
        ("410 Gone", "gone: status 410 Gone"),
        ("503 Secret", "http: status 503 Service Unavailable"),
        ("599 Own", "http: status 599"),
        ("999 Own", "http: status 999"),
    ] {
        let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 9999999\r\n\r\nbody");
        assert_eq!(failure(LONG, answer(reply)), expected);
    }
}

#[test]
fn retry_after_is_passed_on() {
    let retry_after = |value: &str| {
        let reply = format!("HTTP/1.1 503 x\r\nRetry-After: {value}\r\n\r\n");
        post(&client(LONG), &format!("http://{}/", answer(reply))).unwrap_err().retry_after
    };
    let date =
        |in_seconds| (Utc::now() + TimeDelta::seconds(in_seconds)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    assert_eq!(retry_after("30"), Some(30));
    assert!((3000..=3600).contains(&retry_after(&date(3600)).unwrap()));
    assert_eq!(retry_after(&date(-3600)), Some(0));
    assert_eq!(retry_after(&date(1_000_000)), Some(86_400));
    assert_eq!(retry_after("later"), None);
}
