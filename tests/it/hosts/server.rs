//! A server that counts connections and messages by address, and what arrives twice or too late.

use std::collections::{BTreeMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use civisite::{Behaviour, Site, message};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

use crate::tls::front;

/// A message to a site.
pub struct Request {
    /// The address that the client connected to.
    pub address: IpAddr,
    /// The number of the site.
    pub site: u32,
    /// Which message of this site it is, from 1.
    pub of_site: usize,
    /// Which message at this address it is, from 1.
    pub of_address: usize,
}

/// What the server does about a message.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The reply of a site that is well after this time, and what becomes of the connection.
    Reply(Duration, Then),
    /// Nothing.
    Hang,
    /// Half of a head, and nothing more.
    HalfHead,
    /// The end of the connection.
    End,
    /// A reset of the connection.
    Reset,
}

/// What becomes of a connection after a reply.
#[derive(Clone, Copy)]
pub enum Then {
    /// The server waits for the next message.
    Keep,
    /// The reply announces the end of the connection, which follows.
    AnnouncedEnd,
    /// The end of the connection is in the same segment.
    End,
    /// The connection ends after this time.
    EndAfter(Duration),
    /// Bytes that belong to no reply follow, in the same segment.
    Bytes(&'static str),
}

/// The reply of a site that is well, at once; the connection stays open.
pub const WELL: Answer = Answer::Reply(Duration::ZERO, Then::Keep);

type Answers = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server on one port of its addresses.
pub struct Server {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Mutex<Arc<Answers>>,
    counts: Mutex<Counts>,
}

/// What a server has counted.
#[derive(Default)]
pub struct Counts {
    pub hosts: BTreeMap<IpAddr, Host>,
    /// The number of messages by site.
    pub messages: BTreeMap<u32, usize>,
    /// Messages that arrived twice.
    pub duplicates: usize,
    /// Connections on which something arrived after the server had ended them.
    pub late: usize,
    /// The largest number of messages at the same time that were not answered yet.
    pub most_unanswered: usize,
    unanswered: usize,
    bodies: HashSet<Vec<u8>>,
}

/// What a server has counted at one address.
#[derive(Default)]
pub struct Host {
    /// The number of connections.
    pub connections: usize,
    /// The largest number of connections at the same time.
    pub most: usize,
    pub messages: usize,
    open: Vec<Arc<TcpStream>>,
}

impl Counts {
    /// Returns the number of connections at all addresses.
    pub fn connections(&self) -> usize {
        self.hosts.values().map(|host| host.connections).sum()
    }

    /// Returns the number of messages of all sites.
    pub fn messages(&self) -> usize {
        self.messages.values().sum()
    }

    /// Returns what was counted at an address.
    pub fn at(&mut self, address: impl Into<IpAddr>) -> &mut Host {
        self.hosts.entry(address.into()).or_default()
    }
}

impl Host {
    fn connect(&mut self, stream: &Arc<TcpStream>) {
        // The threads of connections that the client has just closed may not have noticed it yet.
        self.open.retain(|stream| is_open(stream));
        self.open.push(Arc::clone(stream));
        self.connections += 1;
        self.most = self.most.max(self.open.len());
    }
}

/// Whether the client has not closed a connection.
fn is_open(stream: &TcpStream) -> bool {
    match recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, received)) => received > 0,
        Err(error) => error == Errno::AGAIN,
    }
}

impl Server {
    /// Starts a server on these addresses; `::` means all addresses of both families.
    pub fn start(addresses: &[IpAddr], answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { answers: Mutex::new(Arc::new(answers)), counts: Mutex::default() });
        let mut port = 0;
        for address in addresses {
            let listener = TcpListener::bind((*address, port)).unwrap();
            // Hundreds of connections may arrive at once. With a shorter queue, TCP would retry some a second later.
            rustix::net::listen(&listener, 4096).unwrap();
            port = listener.local_addr().unwrap().port();
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.accept(&listener));
        }
        Self { port, shared }
    }

    /// Replaces what the server does about messages.
    pub fn answer(&self, answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *self.shared.answers.lock().unwrap() = Arc::new(answers);
    }

    /// Returns what was counted since the last call.
    pub fn take_counts(&self) -> Counts {
        std::mem::take(&mut *self.shared.counts.lock().unwrap())
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let (stream, shared) = (Arc::new(stream), Arc::clone(&self));
            let Ok(address) = stream.local_addr() else { continue };
            let address = address.ip().to_canonical();
            shared.counts.lock().unwrap().at(address).connect(&stream);
            thread::spawn(move || {
                shared.serve(&stream, address);
                let mut counts = shared.counts.lock().unwrap();
                counts.at(address).open.retain(|open| !Arc::ptr_eq(open, &stream));
            });
        }
    }

    /// Serves a connection until either side ends it.
    fn serve(&self, stream: &TcpStream, address: IpAddr) {
        while let Some(request) = front::request(stream) {
            let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let request = self.count(address, &request[..body], &request[body..]);
            let answers = Arc::clone(&self.answers.lock().unwrap());
            match answers(&request) {
                Answer::Reply(after, then) => {
                    thread::sleep(after);
                    self.counts.lock().unwrap().unanswered -= 1;
                    if !self.reply(stream, &request, then) {
                        return;
                    }
                }
                Answer::Hang => return drain(stream),
                Answer::HalfHead => {
                    let _ = (&*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Ty");
                    return drain(stream);
                }
                Answer::End => return,
                Answer::Reset => return sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap(),
            }
        }
    }

    fn count(&self, address: IpAddr, head: &[u8], body: &[u8]) -> Request {
        let head = str::from_utf8(head).unwrap();
        let site: u32 = head.split(['/', ' ']).nth(3).unwrap().parse().unwrap();
        let mut counts = self.counts.lock().unwrap();
        if !counts.bodies.insert(body.to_vec()) {
            counts.duplicates += 1;
        }
        counts.unanswered += 1;
        counts.most_unanswered = counts.most_unanswered.max(counts.unanswered);
        let of_site = counts.messages.entry(site).or_default();
        *of_site += 1;
        let of_site = *of_site;
        let host = counts.at(address);
        host.messages += 1;
        Request { address, site, of_site, of_address: host.messages }
    }

    /// Replies; returns whether the connection stays open.
    fn reply(&self, mut stream: &TcpStream, request: &Request, then: Then) -> bool {
        let body = reply(request.site);
        let end = if matches!(then, Then::AnnouncedEnd) { "Connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-civi-cxn\r\n{end}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let more = if let Then::Bytes(bytes) = then { bytes } else { "" };
        // What is written is sent once the option is reset, or together with the end.
        sockopt::set_tcp_cork(stream, true).unwrap();
        let is_written = stream.write_all(&[head.as_bytes(), &body, more.as_bytes()].concat()).is_ok();
        match then {
            Then::Keep | Then::Bytes(_) => {
                sockopt::set_tcp_cork(stream, false).unwrap();
                return is_written;
            }
            Then::EndAfter(time) => {
                sockopt::set_tcp_cork(stream, false).unwrap();
                thread::sleep(time);
            }
            Then::End | Then::AnnouncedEnd => {}
        }
        let _ = stream.shutdown(Shutdown::Write);
        if matches!(stream.read(&mut [0]), Ok(1)) {
            self.counts.lock().unwrap().late += 1;
        }
        false
    }
}

/// Reads until the client closes the connection.
fn drain(mut stream: &TcpStream) {
    let mut ignored = [0; 1024];
    while match stream.read(&mut ignored) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::Interrupted,
    } {}
}

/// Returns the message with which a site that is well replies to any call.
fn reply(number: u32) -> Vec<u8> {
    let site = Site::new((Ipv4Addr::LOCALHOST, 0).into(), number, Behaviour::Ok);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let text = br#"{"is_error":0,"version":3,"count":1,"values":[{}]}"#;
    message::encode(&site.cxn_id, &site.secret(), now + 7200, &[7; 32], text)
}
