//! Replies that are failures: their status, or what is not HTTP.

use super::*;
use crate::model::Cause;
use chrono::{TimeDelta, Utc};
use std::time::Instant;

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
            request(&*stream);
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
        let failure = failure(LONG, answer(reply));
        assert!(failure.starts_with("http: status 500 Internal Server Error"), "{headers}: {failure}");
    }
}

#[test]
fn the_trace_shows_whether_anything_arrived_and_the_clock_of_the_site() {
    let trace = |address: SocketAddr, limit| {
        let calls = PollCalls::default();
        let endpoint = Endpoint::new(&format!("http://{address}/"), None).unwrap();
        let client = client(limit);
        let _ = client.post_in_poll(&calls, &endpoint, b"message");
        let trace = client.end_poll(calls, || false);
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
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 9999999\r\n\r\n");
        assert_eq!(failure(LONG, answer(head.as_str())), expected);
        // The body is cut, reset, too large, or never arrives whole.
        let page = "<title>Oops</title>";
        let expected = format!("{expected}: page \"Oops\" (text/html)");
        assert_eq!(failure(LONG, answer(format!("{head}{page}"))), expected);
        assert_eq!(failure(LONG, answer(format!("{head}{page}{}", "x".repeat(99_999)))), expected);
        let mut open = Vec::new();
        let silent = serve(move |mut stream| {
            request(&stream);
            let _ = stream.write_all(format!("{head}{page}").as_bytes());
            open.push(stream);
        });
        assert_eq!(failure(SHORT, silent), expected);
    }
    // Its end is not waited for.
    let mut open = Vec::new();
    let silent = serve(move |mut stream| {
        request(&stream);
        let _ = stream.write_all(b"HTTP/1.1 403 x\r\n\r\n<title>Oops");
        open.push(stream);
    });
    let started = Instant::now();
    assert_eq!(failure(LONG, silent), "http: status 403 Forbidden: page \"Oops\"");
    assert!(started.elapsed() < LONG / 2);
    let reset = reset_after("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9999\r\n\r\n<title>Oops</title>");
    assert!(failure(LONG, reset).starts_with("http: status 502 Bad Gateway"));
}

/// The failure of a whole reply, which is not a message, and its cause.
fn failure_of(reply: impl Into<Vec<u8>>) -> (String, Cause) {
    let reply = client(LONG).post(&Endpoint::new(&format!("http://{}/", answer(reply)), None).unwrap(), b"message");
    let failure = message(&reply.unwrap()).unwrap_err();
    (failure.to_string(), failure.cause)
}

#[test]
fn a_reply_that_is_not_a_message_is_shown_with_its_cause() {
    const INSECURE: &str = "Content-Type: application/x-civi-cxn\r\n\r\nCXN-0.2-INSECURE\x01{\"error_message\":\"No\"}";
    let page = || Cause::Page("Log In".to_owned());
    for (head_and_body, expected, cause) in [
        (
            "200 OK\r\nContent-Type: text/html; charset=x\r\n\r\n<title>Log In</title>",
            "not a message: page \"Log In\" (text/html)",
            page(),
        ),
        ("203 x\r\n\r\n<title>Log In</title>", "status 203 Non Authoritative Information: page \"Log In\"", page()),
        ("200 OK\r\nContent-Length: 0\r\n\r\n", "not a message: empty body", Cause::Message),
        ("204 x\r\nContent-Length: 7\r\n\r\nignored", "status 204 No Content: empty body", Cause::Message),
        ("200 OK\r\nContent-Encoding: br\r\n\r\n\u{1}\u{2}", "not a message: compressed with br", Cause::Message),
        ("200 OK\r\n\r\n\nCXN-0.2-AES-CBC-HMAC\x01", "blank lines before the message", Cause::Message),
        (&format!("200 OK\r\n{INSECURE}"), "unencrypted reply \"No\"", Cause::Status(200, Some("No".to_owned()))),
    ] {
        assert_eq!(failure_of(format!("HTTP/1.1 {head_and_body}")), (format!("garbled: {expected}"), cause));
    }
    let (failure, cause) = failure_of(format!("HTTP/1.1 400 x\r\n{INSECURE}"));
    assert_eq!(failure, "http: status 400 Bad Request: unencrypted reply \"No\"");
    assert_eq!(cause, Cause::Status(400, Some("No".to_owned())));
    let (_, cause) = failure_of("HTTP/1.1 403 x\r\n\r\n<title>Log In</title>");
    assert_eq!(cause, Cause::Status(403, None));
}

#[test]
fn retry_after_is_passed_on() {
    let retry_after_of = |status: u16, value: &str| {
        let reply = format!("HTTP/1.1 {status} x\r\nRetry-After: {value}\r\n\r\n");
        post(&client(LONG), &format!("http://{}/", answer(reply))).unwrap_err().retry_after
    };
    let retry_after = |value: &str| retry_after_of(503, value);
    assert_eq!(retry_after_of(429, "\"20\", 1.5s\r\nRetry-After: 240\r\nRetry-After: 30"), Some(240));
    assert_eq!([403, 500, 502].map(|status| retry_after_of(status, "30")), [None; 3]);
    let date =
        |in_seconds| (Utc::now() + TimeDelta::seconds(in_seconds)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    assert_eq!(retry_after("30"), Some(30));
    assert!((3000..=3600).contains(&retry_after(&date(3600)).unwrap()));
    assert_eq!(retry_after(&date(-3600)), Some(0));
    assert_eq!(retry_after(&date(1_000_000)), Some(86_400));
    assert_eq!(retry_after("later"), None);
}
