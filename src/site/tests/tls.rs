//! Calls over TLS: sessions that are resumed, and what must not be resumed.

use super::*;
use crate::model::Tls;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};

/// The certificate of all servers here, for these names. It is its own authority.
fn certificate() -> &'static CertifiedKey<rcgen::KeyPair> {
    static CERTIFICATE: OnceLock<CertifiedKey<rcgen::KeyPair>> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        generate_simple_self_signed(["127.0.0.1", "one.example", "two.example"].map(str::to_owned)).unwrap()
    })
}

/// Returns the configuration of a server with the certificate of all servers.
pub(in crate::site) fn server_config(versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let CertifiedKey { cert, signing_key } = certificate();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap()
}

/// Returns a session of a client that trusts the certificate of all servers.
pub(in crate::site) fn session() -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").unwrap()).unwrap()
}

/// Starts a server that answers one request of each connection, and reports how its handshake was made.
fn resuming(config: ServerConfig) -> (SocketAddr, Receiver<HandshakeKind>) {
    let (kinds, received) = channel();
    let config = Arc::new(config);
    let address = serve(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        kinds.send(stream.conn.handshake_kind().unwrap()).unwrap();
    });
    (address, received)
}

/// A client that finds all names on this machine.
fn tls_client(tls: Tls, authorities: Vec<Vec<u8>>) -> Client {
    let allow_net = vec!["127.0.0.1/32".parse().unwrap()];
    let options = Options { allow_net, tls, authorities, ..Options::default() };
    Client::with_lookup(options, Box::new(|_| Ok(vec!["127.0.0.1".parse().unwrap()])))
}

#[test]
fn a_session_is_resumed_for_the_same_name_and_client_only() {
    let trusting = || tls_client(Tls::Verify, vec![certificate().cert.der().to_vec()]);
    for version in [&TLS13, &TLS12] {
        let (address, kinds) = resuming(server_config(&[version]));
        let port = address.port();
        let kind = |client: &Client, host: &str| {
            post(client, &format!("https://{host}:{port}/")).unwrap();
            kinds.recv_timeout(LONG).unwrap()
        };
        let client = trusting();
        for (host, expected) in [
            ("one.example", HandshakeKind::Full),
            ("one.example", HandshakeKind::Resumed),
            ("two.example", HandshakeKind::Full),
            ("one.example", HandshakeKind::Resumed),
            ("two.example", HandshakeKind::Resumed),
            ("127.0.0.1", HandshakeKind::Full),
        ] {
            assert_eq!(kind(&client, host), expected, "{host} {version:?}");
        }
        assert_eq!(kind(&trusting(), "one.example"), HandshakeKind::Full, "another client");
        assert_eq!(kind(&tls_client(Tls::SkipVerify, Vec::new()), "one.example"), HandshakeKind::Full);
    }
}

#[test]
fn sessions_of_many_names_are_kept() {
    let (address, kinds) = resuming(server_config(&[&TLS13]));
    let client = tls_client(Tls::SkipVerify, Vec::new());
    let kind = |number: u32| {
        post(&client, &format!("https://{number}.example:{}/", address.port())).unwrap();
        kinds.recv_timeout(LONG).unwrap()
    };
    for number in 0..100 {
        assert_eq!(kind(number), HandshakeKind::Full);
    }
    assert_eq!(kind(0), HandshakeKind::Resumed);
}
