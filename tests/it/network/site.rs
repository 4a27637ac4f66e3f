//! A site that sends exactly the bytes of a case.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;

use chrono::Utc;
use civisite::message;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::case::{Case, When};
use super::fill::{self, Placeholders};
use super::stream::{self, Stream};

/// The size of the receive buffer where the request is large.
const RECEIVE_BUFFER_BYTES: usize = 4096;
/// The address of `{other}` and `{closed}`.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long a message stays valid.
const TTL_S: u64 = 7200;

/// The site of a case, which serves until the tests end.
pub struct Site {
    shared: Arc<Shared>,
    /// A port where nothing listens, which no other program can get.
    _closed: OwnedFd,
}

/// What all connections of a site share.
struct Shared {
    case: Case,
    names: Placeholders,
    cxn: civisite::Site,
    seen: Mutex<Seen>,
}

/// What a site saw of its client.
#[derive(Clone, Default)]
pub struct Seen {
    pub connections: usize,
    /// The request targets, of connections whose head was read.
    pub paths: Vec<String>,
    /// What is wrong with a request.
    pub problems: Vec<String>,
}

impl Site {
    /// Starts the site of a case, whose client knows it as `cxn`.
    pub fn start(case: &Case, cxn: civisite::Site) -> Self {
        let plain = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let in_tls = case.tls.then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let closed = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&closed, &SocketAddrV4::new(OTHER, 0)).unwrap();
        let closed_address = SocketAddrV4::try_from(getsockname(&closed).unwrap()).unwrap();

        let port = plain.local_addr().unwrap().port();
        let mut names = Placeholders(vec![
            ("base", format!("http://127.0.0.1:{port}")),
            ("port", port.to_string()),
            ("other", format!("http://{OTHER}:{port}")),
            ("closed", format!("http://{closed_address}")),
            ("secret15", cxn.secret_base64[..15].to_owned()),
        ]);
        if let Some(listener) = &in_tls {
            names.0.push(("tls", format!("https://{}", listener.local_addr().unwrap())));
        }
        names.0.push(("url", names.fill(&case.site)));

        let shared = Arc::new(Shared { case: case.clone(), names, cxn, seen: Mutex::default() });
        shared.serve(plain, None);
        if let Some(listener) = in_tls {
            shared.serve(listener, Some(stream::self_signed()));
        }
        Self { shared, _closed: closed }
    }

    /// The placeholders that other texts of the case may have.
    pub fn names(&self) -> &Placeholders {
        &self.shared.names
    }

    /// What the site saw so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        if self.case.request_bytes > 0 {
            set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER_BYTES).unwrap();
        }
        let site = Arc::clone(self);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let number = {
                    let mut seen = site.seen.lock().unwrap();
                    seen.connections += 1;
                    seen.connections - 1
                };
                let (site, tls) = (Arc::clone(&site), tls.clone());
                thread::spawn(move || site.answer(number, Stream::new(socket, tls)));
            }
        });
    }

    /// Answers on the connection of this number.
    fn answer(&self, number: usize, mut stream: Stream) {
        let case = &self.case;
        if case.when != When::Accept {
            let head = stream.read_head();
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            self.seen.lock().unwrap().paths.push(target);
            if case.when == When::Request {
                self.read_body(&head, &mut stream);
            }
        }
        let reply = &case.replies[number.min(case.replies.len() - 1)];
        stream.send(&fill::reply(reply, &self.names, &self.message()));
        stream.end(case.then, case.request_bytes == 0);
    }

    /// Reads the body of a request, which must be a valid call.
    fn read_body(&self, head: &str, stream: &mut Stream) {
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or_default()];
        let problem = if let Err(error) = stream.read_exact(&mut body) {
            Some(format!("the site got no whole request: {error}"))
        } else {
            let call = message::decode(&body, &self.cxn.cxn_id, &self.cxn.secret(), now());
            let call = call.map(|call| serde_json::from_slice::<Value>(&call).unwrap_or_default());
            (!call.as_ref().is_ok_and(|call| call[0] == "System" && call[1] == "get"))
                .then(|| format!("the site got another request than System.get: {call:?}"))
        };
        self.seen.lock().unwrap().problems.extend(problem);
    }

    /// A valid message that answers System.get.
    fn message(&self) -> Vec<u8> {
        let values = json!([{"version": "5.75.0", "uf": "Drupal8", "php": {"version": "8.2.20"}}]);
        let reply = json!({"is_error": 0, "version": 3, "count": 1, "values": values}).to_string();
        message::encode(&self.cxn.cxn_id, &self.cxn.secret(), now() + TTL_S, &[7; 32], reply.as_bytes())
    }
}

/// The current time in Unix seconds.
fn now() -> u64 {
    Utc::now().timestamp().unsigned_abs()
}
