//! Replies that arrive before the request has been sent.

use super::*;
use crate::model::Tls;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use rustls::{ALL_VERSIONS, ServerConnection, StreamOwned};
use std::sync::Arc;
use std::time::Instant;

/// More than the buffers between both ends take, in bytes.
const LARGE: usize = 8 << 20;

/// What the server does after it has sent its reply, with nothing of the request read.
#[derive(Debug, Clone, Copy)]
enum Then {
    Reset,
    Hold,
    TakeTheRest,
}

/// Starts a server that sends these pieces when a connection is there.
fn early(pieces: &'static [&'static str], then: Then) -> String {
    let address = early_after(then, move |stream| send(pieces, stream));
    format!("http://{address}/")
}

/// Starts a server that makes a TLS handshake and sends these pieces.
fn early_in_tls(pieces: &'static [&'static str], then: Then) -> String {
    let config = Arc::new(server_config(ALL_VERSIONS));
    let address = early_after(then, move |stream| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(stream).unwrap();
        }
        send(pieces, &mut rustls::Stream::new(&mut tls, stream));
    });
    format!("https://{address}/")
}

fn send(pieces: &[&str], stream: &mut impl Write) {
    for (index, piece) in pieces.iter().enumerate() {
        thread::sleep(Duration::from_millis(if index == 0 { 0 } else { 50 }));
        stream.write_all(piece.as_bytes()).unwrap();
    }
}

/// Starts a server that calls `answer` when a connection is there, with nothing of the request read.
fn early_after(then: Then, answer: impl Fn(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            // A reset discards what has not been sent yet.
            stream.set_nodelay(true).unwrap();
            answer(&mut stream);
            match then {
                Then::Reset => set_socket_linger(&stream, Some(Duration::ZERO)).unwrap(),
                Then::Hold => open.push(stream),
                Then::TakeTheRest => {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                }
            }
        }
    });
    address
}

fn post_of(length: usize, timeout: Duration, url: &str) -> Result<Vec<u8>, String> {
    let timeouts = Timeouts { call: timeout, ..Timeouts::default() };
    let allow_net = vec!["127.0.0.1/32".parse().unwrap()];
    let client = Client::new(Options { allow_net, timeouts, tls: Tls::SkipVerify, ..Options::default() });
    let reply = client.post(&Endpoint::new(url, None).unwrap(), &vec![0; length]);
    reply.and_then(|reply| body(&reply)).map_err(|failure| failure.to_string())
}

#[test]
fn a_reply_that_has_arrived_counts_whatever_became_of_the_request() {
    assert_early_replies_count(early);
}

#[test]
fn a_reply_that_has_arrived_in_tls_counts_whatever_became_of_the_request() {
    assert_early_replies_count(early_in_tls);
}

fn assert_early_replies_count(early: fn(&'static [&'static str], Then) -> String) {
    let status = "http: status 403 Forbidden";
    for then in [Then::Reset, Then::Hold, Then::TakeTheRest] {
        for (pieces, expected) in [
            (
                &["HTTP/1.1 403 x\r\nContent-Length: 5\r\n\r\nabcde"][..],
                Err("http: status 403 Forbidden: text \"abcde\""),
            ),
            (&["HTTP/1.1 403 x\r\n\r\n"], Err(status)),
            (&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 ", "403 x\r\nContent-Length: 0\r\n\r\n"], Err(status)),
            (&["HTTP/1.1 200 OK\r\n", "Content-Length: 1\r\n\r\n!"], Ok(&b"!"[..])),
            (&["220 mail.example\r\n"], Err("garbled: not HTTP: 220 mail.example")),
        ] {
            let reply = post_of(LARGE, LONG, &early(pieces, then));
            assert_eq!(reply.as_deref().map_err(String::as_str), expected, "{then:?} {pieces:?}");
        }
    }
    let small = post_of(10, LONG, &early(&["HTTP/1.1 403 x\r\n\r\n"], Then::Reset));
    assert_eq!(small.unwrap_err(), status);
}

#[test]
fn sending_goes_on_after_an_interim_head_and_after_the_start_of_a_success() {
    for early in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"] {
        let answer = |stream: &mut dyn ReadAndWrite| {
            stream.write_all(early.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(50));
            let length = request(&mut *stream).split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            let head = if early.contains("200") { "" } else { "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" };
            let _ = stream.write_all(format!("{head}{length:08}").as_bytes());
        };
        let plain = serve(move |mut stream| answer(&mut stream));
        let config = Arc::new(server_config(ALL_VERSIONS));
        let tls = serve(move |stream| {
            answer(&mut StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream));
        });
        for url in [format!("http://{plain}/"), format!("https://{tls}/")] {
            assert_eq!(post_of(LARGE, LONG, &url), Ok(format!("{LARGE:08}").into_bytes()), "{url}");
        }
    }
}

trait ReadAndWrite: Read + Write {}

impl<T: Read + Write> ReadAndWrite for T {}

#[test]
fn a_request_that_cannot_be_sent_is_a_failure_of_sending() {
    for early in [early, early_in_tls] {
        let started = Instant::now();
        let silent = post_of(LARGE, SHORT, &early(&[], Then::Hold));
        assert_eq!(silent.unwrap_err(), "timeout: timed out while sending the request");
        assert!((SHORT..LONG / 4).contains(&started.elapsed()));
        for pieces in [&[][..], &["HTTP/1.1 100 Continue\r\n\r\n"]] {
            let reset = post_of(LARGE, LONG, &early(pieces, Then::Reset)).unwrap_err();
            assert!(reset.starts_with("disconnected: ") && reset.ends_with(" while sending the request"), "{reset}");
        }
    }
}
