//! Limits of time.

use super::*;
use std::time::Instant;

#[test]
fn silence_is_a_timeout() {
    assert_eq!(failure(SHORT, silence()), "timeout: timed out while waiting for the reply");
}

#[test]
fn the_limit_of_a_call_ends_a_reply_that_drips() {
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

/// A server that accepts no connection and whose queue is full, as long as the second value lives.
fn crowded() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, SHORT).ok()).take(64).collect();
    (address, (listener, waiting))
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
    let (crowded, _open) = crowded();
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
    // The limit of the first byte does not apply to the body.
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
fn redirects_do_not_extend_the_limit_of_a_call() {
    let mut hops = 0;
    let address = serve(move |mut stream| {
        request(&stream);
        thread::sleep(SHORT / 2);
        hops += 1;
        let reply = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: /{hops}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(reply.as_bytes());
    });
    let started = Instant::now();
    let failure = failure(SHORT, address);
    assert!(failure.starts_with(&format!("timeout: at {address}: timed out while ")), "{failure}");
    assert!(started.elapsed() >= SHORT);
}
