//! Redirects: which are followed, and how the others are reported.

use super::*;
use crate::model::{Cause, FailureClass, ViaPort};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, mpsc};

#[test]
fn only_307_and_308_are_followed_with_the_body_three_times() {
    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let address = serve(move |mut stream| {
            let request = request(&stream);
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let next: u32 = path[1..].parse::<u32>().unwrap() + 1;
            seen.lock().unwrap().push((path.clone(), request.ends_with("\r\n\r\nmessage")));
            let reply = if path == "/3" {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()
            } else {
                format!("HTTP/1.1 {status}\r\nLocation: {next}\r\nContent-Length: 0\r\n\r\n")
            };
            let _ = stream.write_all(reply.as_bytes());
        });
        assert_eq!(post(&client(LONG), &format!("http://{address}/0")).unwrap(), b"ok");
        let expected: Vec<_> = (0..4).map(|hop| (format!("/{hop}"), true)).collect();
        assert_eq!(*requests.lock().unwrap(), expected);

        let failure = post(&client(LONG), &format!("http://{address}/5")).unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("redirect: at {address}: redirected too many times ({status}) to http://{address}/9")
        );
    }
}

#[test]
fn the_target_of_any_other_redirect_is_in_the_message() {
    for (status, location, expected) in [
        ("301", "https://u:p@o.example/a?k=1#f", "redirected (301 Moved Permanently) to https://o.example/a?…"),
        ("301", "https://o.example/b?key=1", "redirected (301 Moved Permanently) to https://o.example/b?key=1"),
        ("302", "//o.example", "redirected (302 Found) to http://o.example/"),
        ("303", "http://127.0.0.1:1/", "redirected (303 See Other) to http://127.0.0.1:1/"),
        ("300", "http://[::1", "status 300 Multiple Choices: redirected to an invalid URL: invalid IPv6 address"),
    ] {
        let reply = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\n\r\n");
        assert_eq!(failure(LONG, answer(reply)), format!("redirect: {expected}"));
    }
    for (reply, expected) in [
        ("HTTP/1.1 307 x\r\n\r\n", "status 307 Temporary Redirect without a location"),
        ("HTTP/1.1 304 x\r\n\r\n", "status 304 Not Modified without a location"),
    ] {
        assert_eq!(failure(LONG, answer(reply)), format!("redirect: {expected}"));
    }
}

#[test]
fn a_target_that_cannot_be_called_has_the_redirect_as_its_cause() {
    let reply = "HTTP/1.1 307 x\r\nLocation: http://10.0.0.1/login\r\nContent-Length: 0\r\n\r\n";
    let failure = post(&client(LONG), &format!("http://{}/", answer(reply))).unwrap_err();
    assert_eq!((failure.class, failure.cause), (FailureClass::Blocked, Cause::Redirect("10.0.0.1".to_owned())));
}

#[test]
fn a_redirect_is_followed_without_the_via_port() {
    let (sender, hosts) = mpsc::channel();
    let direct = serve(move |mut stream| {
        sender.send(request(&stream)).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let proxy = answer("HTTP/1.1 307 x\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n");
    let via: ViaPort = proxy.to_string().parse().unwrap();
    let site = format!("site.example:{}", direct.port());
    let client = client_with(LONG, Box::new(|_| Ok(vec![IpAddr::from([127, 0, 0, 1])])));
    client.post(&Endpoint::new(&format!("http://{site}/"), Some(&via)).unwrap(), b"").unwrap();
    let request = hosts.recv().unwrap();
    assert!(request.starts_with("POST /next ") && request.contains(&format!("\r\nhost: {site}\r\n")), "{request}");
}

#[test]
fn after_a_redirect_a_failure_names_the_host() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let missing = answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let moved = answer("HTTP/1.1 301 x\r\nLocation: https://www.o.example/a\r\n\r\n");
    let cut = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
    for (to, expected) in [
        (closed, "connect: at HOST: Connection refused"),
        (missing, "http: at HOST: status 404 Not Found"),
        (
            moved,
            "redirect: at HOST: redirected (308 Permanent Redirect, then 301 Moved Permanently) to https://www.o.example/a",
        ),
        (cut, "disconnected: at HOST: "),
    ] {
        let reply = format!("HTTP/1.1 308 x\r\nLocation: http://{to}/a\r\n\r\n");
        let failure = failure(LONG, answer(reply));
        assert!(failure.starts_with(&expected.replace("HOST", &to.to_string())), "{failure}");
    }
}
