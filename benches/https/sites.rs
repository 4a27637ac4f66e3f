//! Sites behind https in a separate process, so that their CPU time is not measured.

use std::env;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use civisite::{Behaviour, Site, message};
use cxnpoll::util::time::unix_now;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384};
use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::common::Result;

/// The argument with which the bench serves sites instead of measuring.
const SERVE: &str = "serve";

/// How many hosts there are. The certificate has an address of each.
pub const HOSTS: u32 = 20;

/// The reply of every site.
const REPLY: &[u8] = br#"{"is_error":0,"version":3,"count":1,"id":0,"values":[{"version":"5.81.0","uf":"Drupal8"}]}"#;

/// What the server does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One request each, and no session is resumed.
    New,
    /// One request each, and sessions can be resumed.
    Resumed,
    /// Any number of requests.
    Reused,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::New, Self::Resumed, Self::Reused];
}

/// The process that serves the sites.
pub struct Sites {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// One for each mode.
    ports: Vec<u16>,
    /// The certificate of the authority, in DER.
    pub authority: Vec<u8>,
}

impl Sites {
    /// Starts this executable again as the process that serves the sites.
    pub fn start() -> Result<Self> {
        let mut process =
            Command::new(env::current_exe()?).arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no pipe from the sites")?).lines();
        let mut line = || lines.next().unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()));
        let authority = hex::decode(line()?)?;
        let ports = line()?.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
        Ok(Self { process, lines, ports, authority })
    }

    /// Returns a site on a server of this mode.
    pub fn site(&self, number: u32, mode: Mode) -> Site {
        let mut site = Site::new(SocketAddr::from((host(number), self.ports[mode as usize])), number, Behaviour::Ok);
        site.site_url = site.site_url.replace("http://", "https://");
        site
    }

    /// Returns how many full and how many resumed handshakes there were since the last call.
    pub fn handshakes(&mut self) -> Result<[u64; 2]> {
        writeln!(self.process.stdin.as_ref().ok_or("no pipe to the sites")?)?;
        let line = self.lines.next().ok_or("the sites ended")??;
        let (full, resumed) = line.split_once(' ').ok_or("no counts")?;
        Ok([full.parse()?, resumed.parse()?])
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        // The process exits when its standard input is closed.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + number % HOSTS)
}

/// Serves sites if this is their process, and returns whether it was.
///
/// Returns when standard input is closed, which also happens when the bench is killed.
pub fn serve() -> Result<bool> {
    if !env::args().any(|arg| arg == SERVE) {
        return Ok(false);
    }
    let (config, authority) = config()?;
    println!("{}", hex::encode(authority));
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let ports = Mode::ALL.into_iter().map(|mode| listen(mode, config.clone(), &counts)).collect::<Result<Vec<_>>>()?;
    println!("{}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" "));
    for line in io::stdin().lines() {
        line?;
        let [full, resumed] = &*counts;
        println!("{} {}", full.swap(0, Ordering::Relaxed), resumed.swap(0, Ordering::Relaxed));
    }
    Ok(true)
}

/// Makes a configuration with a certificate for all hosts.
///
/// Returns it with the certificate of the authority. Keys are of the kinds that Let's Encrypt uses by default: P-256 for the site, P-384 for both authorities.
fn config() -> Result<(ServerConfig, Vec<u8>)> {
    let authority = |name: &str| -> Result<_> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok((params, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?))
    };
    let (params, key) = authority("Root")?;
    let root = CertifiedIssuer::self_signed(params, key)?;
    let (params, key) = authority("Intermediate")?;
    let intermediate = CertifiedIssuer::signed_by(params, key, &root)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = (0..HOSTS).map(|number| SanType::IpAddress(IpAddr::V4(host(number)))).collect();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, &intermediate)?;

    let chain = vec![certificate.der().clone(), intermediate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok((config, root.der().to_vec()))
}

/// Starts a server on a free port, with a thread per connection, and returns the port.
fn listen(mode: Mode, mut config: ServerConfig, counts: &Arc<[AtomicU64; 2]>) -> Result<u16> {
    if mode == Mode::New {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    } else {
        config.ticketer = ring::Ticketer::new()?;
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let (config, counts) = (Arc::new(config), Arc::clone(counts));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, counts) = (Arc::clone(&config), Arc::clone(&counts));
            // Errors are ignored: they mean that the client closed the connection.
            thread::spawn(move || drop(answer(stream, config, mode, &counts)));
        }
    });
    Ok(port)
}

/// Replies to the requests of a connection.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, mode: Mode, counts: &[AtomicU64; 2]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut requests = 0;
    while let Some(number) = request(&mut stream)? {
        let site = Site::new((Ipv4Addr::LOCALHOST, 0).into(), number, Behaviour::Ok);
        let ttl = u64::try_from(unix_now())? + 7200;
        let body = message::encode(&site.cxn_id, &site.secret(), ttl, &[1; 32], REPLY);
        let connection = if mode == Mode::Reused { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-civi-cxn\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let tls = stream.get_mut();
        tls.write_all(&[head.as_bytes(), &body].concat())?;
        if requests == 0 {
            let is_resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            counts[usize::from(is_resumed)].fetch_add(1, Ordering::Relaxed);
        }
        requests += 1;
        if mode != Mode::Reused {
            tls.conn.send_close_notify();
            tls.flush()?;
            break;
        }
    }
    Ok(())
}

/// Reads a request and returns the number of its site; `None` at the end of the connection.
fn request(stream: &mut impl BufRead) -> Result<Option<u32>> {
    let (mut line, mut number, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(target) = line.strip_prefix("POST /site/") {
            number = target.split('/').next().unwrap_or_default().parse()?;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        } else if line == "\r\n" {
            stream.read_exact(&mut vec![0; length])?;
            return Ok(Some(number));
        }
    }
}
