//! Calls over real sockets of the loopback interface, to servers that do one thing each.

mod calls;
mod connections;
mod early_replies;
mod egress;
mod hostile;
mod protocol;
mod redirects;
mod replies;
mod reuse;
mod timeouts;
mod tls;

pub(super) use tls::{server_config, session};

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::resolver::Lookup;
use super::{Client, Endpoint, Options, PollCalls, Reply, Timeouts};
use crate::model::{Failure, FailureClass, Secret};

/// A limit that no test reaches.
const LONG: Duration = Duration::from_secs(60);
/// A limit that is reached on purpose.
const SHORT: Duration = Duration::from_millis(300);

/// Starts a server that passes each connection to `handle`, one after the other.
fn serve(handle: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(handle));
    address
}

/// Starts a server that reads a request, replies, and closes.
fn answer(reply: impl Into<Vec<u8>>) -> SocketAddr {
    let reply = reply.into();
    serve(move |mut stream| {
        request(&stream);
        let _ = stream.write_all(&reply);
    })
}

/// Starts a server that accepts connections and never sends a byte.
fn silence() -> SocketAddr {
    holding(|_| {})
}

/// Starts a server that leaves connections open after `handle`.
fn holding(mut handle: impl FnMut(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let mut open = Vec::new();
    serve(move |mut stream| {
        handle(&mut stream);
        open.push(stream);
    })
}

/// Starts a server that writes `reply` once the whole request has arrived, and closes with data unread.
///
/// That resets the connection.
fn reset_after(reply: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let mut seen = [0; 1024];
        while stream.peek(&mut seen).is_ok_and(|length| length > 0 && !seen[..length].ends_with(b"message")) {
            thread::yield_now();
        }
        let _ = stream.write_all(reply.as_bytes());
    })
}

/// Reads a whole request: head and body.
fn request(stream: impl Read) -> String {
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

/// A client that may call 127.0.0.1, and that finds no names.
fn client(timeout: Duration) -> Client {
    client_with(timeout, Box::new(|_| Err(Failure::new(FailureClass::Dns, "no address"))))
}

fn client_with(timeout: Duration, lookup: Box<Lookup>) -> Client {
    limited(Timeouts { call: timeout, ..Timeouts::default() }, lookup)
}

fn limited(timeouts: Timeouts, lookup: Box<Lookup>) -> Client {
    let allow_net = vec!["127.0.0.1/32".parse().unwrap()];
    Client::with_lookup(Options { allow_net, timeouts, ..Options::default() }, lookup)
}

fn post(client: &Client, url: &str) -> Result<Vec<u8>, Failure> {
    body(&client.post(&Endpoint::new(url, None)?, b"message")?)
}

/// The body of a reply with a status of 2xx, also one that is not a message.
fn body(reply: &Reply) -> Result<Vec<u8>, Failure> {
    if reply.status.is_success() { Ok(reply.body.clone()) } else { Err(message(reply).unwrap_err()) }
}

fn message(reply: &Reply) -> Result<&[u8], Failure> {
    reply.message(&Secret::from_bytes([0; 32]))
}

/// The failure of a call to this server, as it is shown.
fn failure(timeout: Duration, address: SocketAddr) -> String {
    post(&client(timeout), &format!("http://{address}/x?key=1")).unwrap_err().to_string()
}
