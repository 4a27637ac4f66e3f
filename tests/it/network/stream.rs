//! A connection of the site, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustix::net::sockopt::set_socket_linger;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::case::Then;

/// How long the site waits for the client, and holds a connection.
///
/// It is longer than the limit of a call.
const MAX_CONNECTION: Duration = Duration::from_secs(10);
/// How long an answer takes to arrive at the client.
const ARRIVAL: Duration = Duration::from_millis(100);

/// A connection that the site accepted.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// Starts TLS if there is a configuration for it.
    pub fn new(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(MAX_CONNECTION)).unwrap();
        match tls {
            None => Self::Plain(socket),
            Some(tls) => Self::Tls(Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), socket))),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Reads the head of a request, and nothing after it. Returns what came where the client closes too early.
    pub fn read_head(&mut self) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && self.read(&mut byte).is_ok_and(|read| read > 0) {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends pieces, each of which arrives before the next. A client that closes ends it.
    pub fn send(&mut self, pieces: &[Vec<u8>]) {
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                thread::sleep(ARRIVAL);
            }
            if self.write_all(piece).and_then(|()| self.flush()).is_err() {
                return;
            }
        }
    }

    /// Does what follows the answer.
    ///
    /// A connection that is held is read from only where `takes_rest`.
    pub fn end(mut self, then: Then, takes_rest: bool) {
        match then {
            Then::Close => {
                if let Self::Tls(stream) = &mut self {
                    stream.conn.send_close_notify();
                    // The client may be gone.
                    let _ = stream.flush();
                }
                self.shut_down_and_drain();
            }
            Then::Cut => self.shut_down_and_drain(),
            Then::Reset => {
                thread::sleep(ARRIVAL);
                set_socket_linger(self.socket(), Some(Duration::ZERO)).unwrap();
            }
            Then::Hold if takes_rest => drain(self.socket()),
            Then::Hold => thread::sleep(MAX_CONNECTION),
        }
    }

    fn shut_down_and_drain(&self) {
        // The client may be gone.
        let _ = self.socket().shutdown(Shutdown::Write);
        drain(self.socket());
    }
}

/// Takes what still comes until the client closes, without decrypting it.
fn drain(mut socket: &TcpStream) {
    let _ = io::copy(&mut socket, &mut io::sink());
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Makes a self-signed certificate for 127.0.0.1, and the configuration that serves it.
pub fn self_signed() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(certificate)];
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}
