//! Replies that are failures: their status, or what is not HTTP.

use super::*;
use chrono::{TimeDelta, Utc};

#[test]
fn a_reply_that_is_not_http_is_garbled() {
    for reply in [
        "<html>secret</html>\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ] {
        let failure = failure(LONG, answer(reply));
        assert!(failure.starts_with("garbled: ") && !failure.contains("secret"), "{failure}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000));
    assert!(failure(LONG, answer(many)).starts_with("garbled: "));
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
