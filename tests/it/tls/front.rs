//! Servers that speak TLS in front of the simulated sites.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use civisite::Site;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::testkit::World;

/// A certificate authority.
pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Creates a certificate authority.
pub(crate) fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Starts a TLS server in front of the simulated sites.
///
/// Its certificate is for `name`, issued by `issuer` or self-signed.
pub(super) fn front(world: &World, name: &str, issuer: Option<&Issuer>, expired: bool) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    }
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let chain = vec![CertificateDer::from(certificate.unwrap())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let sites = world.server.addr();
    serve(move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        // A client that rejects the certificate closes the connection.
        let Some(request) = request(&mut tls) else { return };
        let mut site = TcpStream::connect(sites).unwrap();
        site.write_all(&request).unwrap();
        // Like many servers, it closes without a close_notify.
        let _ = std::io::copy(&mut site, &mut tls);
    })
}

/// Starts a server on a free port, with a thread per connection.
pub(super) fn serve(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Reads a request, head and body; `None` if the client closes the connection.
pub(crate) fn request(stream: impl Read) -> Option<Vec<u8>> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut length) = (Vec::new(), 0);
    while !request.ends_with(b"\r\n\r\n") {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        request.extend(line.into_bytes());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some([request, body].concat())
}

/// Returns a simulated site with an https URL.
pub(super) fn https(world: &World, number: u32, behaviour: &str, front: SocketAddr) -> Site {
    let mut site = world.site(number, behaviour);
    let plain = format!("http://{}/", world.server.addr());
    assert!(site.site_url.starts_with(&plain));
    site.site_url = site.site_url.replace(&plain, &format!("https://{front}/"));
    site
}
