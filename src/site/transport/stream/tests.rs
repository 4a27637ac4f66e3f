use super::*;
use crate::model::PollTrace;
use crate::site::tests::{server_config, session};
use rustix::net::sockopt::set_socket_linger;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;

/// Returns the two ends of a connection.
fn connected() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (peer, _) = listener.accept().unwrap();
    // What it writes arrives at once.
    peer.set_nodelay(true).unwrap();
    (Stream::new(socket).unwrap(), peer)
}

/// Returns the two ends of a connection with TLS, and the session of the server.
fn secured(version: &'static SupportedProtocolVersion) -> (Stream, TcpStream, ServerConnection) {
    let (mut stream, mut peer) = connected();
    let mut server = ServerConnection::new(Arc::new(server_config(&[version]))).unwrap();
    let server = thread::spawn(move || {
        while server.is_handshaking() {
            server.complete_io(&mut peer).unwrap();
        }
        (peer, server)
    });
    stream.secure(session(), NextTimeout::default()).unwrap();
    // The last message of the handshake goes with the request.
    stream.transmit_output(0, NextTimeout::default()).unwrap();
    let (mut peer, mut server) = server.join().unwrap();
    flush(&mut server, &mut peer);
    (stream, peer, server)
}

fn flush(server: &mut ServerConnection, peer: &mut TcpStream) {
    while server.wants_write() {
        server.write_tls(peer).unwrap();
    }
}

/// Resets a connection.
fn reset(peer: TcpStream) -> Option<TcpStream> {
    set_socket_linger(peer, Some(Duration::ZERO)).unwrap();
    None
}

/// Waits until something has arrived, and returns whether the connection is idle.
fn is_idle(stream: &mut Stream) -> bool {
    wait(&stream.channel, PollFlags::IN, deadline(Duration::from_millis(50))).unwrap();
    stream.is_idle()
}

/// Sends a request, and returns what the server received.
fn sent(stream: &mut Stream, peer: &mut TcpStream, server: &mut ServerConnection) -> Vec<u8> {
    stream.buffers().output()[..4].copy_from_slice(b"POST");
    stream.transmit_output(4, NextTimeout::default()).unwrap();
    let mut received = [0; 4];
    rustls::Stream::new(server, peer).read_exact(&mut received).unwrap();
    received.to_vec()
}

#[test]
fn a_connection_on_which_something_arrived_is_not_idle() {
    trace::begin(PollTrace::default());
    let (mut stream, peer) = connected();
    assert!(is_idle(&mut stream));
    let cases: [fn(TcpStream) -> Option<TcpStream>; 3] = [
        |mut peer| peer.write_all(b"HTTP/1.1 408 x\r\n").map(|()| peer).ok(),
        |peer| peer.shutdown(Shutdown::Write).map(|()| peer).ok(),
        reset,
    ];
    for then in cases {
        let (mut stream, peer) = connected();
        let open = then(peer);
        assert!(!is_idle(&mut stream));
        drop(open);
    }
    assert!(!trace::current().answered, "nothing was asked yet");
    drop(peer);
}

#[test]
fn what_tls_sends_for_itself_leaves_a_connection_idle() {
    for version in [&TLS13, &TLS12] {
        let (mut stream, mut peer, mut server) = secured(version);
        assert!(is_idle(&mut stream), "tickets: {version:?}");
        if version == &TLS13 {
            server.refresh_traffic_keys().unwrap();
            flush(&mut server, &mut peer);
            assert!(is_idle(&mut stream), "new keys");
        }
        assert_eq!(sent(&mut stream, &mut peer, &mut server), b"POST");
        assert!(stream.is_open());
    }
}

#[test]
fn a_connection_has_no_buffers_while_it_waits() {
    trace::begin(PollTrace::default());
    let (mut stream, mut peer) = connected();
    for (output, received) in [([0; 4], &b"HTTP"[..]), (*b"POST", b"HTTPHTTP")] {
        stream.buffers().output()[..4].copy_from_slice(b"POST");
        stream.transmit_output(4, NextTimeout::default()).unwrap();
        peer.write_all(b"HTTP").unwrap();
        assert!(stream.await_input(NextTimeout::default()).unwrap());
        assert_eq!(stream.buffers().output()[..4], output, "a new buffer has zeros");
        assert_eq!(stream.buffers.input(), received);
    }
}

#[test]
fn a_tls_connection_on_which_anything_else_arrived_is_not_idle() {
    type Then = fn(&mut ServerConnection, TcpStream) -> Option<TcpStream>;
    let cases: [(&str, Then); 5] = [
        ("a late reply", |server, peer| server.writer().write_all(b"HTTP/1.1 408 x\r\n").map(|()| peer).ok()),
        ("the end of TLS", |server, peer| {
            server.send_close_notify();
            Some(peer)
        }),
        ("an alert", |server, peer| {
            server.read_tls(&mut &b"no record of TLS"[..]).unwrap();
            server.process_new_packets().map_err(|_| peer).err()
        }),
        ("the end", |_, peer| peer.shutdown(Shutdown::Write).map(|()| peer).ok()),
        ("a reset", |_, peer| reset(peer)),
    ];
    for version in [&TLS13, &TLS12] {
        for (name, then) in cases {
            let (mut stream, peer, mut server) = secured(version);
            let mut open = then(&mut server, peer);
            if let Some(peer) = &mut open {
                let _ = server.write_tls(peer);
            }
            assert!(!is_idle(&mut stream), "{name} {version:?}");
        }
    }
}
