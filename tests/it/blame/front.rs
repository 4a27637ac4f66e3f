//! Servers in front of the simulated sites, which reply in their place where a test wants that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::net::{Shutdown, shutdown};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::front::{authority, request};

/// A day, in seconds.
pub const DAY: u64 = 86_400;
/// The port of https; all others are of http.
const HTTPS: u16 = 443;

/// A request to a site.
pub struct Request {
    /// The number of the site.
    pub site: u32,
    /// The URL of the site.
    pub url: String,
}

/// What replies to a request.
pub enum Reply {
    /// The simulated site.
    Site,
    /// The simulated site, after some milliseconds.
    SlowSite(u64),
    /// The simulated site, with another behaviour.
    SiteDoing(&'static str),
    /// A whole response, without the `Date`.
    Http(String),
}

/// Servers on ports of all addresses.
pub struct Front {
    shared: Arc<Shared>,
    ports: BTreeMap<u16, (TcpListener, JoinHandle<()>)>,
}

struct Shared {
    sites: SocketAddr,
    tls: Arc<ServerConfig>,
    replies: Mutex<fn(&Request) -> Reply>,
    contacted: Mutex<BTreeSet<IpAddr>>,
}

impl Front {
    /// Starts servers on ports; returns the certificate of their authority too.
    ///
    /// The certificate for `names` is valid for 120 days, ten of which are over.
    pub fn start(sites: SocketAddr, ports: &[u16], names: Vec<String>) -> (Self, String) {
        let issuer = authority("ours");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        let now = date_time_ymd(1970, 1, 1) + SystemTime::UNIX_EPOCH.elapsed().unwrap();
        params.not_before = now - Duration::from_secs(10 * DAY);
        params.not_after = now + Duration::from_secs(110 * DAY);
        let chain = vec![CertificateDer::from(params.signed_by(&key, &issuer).unwrap())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let replies: fn(&Request) -> Reply = |_| Reply::Site;
        let shared = Arc::new(Shared { sites, tls, replies: Mutex::new(replies), contacted: Mutex::default() });
        let mut front = Self { shared, ports: BTreeMap::new() };
        for port in ports {
            front.open(*port);
        }
        (front, issuer.pem())
    }

    /// Replaces what replies to requests.
    pub fn reply(&self, replies: fn(&Request) -> Reply) {
        *self.shared.replies.lock().unwrap() = replies;
    }

    /// Returns the addresses of this machine that were connected to since the last call.
    pub fn take_contacted(&self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut *self.shared.contacted.lock().unwrap())
    }

    /// Returns the ports that are open.
    pub fn ports(&self) -> Vec<u16> {
        self.ports.keys().copied().collect()
    }

    /// Refuses connections to a port.
    pub fn close(&mut self, port: u16) {
        let (listener, thread) = self.ports.remove(&port).unwrap();
        // It ends `accept` in the thread.
        shutdown(&listener, Shutdown::Both).unwrap();
        thread.join().unwrap();
    }

    /// Accepts connections to a port of every address, if it does not.
    pub fn open(&mut self, port: u16) {
        if self.ports.contains_key(&port) {
            return;
        }
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
        let (shared, accepting) = (Arc::clone(&self.shared), listener.try_clone().unwrap());
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream, port == HTTPS));
            }
        });
        self.ports.insert(port, (listener, thread));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, is_https: bool) {
        let Ok(local) = stream.local_addr() else { return };
        self.contacted.lock().unwrap().insert(local.ip().to_canonical());
        if is_https {
            let connection = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
            self.answer(StreamOwned::new(connection, stream), "https");
        } else {
            self.answer(stream, "http");
        }
    }

    /// Reads a request and replies. A client that closes the connection early gets no reply.
    fn answer(&self, mut stream: impl Read + Write, scheme: &str) {
        let Some(request) = request(&mut stream) else { return };
        let head = String::from_utf8_lossy(&request);
        let target = head.split(' ').nth(1).unwrap();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let number = target.split('/').nth(2).and_then(|number| number.parse().ok());
        let replies = *self.replies.lock().unwrap();
        let reply = replies(&Request { site: number.unwrap_or(0), url: format!("{scheme}://{host}{target}") });
        let response = match reply {
            Reply::Site => self.forward(&request),
            Reply::SlowSite(ms) => {
                thread::sleep(Duration::from_millis(ms));
                self.forward(&request)
            }
            Reply::SiteDoing(behaviour) => {
                let start = format!("POST /site/{}/{behaviour} ", number.unwrap());
                let old = "POST ".len() + target.len() + 1;
                self.forward(&[start.as_bytes(), &request[old..]].concat())
            }
            Reply::Http(response) => response.into_bytes(),
        };
        let line_end = response.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let date = format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
        let _ = stream.write_all(&[&response[..line_end], date.as_bytes(), &response[line_end..]].concat());
        let _ = stream.flush();
    }

    /// Returns the response of the simulated site. It rejects an expired message as real sites do.
    fn forward(&self, request: &[u8]) -> Vec<u8> {
        let mut site = TcpStream::connect(self.sites).unwrap();
        site.write_all(request).unwrap();
        let mut response = Vec::new();
        site.read_to_end(&mut response).unwrap();
        if response.ends_with(b"the message has expired\n") { insecure("Invalid TTL").into_bytes() } else { response }
    }
}

/// Returns a response that closes the connection; each header ends with a line feed.
pub fn http(status: &str, headers: &str, body: &str) -> String {
    let headers = headers.replace('\n', "\r\n");
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Returns a response with an HTML page.
pub fn page(status: &str, title: &str, body: &str) -> String {
    let page = format!("<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{body}</body></html>\n");
    http(status, "Content-Type: text/html; charset=utf-8\n", &page)
}

/// Returns the unencrypted message with which a site rejects a request.
pub fn insecure(text: &str) -> String {
    let error = serde_json::json!({"is_error": 1, "error_message": text});
    http("400 Bad Request", "Content-Type: application/x-civi-cxn\n", &format!("CXN-0.2-INSECURE\x01{error}"))
}
