//! Calls over real sockets of the loopback interface, to servers that do one thing each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};

use super::resolver::LookUp;
use super::{Api, Client, Options, Target, Timeouts};
use crate::model::{AppId, BatchCode, Cxn, Failure, FailureClass, Secret, ViaPort};

/// A limit that no test reaches.
const LONG: Duration = Duration::from_secs(60);
/// A limit that is reached on purpose.
const SHORT: Duration = Duration::from_millis(300);

/// A server that hands each connection to `handle`, one after the other.
fn serve(handle: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(handle));
    address
}

/// A server that reads a request, replies, and closes.
fn answer(reply: impl Into<Vec<u8>>) -> SocketAddr {
    let reply = reply.into();
    serve(move |mut stream| {
        request(&stream);
        let _ = stream.write_all(&reply);
    })
}

/// A server that takes connections and never says a word.
fn silence() -> SocketAddr {
    let mut open = Vec::new();
    serve(move |stream| open.push(stream))
}

/// A server that waits for the whole request, writes `reply`, and closes with data unread, which resets the connection.
fn reset_after(reply: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let mut seen = [0; 1024];
        while stream.peek(&mut seen).is_ok_and(|length| length > 0 && !seen[..length].ends_with(b"message")) {
            thread::yield_now();
        }
        let _ = stream.write_all(reply.as_bytes());
    })
}

/// Reads a request whole: head and body.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    while !request.ends_with("\r\n\r\n") {
        let start = request.len();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            break;
        }
        if let Some(value) = request[start..].strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    request + &String::from_utf8_lossy(&body)
}

/// A client that may call 127.0.0.1, and that knows no names.
fn client(timeout: Duration) -> Client {
    client_with(timeout, Box::new(|_| Err(std::io::Error::other("Name or service not known"))))
}

fn client_with(timeout: Duration, look_up: Box<LookUp>) -> Client {
    limited(Timeouts { call: timeout, ..Timeouts::default() }, look_up)
}

fn limited(timeouts: Timeouts, look_up: Box<LookUp>) -> Client {
    let allow_net = vec!["127.0.0.1/32".parse().unwrap()];
    Client::with_look_up(Options { allow_net, timeouts, ..Options::default() }, look_up)
}

fn post(client: &Client, url: &str) -> Result<Vec<u8>, Failure> {
    client.post(&Target::new(url, None)?, b"message")
}

/// What a call to this server fails with, as a person sees it.
fn failure(timeout: Duration, address: SocketAddr) -> String {
    post(&client(timeout), &format!("http://{address}/x?key=1")).unwrap_err().to_string()
}

#[test]
fn a_call_looks_as_the_protocol_wants_it() {
    let (sender, requests) = mpsc::channel();
    let address = serve(move |mut stream| {
        sender.send(request(&stream)).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nreply").unwrap();
    });
    let client = Client::new(Options {
        allow_net: vec!["127.0.0.0/8".parse().unwrap()],
        user_agent: "poller/1\r\n(é)".into(),
        ..Options::default()
    });
    let sent = |target: Target| {
        assert_eq!(client.post(&target, b"message").unwrap(), b"reply");
        let request = requests.recv().unwrap();
        let mut lines: Vec<_> = request.split("\r\n").map(str::to_owned).collect();
        lines[1..].sort();
        lines
    };
    let expected = |host: &str| {
        let mut lines = vec![
            "POST /a?b=%20c HTTP/1.1".to_owned(),
            String::new(),
            "accept-encoding: identity".to_owned(),
            "accept: */*".to_owned(),
            "connection: close".to_owned(),
            "content-length: 7".to_owned(),
            "content-type: application/x-civi-cxn".to_owned(),
            format!("host: {host}"),
            "message".to_owned(),
            "user-agent: poller/1??(?)".to_owned(),
        ];
        lines[1..].sort();
        lines
    };

    let direct = Target::new(&format!("http://u:p@{address}/a?b=%20c#d"), None).unwrap();
    assert_eq!(sent(direct), expected(&address.to_string()));

    let via: ViaPort = address.to_string().parse().unwrap();
    let via = Target::new("http://Site.example.org:81/a?b=%20c", Some(&via)).unwrap();
    assert_eq!(sent(via), expected("site.example.org"));
}

#[test]
fn bodies_of_every_framing_arrive_whole() {
    for (reply, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.0 200 OK\r\n\r\nuntil closed", "until closed"),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab\r\n\r\n0\r\n\r\n", "ab\r\n"),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", "!"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", "!"),
    ] {
        let got = post(&client(LONG), &format!("http://{}/", answer(reply))).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), body);
    }
}

#[test]
fn a_closed_port_refuses() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(failure(LONG, address), "connect: Connection refused");
}

#[test]
fn a_connection_can_end_early() {
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
fn a_connection_can_be_reset() {
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
fn silence_is_a_timeout() {
    assert_eq!(failure(SHORT, silence()), "timeout: timed out while waiting for the reply");
}

#[test]
fn a_dripping_reply_ends_with_the_call() {
    for (head, phase) in [("HTTP/1.1 200 OK\r\nX: ", "waiting for"), ("HTTP/1.1 200 OK\r\n\r\n", "reading")] {
        let address = serve(move |mut stream| {
            request(&stream);
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        assert_eq!(failure(SHORT, address), format!("timeout: timed out while {phase} the reply"));
    }
}

/// A server whose queue of connections is full, so that nobody gets through.
fn crowded() -> (SocketAddr, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, SHORT).ok()).take(64).collect();
    // It must stay open, and never accept.
    std::mem::forget(listener);
    (address, waiting)
}

#[test]
fn each_phase_has_a_limit_of_its_own() {
    let limited = |set: fn(&mut Timeouts)| {
        let mut timeouts = Timeouts { resolve: LONG, connect: LONG, tls: LONG, first_byte: None, call: LONG };
        set(&mut timeouts);
        limited(
            timeouts,
            Box::new(|_| {
                thread::sleep(LONG);
                Ok(vec![])
            }),
        )
    };
    let (crowded, _waiting) = crowded();
    // One byte of a record at a time.
    let dripping = serve(|mut stream| {
        thread::spawn(move || {
            for byte in [&[22, 3, 3, 0x3f, 0xff][..], &[0; 1000]].concat() {
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                thread::sleep(SHORT / 10);
            }
        });
    });
    for (client, url, phase) in [
        (limited(|limits| limits.resolve = SHORT), "http://hangs.example/".to_owned(), "resolving the host's name"),
        (limited(|limits| limits.connect = SHORT), format!("http://{crowded}/"), "connecting"),
        (limited(|limits| limits.connect = SHORT), format!("https://{crowded}/"), "connecting"),
        (limited(|limits| limits.tls = SHORT), format!("https://{}/", silence()), "making the TLS connection"),
        (limited(|limits| limits.tls = SHORT), format!("https://{dripping}/"), "making the TLS connection"),
        (limited(|limits| limits.first_byte = Some(SHORT)), format!("http://{}/", silence()), "waiting for the reply"),
        (limited(|limits| limits.call = SHORT), format!("https://{dripping}/"), "making the TLS connection"),
    ] {
        let started = Instant::now();
        assert_eq!(post(&client, &url).unwrap_err().to_string(), format!("timeout: timed out while {phase}"), "{url}");
        assert!((SHORT..LONG / 4).contains(&started.elapsed()), "{url}");
    }
    // The limit of the first byte is none for the body, nor that of connecting for TLS.
    let slow = serve(|mut stream| {
        request(&stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        for _ in 0..2 {
            thread::sleep(SHORT);
            let _ = stream.write_all(b"x");
        }
    });
    assert_eq!(post(&limited(|limits| limits.first_byte = Some(SHORT)), &format!("http://{slow}/")).unwrap(), b"xx");
}

#[test]
fn what_breaks_a_rule_of_the_protocol_is_told_by_rule() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../fixtures/vectors.json")).unwrap();
    let mut classes = std::collections::BTreeMap::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |key: &str| vector[key].as_str().unwrap_or_default();
        let Ok(secret) = Secret::from_base64(text("secret")) else { continue };
        let kind = vector["expect"]["kind"].as_str().unwrap_or_default();
        // The real clock judges here, by which some are still good.
        let is_good_yet = kind == "expired" && vector["ttl"].as_i64().is_some_and(|ttl| ttl >= Utc::now().timestamp());
        if text("direction") != "reply" || kind.is_empty() || is_good_yet {
            continue;
        }
        let body = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text("message_b64")).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let cxn = Cxn {
            cxn_id: text("cxnId").parse().unwrap(),
            secret,
            app_id: AppId::from_argument("org.example.myapp").unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: format!("http://{}/", answer([head.into_bytes(), body].concat())),
            perm: Arc::default(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        };
        let client = client(LONG);
        let failure = Api::new(&client, &cxn, "").call("System", "get", serde_json::Map::new()).unwrap_err();
        let expected = if matches!(kind, "garbled" | "unrecognized_type") { "garbled" } else { "protocol" };
        assert_eq!(failure.class.name(), expected, "{}: {failure}", text("name"));
        assert!(!failure.unreached);
        *classes.entry(failure.to_string()).or_insert(0) += 1;
    }
    assert!(classes.len() >= 5 && classes.values().sum::<i32>() > 20, "{classes:?}");
}

#[test]
fn redirects_do_not_lengthen_a_call() {
    let address = serve(|mut stream| {
        request(&stream);
        thread::sleep(SHORT / 2);
        let _ = stream.write_all(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    });
    let started = Instant::now();
    let failure = failure(SHORT, address);
    assert!(failure.starts_with("timeout: timed out while "), "{failure}");
    assert!(started.elapsed() >= SHORT);
}

#[test]
fn a_reply_that_is_too_large_is_not_taken() {
    let body = |length: usize| [&b"CXN-0.2-AES-CBC-HMAC\x01"[..], &vec![b'x'; length - 21]].concat();
    let limit = 1024 * 1024;
    let whole = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body(limit)].concat();
    assert_eq!(post(&client(LONG), &format!("http://{}/", answer(whole))).unwrap().len(), limit);

    // Of what is no message the beginning is enough.
    let page = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; limit]].concat();
    assert_eq!(post(&client(LONG), &format!("http://{}/", answer(page))).unwrap(), [b'x'; 16 * 1024]);

    let endless = |head: &'static str| {
        serve(move |mut stream| {
            request(&stream);
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        })
    };
    for (address, expected) in [
        (answer([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body(limit + 1)].concat()), "body of more than 1048576 bytes"),
        // Only announced: nothing of it comes.
        (answer("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"), "body of more than 1048576 bytes"),
        (answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX)), "body of more than 1048576 bytes"),
        (endless("HTTP/1.1 200 OK\r\n\r\nCXN-0.2-AES-CBC-HMAC\x01"), "body of more than 1048576 bytes"),
        (endless("HTTP/1.1 200 OK\r\n\r\n"), "body of more than 1048576 bytes"),
        (endless("HTTP/1.1 200 OK\r\nX: "), "header of more than 16383 bytes"),
    ] {
        assert_eq!(failure(LONG, address), format!("too-large: {expected}"));
    }
}

#[test]
fn what_is_not_http_is_garbled() {
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
fn a_status_of_400_and_above_is_a_failure_whatever_the_body() {
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

#[test]
fn two_kinds_of_redirect_are_followed_with_the_body_and_three_at_most() {
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
            format!("redirect: redirected once too often ({status}) to http://{address}/9")
        );
    }
}

#[test]
fn other_redirects_are_failures_that_say_where_to() {
    for (status, location, expected) in [
        ("301", "https://u:p@o.example/a?k=1#f", "redirected (301 Moved Permanently) to https://o.example/a?…"),
        ("301", "https://o.example/b?key=1", "redirected (301 Moved Permanently) to https://o.example/b?key=1"),
        ("302", "//o.example", "redirected (302 Found) to http://o.example/"),
        ("303", "http://127.0.0.1:1/", "redirected (303 See Other) to http://127.0.0.1:1/"),
        ("300", "http://[::1", "redirected to what can't be read: invalid IPv6 address"),
    ] {
        let reply = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\n\r\n");
        assert_eq!(failure(LONG, answer(reply)), format!("redirect: {expected}"));
    }
    for (reply, expected) in [
        ("HTTP/1.1 307 x\r\n\r\n", "status 307 Temporary Redirect, but no place to go to"),
        ("HTTP/1.1 304 x\r\n\r\n", "status 304 Not Modified, but no place to go to"),
    ] {
        assert_eq!(failure(LONG, answer(reply)), format!("redirect: {expected}"));
    }
}

#[test]
fn where_a_site_has_moved_to_is_known_where_its_place_is_whole() {
    let moved = |location: &str| {
        let reply = format!("HTTP/1.1 301 x\r\nLocation: {location}\r\n\r\n");
        let failure = post(&client(LONG), &format!("http://{}/x?key=1", answer(reply))).unwrap_err();
        super::moved_to(&failure).map(str::to_owned)
    };
    assert_eq!(moved("https://o.example/a?key=1").as_deref(), Some("https://o.example/a?key=1"));
    assert_eq!(moved("https://o.example/a"), Some("https://o.example/a".to_owned()));
    assert_eq!(moved("https://o.example/a?key=2"), None);
    assert_eq!(moved(&format!("https://o.example/{}", "a".repeat(300))), None);
    let other = Failure::new(FailureClass::Http, "status (1) to https://o.example/");
    assert_eq!(super::moved_to(&other), None);
}

#[test]
fn ports_of_other_services_are_refused_wherever_they_come_from() {
    let refused = |port: u16| format!("blocked: port {port} is refused: other services than web servers use it");
    let client = client_with(LONG, Box::new(|_| panic!("no name is looked up")));
    let told = |target: Target| client.post(&target, b"").unwrap_err().to_string();
    assert_eq!(told(Target::new("http://site.example:25/", None).unwrap()), refused(25));
    assert_eq!(told(Target::new("https://127.0.0.1:0/", None).unwrap()), refused(0));
    let via: ViaPort = "proxy.example:22".parse().unwrap();
    assert_eq!(told(Target::new("http://site.example/", Some(&via)).unwrap()), refused(22));
    let redirect = answer("HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:6667/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(told(Target::new(&format!("http://{redirect}/"), None).unwrap()), refused(6667));
}

#[test]
fn a_redirect_is_judged_as_the_first_address_was() {
    for (location, expected) in [
        ("http://[::1]:8080/", "::1 is not a public address (loopback)"),
        ("http://169.254.169.254/latest", "169.254.169.254 is not a public address (link-local)"),
        ("http://2130706434/", "127.0.0.2 is not a public address (loopback)"),
        ("gopher://127.0.0.1/", "only http and https are called, not gopher"),
    ] {
        let reply = format!("HTTP/1.1 308 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(failure(LONG, answer(reply)), format!("blocked: {expected}"));
    }
}

#[test]
fn a_redirect_leaves_the_via_port() {
    let (sender, hosts) = mpsc::channel();
    let direct = serve(move |mut stream| {
        sender.send(request(&stream)).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let proxy = answer("HTTP/1.1 307 x\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n");
    let via: ViaPort = proxy.to_string().parse().unwrap();
    let site = format!("site.example:{}", direct.port());
    let client = client_with(LONG, Box::new(|_| Ok(vec![IpAddr::from([127, 0, 0, 1])])));
    assert_eq!(client.post(&Target::new(&format!("http://{site}/"), Some(&via)).unwrap(), b""), Ok(vec![]));
    let request = hosts.recv().unwrap();
    assert!(request.starts_with("POST /next ") && request.contains(&format!("\r\nhost: {site}\r\n")), "{request}");
}

#[test]
fn own_networks_are_blocked_by_default() {
    let address = answer("HTTP/1.1 200 OK\r\n\r\n");
    let client = Client::with_look_up(
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
        assert_eq!(failure, Failure::new(FailureClass::Blocked, expected), "{host}");

        // And as a viaPort, where that is one.
        if let Ok(via) = format!("{host}:{}", address.port()).parse::<ViaPort>() {
            let target = Target::new("http://public.example/", Some(&via)).unwrap();
            assert_eq!(client.post(&target, b"").unwrap_err(), Failure::new(FailureClass::Blocked, expected), "{host}");
        }
    }
}

#[test]
fn of_several_addresses_only_allowed_ones_are_tried() {
    let address = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let many = (1..=40).map(|last| IpAddr::from([10, 0, 0, last])).chain([[127, 0, 0, 1].into()]).collect::<Vec<_>>();
    let client = client_with(LONG, Box::new(move |_| Ok(many.clone())));
    assert_eq!(post(&client, &format!("http://site.example:{}/", address.port())), Ok(vec![]));
}

#[test]
fn a_host_with_more_addresses_than_ureq_takes_does_no_harm() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client_with(LONG, Box::new(|_| Ok(vec![[127, 0, 0, 1].into(); 40])));
    let failure = post(&client, &format!("http://site.example:{}/", address.port())).unwrap_err();
    assert_eq!(failure.class, FailureClass::Connect);
}

#[test]
fn names_without_an_answer() {
    let failure = post(&client(LONG), "http://nowhere.example/").unwrap_err();
    assert_eq!(failure.to_string(), "dns: no address for nowhere.example: Name or service not known");

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
fn one_client_serves_all_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&client(LONG));
}

#[test]
fn what_never_ends_is_cut_off() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (start, piece, expected) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n", "too-large: header of more than 16383 bytes"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "too-large: header of more than 16383 bytes"),
        ("", "\r\n", "too-large: header of more than 16383 bytes"),
        ("HTTP/1.1 200 ", "x", "too-large: header of more than 16383 bytes"),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n", "garbled: not HTTP as it should be: "),
        (&format!("{CHUNKED}5;"), "x", "garbled: body data reading stalled while reading the reply"),
        (CHUNKED, "0", "garbled: body data reading stalled while reading the reply"),
        (CHUNKED, "1\r\nx\r\n", "too-large: reply of more than 4194304 bytes"),
        (&format!("{CHUNKED}0\r\n"), "X: y\r\n", "too-large: reply of more than 4194304 bytes"),
    ] {
        let (start, piece) = (start.to_owned(), piece.repeat(100));
        let address = serve(move |mut stream| {
            request(&stream);
            let _ = stream.write_all(start.as_bytes());
            while stream.write_all(piece.as_bytes()).is_ok() {}
        });
        let failure = failure(LONG, address);
        assert!(failure.starts_with(expected), "{failure}");
    }
}
