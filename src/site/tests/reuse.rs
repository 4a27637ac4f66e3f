//! Connections that are used again, and requests that are sent once.

use super::*;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_tcp_cork};
use std::mem;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!";
/// More than the buffers between both ends take, in bytes.
const LARGE: usize = 8 << 20;

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    /// Replies that the client has read, and connections that the server has ended.
    read: AtomicUsize,
    ended: AtomicUsize,
    /// Connections on which nothing arrived after the server had ended them.
    silent: AtomicUsize,
    /// The requests that were read whole.
    requests: Mutex<Vec<String>>,
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until no connection is open.
    fn wait_until_closed(&self) {
        let started = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(started.elapsed() < LONG, "a connection stays open");
            thread::yield_now();
        }
    }
}

/// Starts a server that passes each connection to `handle`, with how many there were before.
fn serve_each(handle: impl Fn(&mut TcpStream, usize, &Seen) + Send + Sync + 'static) -> (SocketAddr, Arc<Seen>) {
    let (seen, handle) = (Arc::new(Seen::default()), Arc::new(handle));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let address = listener.local_addr().unwrap();
    let all = Arc::clone(&seen);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (handle, seen) = (Arc::clone(&handle), Arc::clone(&all));
            seen.open.fetch_add(1, Ordering::SeqCst);
            let before = seen.connections.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                handle(&mut stream, before, &seen);
                drop(stream);
                seen.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, seen)
}

/// Reads a whole request; `false` at the end of the connection.
fn receive(stream: &TcpStream, seen: &Seen) -> bool {
    let request = request(stream);
    let is_whole = request.contains("\r\n\r\n");
    if is_whole {
        seen.requests.lock().unwrap().push(request);
    }
    is_whole
}

/// Starts a server that sends the same reply to each request of a connection.
fn replying(reply: &'static str) -> (SocketAddr, Arc<Seen>) {
    serve_each(move |stream, _, seen| while receive(stream, seen) && stream.write_all(reply.as_bytes()).is_ok() {})
}

/// Starts a server that replies to the first request of each connection, and then calls `then`.
fn replying_once(then: impl Fn(&mut TcpStream, usize, &Seen) + Send + Sync + 'static) -> (SocketAddr, Arc<Seen>) {
    serve_each(move |stream, before, seen| {
        if receive(stream, seen) && stream.write_all(REPLY.as_bytes()).is_ok() {
            then(stream, before, seen);
        }
    })
}

fn reset(stream: &TcpStream) {
    set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

fn call(client: &Client, poll: &PollCalls, address: SocketAddr, body: &[u8]) -> Result<Vec<u8>, String> {
    call_url(client, poll, &format!("http://{address}/"), body)
}

fn call_url(client: &Client, poll: &PollCalls, url: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let reply = client.post_in_poll(poll, &Endpoint::new(url, None).unwrap(), body);
    reply.and_then(|reply| super::body(&reply)).map_err(|failure| failure.to_string())
}

#[test]
fn a_connection_is_used_again_if_the_reply_has_a_known_end_and_keeps_it_open() {
    for (reply, connections) in [
        (REPLY, 1),
        ("HTTP/1.1 404 x\r\nContent-Length: 5\r\n\r\nabcde", 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n", 1),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n!", 1),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", 1),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n!", 3),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\n!", 3),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 1\r\n\r\n!", 3),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!?", 3),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n", 3),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\n!\r\n0\r\n\r\n", 3),
        ("HTTP/1.1 204 No Content\r\n\r\n", 3),
        ("HTTP/1.1 101 x\r\n\r\n", 3),
    ] {
        let ((address, seen), client, poll) = (replying(reply), client(LONG), PollCalls::new(true));
        let replies: Vec<_> = (0..3).map(|_| call(&client, &poll, address, b"message")).collect();
        assert!(replies.iter().all(|reply| *reply == replies[0]), "{reply}: {replies:?}");
        assert_eq!((seen.connections(), seen.requests().len()), (connections, 3), "{reply}");
        assert!(!seen.requests()[0].contains("connection:"));
        client.end_poll(poll, || false);
        seen.wait_until_closed();
    }
}

#[test]
fn a_poll_that_keeps_no_connection_asks_the_server_to_close() {
    let ((address, seen), client, poll) = (replying(REPLY), client(LONG), PollCalls::new(false));
    call(&client, &poll, address, b"").unwrap();
    call(&client, &poll, address, b"").unwrap();
    seen.wait_until_closed();
    assert!(seen.connections() == 2 && seen.requests()[0].contains("connection: close\r\n"));
}

#[test]
fn a_connection_that_was_closed_or_received_anything_is_not_written_to() {
    /// What the server does after its reply; an empty text ends the connection.
    const THEN: [&str; 5] = ["end in the segment of the reply", "reset", "", "\r\n", "HTTP/1.1 408 x\r\n\r\n"];
    for then in THEN {
        let is_at_once = then == THEN[0];
        let (address, seen) = serve_each(move |stream, before, seen| {
            assert!(receive(stream, seen));
            set_tcp_cork(&*stream, is_at_once).unwrap();
            stream.write_all(REPLY.as_bytes()).unwrap();
            while !is_at_once && seen.read.load(Ordering::SeqCst) <= before {
                thread::yield_now();
            }
            match then {
                "reset" => return reset(stream),
                _ if is_at_once || then.is_empty() => stream.shutdown(Shutdown::Write).unwrap(),
                late => stream.write_all(late.as_bytes()).unwrap(),
            }
            seen.ended.fetch_add(1, Ordering::SeqCst);
            assert_eq!(stream.read(&mut [0; 1024]).unwrap_or(0), 0);
            seen.silent.fetch_add(1, Ordering::SeqCst);
        });
        let (client, poll) = (client(LONG), PollCalls::new(true));
        for calls in 1..4 {
            assert_eq!(call(&client, &poll, address, b"message").unwrap(), b"!");
            seen.read.fetch_add(1, Ordering::SeqCst);
            // A server that resets the connection closes it.
            while seen.ended.load(Ordering::SeqCst) < calls && seen.open.load(Ordering::SeqCst) > 0 {
                thread::yield_now();
            }
        }
        assert_eq!((seen.connections(), seen.requests().len()), (3, 3), "{then}");
        client.end_poll(poll, || false);
        seen.wait_until_closed();
        assert_eq!(seen.silent.load(Ordering::SeqCst), if then == "reset" { 0 } else { 3 }, "{then}");
    }
}

#[test]
fn a_request_that_was_not_sent_whole_over_a_used_connection_is_sent_once_more_over_a_new_one() {
    for ends in [
        |stream: &TcpStream| reset(stream),
        |stream: &TcpStream| {
            stream.shutdown(Shutdown::Write).unwrap();
            thread::sleep(Duration::from_millis(50));
        },
    ] {
        // With data unread, closing resets the connection.
        let (address, seen) = replying_once(move |stream, before, seen| {
            if before == 0 {
                stream.read_exact(&mut [0; 1000]).unwrap();
                ends(stream);
            } else {
                receive(stream, seen);
            }
        });
        let (client, poll) = (client(LONG), PollCalls::new(true));
        call(&client, &poll, address, b"first").unwrap();
        assert_eq!(call(&client, &poll, address, &vec![b'x'; LARGE]).unwrap(), b"!");
        let lengths: Vec<_> = seen.requests().iter().map(|request| request.len() > LARGE).collect();
        assert_eq!((seen.connections(), lengths), (2, vec![false, true]));
    }
}

#[test]
fn a_request_is_not_sent_a_third_time() {
    let (address, seen) = serve_each(|stream, before, seen| {
        if before == 0 {
            assert!(receive(stream, seen));
            stream.write_all(REPLY.as_bytes()).unwrap();
        }
        stream.read_exact(&mut [0; 1000]).unwrap();
        reset(stream);
    });
    let (client, poll) = (client(LONG), PollCalls::new(true));
    call(&client, &poll, address, b"first").unwrap();
    let failure = call(&client, &poll, address, &vec![b'x'; LARGE]).unwrap_err();
    assert!(failure.starts_with("disconnected: "), "{failure}");
    assert_eq!((seen.connections(), seen.requests().len()), (2, 1));
}

#[test]
fn the_trace_is_that_of_the_connection_over_which_the_request_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        assert!(receive(&stream, &Seen::default()));
        stream.write_all(REPLY.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        reset(&stream);
    });
    let client = client(LONG);
    let [first, second] = [PollCalls::new(true), PollCalls::new(true)];
    call(&client, &first, address, b"first").unwrap();
    client.end_poll(first, || true);
    let failure = call(&client, &second, address, &vec![b'x'; LARGE]).unwrap_err();
    assert!(failure.starts_with("connect: "), "{failure}");
    let trace = client.end_poll(second, || false);
    assert_eq!((trace.address, trace.connected), (Some(address.ip()), false));
}

#[test]
fn a_request_that_was_sent_whole_is_not_sent_again() {
    for reply in ["", "HTTP/1.1 "] {
        for is_reset in [false, true] {
            let (address, seen) = replying_once(move |stream, _, seen| {
                assert!(receive(stream, seen));
                stream.write_all(reply.as_bytes()).unwrap();
                if is_reset {
                    reset(stream);
                }
            });
            let (client, poll) = (client(LONG), PollCalls::new(true));
            call(&client, &poll, address, b"first").unwrap();
            let failure = call(&client, &poll, address, b"second").unwrap_err();
            assert!(failure.starts_with("disconnected: "), "{failure}");
            assert_eq!((seen.connections(), seen.requests().len()), (1, 2), "{reply} {is_reset}");
        }
    }
}

#[test]
fn a_connection_is_not_used_again_after_an_early_reply() {
    let (address, seen) = serve_each(|stream, before, seen| {
        if before == 0 {
            stream.write_all(b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n").unwrap();
            // What is not read keeps the client from sending all before it has the reply.
            thread::sleep(SHORT);
        }
        while receive(stream, seen) && stream.write_all(REPLY.as_bytes()).is_ok() {}
    });
    let (client, poll) = (client(LONG), PollCalls::new(true));
    let failure = call(&client, &poll, address, &vec![0; LARGE]).unwrap_err();
    assert_eq!(failure, "http: status 403 Forbidden");
    assert_eq!(call(&client, &poll, address, b"message").unwrap(), b"!");
    assert_eq!((seen.connections(), seen.requests().len()), (2, 1));
}

#[test]
fn the_next_poll_of_a_host_uses_its_connection() {
    let ((address, seen), client) = (replying(REPLY), client(LONG));
    for is_awaited in [true, true, false] {
        let poll = PollCalls::new(is_awaited);
        call(&client, &poll, address, b"message").unwrap();
        let trace = client.end_poll(poll, || is_awaited);
        assert_eq!((trace.address, trace.connected), (Some(address.ip()), true));
        assert!(trace.answered && trace.replied);
    }
    seen.wait_until_closed();
    assert_eq!((seen.connections(), seen.requests().len()), (1, 3));
}

#[test]
fn a_poll_does_not_use_the_connections_of_another() {
    let ((address, seen), client) = (replying(REPLY), client(LONG));
    let polls = [PollCalls::new(true), PollCalls::new(true)];
    for poll in polls.iter().chain(&polls) {
        call(&client, poll, address, b"message").unwrap();
    }
    assert_eq!((seen.connections(), seen.requests().len()), (2, 4));
    // Each is kept for another poll.
    for poll in polls {
        client.end_poll(poll, || true);
    }
    let polls = [PollCalls::new(true), PollCalls::new(true)];
    for poll in &polls {
        call(&client, poll, address, b"message").unwrap();
    }
    assert_eq!((seen.connections(), seen.requests().len()), (2, 6));
    drop(polls);
    seen.wait_until_closed();
}

#[test]
fn idle_connections_are_closed_before_another_to_the_same_address_is_made_and_when_no_poll_needs_them() {
    let ((one, of_one), (other, of_other), client) = (replying(REPLY), replying(REPLY), client(LONG));
    // Within a poll, and between polls.
    for ends in [false, true] {
        let mut poll = PollCalls::new(true);
        call(&client, &poll, one, b"message").unwrap();
        if ends {
            client.end_poll(mem::replace(&mut poll, PollCalls::new(true)), || true);
        }
        assert_eq!(of_one.open.load(Ordering::SeqCst), 1);
        call(&client, &poll, other, b"message").unwrap();
        of_one.wait_until_closed();
        client.end_poll(poll, || false);
        of_other.wait_until_closed();
    }
    // Only those of the host are kept, and all are closed at the end.
    let poll = PollCalls::new(true);
    call(&client, &poll, one, b"message").unwrap();
    client.end_poll(poll, || true);
    client.close_connections();
    of_one.wait_until_closed();
}

#[test]
fn a_redirect_on_the_same_host_needs_no_other_connection() {
    let (address, seen) = serve_each(|stream, _, seen| {
        while receive(stream, seen) {
            let is_redirected = seen.requests().last().unwrap().starts_with("POST /a ");
            let redirect = "HTTP/1.1 307 x\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nabcde";
            stream.write_all(if is_redirected { redirect } else { REPLY }.as_bytes()).unwrap();
        }
    });
    let (client, poll) = (client(LONG), PollCalls::new(true));
    for _ in 0..5 {
        assert_eq!(call_url(&client, &poll, &format!("http://{address}/a"), b"message").unwrap(), b"!");
    }
    assert_eq!((seen.connections(), seen.requests().len()), (1, 10));
}

#[test]
fn calls_of_one_poll_on_several_threads_take_turns() {
    let ((address, seen), client, poll) = (replying(REPLY), client(LONG), PollCalls::new(true));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..5).for_each(|_| drop(call(&client, &poll, address, b"message").unwrap())));
        }
    });
    assert_eq!((seen.connections(), seen.requests().len()), (1, 15));
}

#[test]
fn head_and_body_of_a_small_request_are_sent_at_once() {
    let (address, seen) = serve_each(|stream, _, seen| {
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request) {
            seen.requests.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
            if request[..length].ends_with(b"message") {
                stream.write_all(REPLY.as_bytes()).unwrap();
            }
        }
    });
    let (client, poll) = (client(LONG), PollCalls::new(true));
    (0..20).for_each(|_| drop(call(&client, &poll, address, b"message").unwrap()));
    assert_eq!(seen.requests().len(), 20);
}
