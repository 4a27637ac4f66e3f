//! Sites behind https, through the binary: whose certificates are good, and what happens where they are not.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use civisite::Site;
use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority of our own.
fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Puts TLS in front of the simulated sites: a port with a certificate for `name`, issued by `issuer` or by itself.
fn front(world: &World, name: &str, issuer: Option<&Issuer>, expired: bool) -> SocketAddr {
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
        // A client that doesn't like the certificate goes away.
        let Some(request) = request(&mut tls) else { return };
        let mut site = TcpStream::connect(sites).unwrap();
        site.write_all(&request).unwrap();
        // As many servers do, it closes without a farewell.
        let _ = std::io::copy(&mut site, &mut tls);
    })
}

/// A server on a port of its own, with a thread for each connection.
fn serve(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
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

/// A request, head and body; `None` where the client breaks it off.
fn request(stream: impl Read) -> Option<Vec<u8>> {
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

/// A simulated site that is reached by https.
fn https(world: &World, number: u32, behaviour: &str, front: SocketAddr) -> Site {
    let mut site = world.site(number, behaviour);
    let plain = format!("http://{}/", world.server.addr());
    assert!(site.site_url.starts_with(&plain));
    site.site_url = site.site_url.replace(&plain, &format!("https://{front}/"));
    site
}

/// Adds lines to the configuration: first those of the file, then those of the app.
fn configure(world: &World, of_file: &str, of_app: &str) {
    let _ = world.command(&[]);
    let config = world.folder.path().join("cxnpoll.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{of_file}\n{text}{of_app}\n")).unwrap();
}

/// Sites with every fault that a certificate can have, and what is told of each.
fn faulty(world: &World, authority: &Issuer) -> [(Site, &'static str); 4] {
    [
        (front(world, "127.0.0.1", Some(authority), true), "certificate expired"),
        (front(world, "other.example.org", Some(authority), false), "not valid for name"),
        (front(world, "127.0.0.1", None, false), "UnknownIssuer"),
        (front(world, "127.0.0.1", Some(&self::authority("stranger")), false), "UnknownIssuer"),
    ]
    .map({
        let mut number = 100;
        move |(front, told)| {
            number += 1;
            (https(world, number, "ok", front), told)
        }
    })
}

#[test]
fn a_certificate_must_be_good() {
    let world = World::new();
    let authority = authority("ours");
    fs::write(world.folder.path().join("ca.pem"), format!("Ours\n{}", authority.pem())).unwrap();
    configure(&world, "ca-file = \"ca.pem\"", "");
    let good = front(&world, "127.0.0.1", Some(&authority), false);
    let plain = serve(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let closing = serve(drop);

    let mut cases = vec![
        (https(&world, 0, "ok", good), "ok", ""),
        (https(&world, 1, "short", good), "disconnected", "closed while reading the reply"),
        (https(&world, 2, "close", good), "disconnected", "closed while waiting for the reply"),
        (https(&world, 3, "hang", good), "timeout", "timed out while waiting for the reply"),
        (https(&world, 4, "drip", good), "timeout", "timed out while waiting for the reply"),
        (https(&world, 5, "ok", plain), "tls", "received corrupt message"),
        (https(&world, 6, "ok", closing), "tls", "closed while making the TLS connection"),
    ];
    cases.extend(faulty(&world, &authority).map(|(site, told)| (site, "tls", told)));
    world.import(&cases.iter().map(|(site, ..)| site.clone()).collect::<Vec<_>>());
    let summary = world.poll(MIDNIGHT, &["--timeout", "2"]);
    assert_eq!(summary["failures"], json!({"tls": 6, "disconnected": 2, "timeout": 2}), "{summary}");
    for (site, class, told) in cases {
        let last = &world.explain(&site, MIDNIGHT)["lastOutcome"];
        assert_eq!(last["class"], class, "{last}");
        assert!(last["message"].as_str().unwrap_or_default().contains(told), "{told}: {last}");
        let text = String::from_utf8(world.run(&["explain", &site.cxn_id]).stdout).unwrap();
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn an_app_can_do_without_verification_and_is_warned() {
    let world = World::new();
    let sites = faulty(&world, &authority("ours")).map(|(site, _)| site);
    world.import(&sites);
    assert_eq!(world.poll(MIDNIGHT, &[])["failures"], json!({"tls": 4}));

    configure(&world, "", "tls = \"skip-verify\"");
    let output = world.run(&["poll", APP, "--json", "--now", &(MIDNIGHT + 3600).to_string()]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["failed"]), (&json!(4), &json!(0)), "{summary}");
    let warning =
        "warning: app:org.example.myapp has tls = \"skip-verify\": certificates of its sites are not verified\n";
    assert_eq!(stderr(&output), warning);
    assert_eq!(stderr(&world.run(&["call", &sites[0].cxn_id, "System.get"])), warning);
    let checked = world.run(&["config", "check"]);
    assert_eq!((code(&checked), stderr(&checked)), (0, warning.to_owned()));
    // Who knows it can have it quiet, and a run with nothing to do is.
    assert_quiet(&world.run(&["poll", APP, "-q", "--now", &(MIDNIGHT + 7200).to_string()]));
    assert_quiet(&world.run(&["poll", APP, "--now", &(MIDNIGHT + 7200).to_string()]));
}

#[test]
fn authorities_of_the_file_stand_beside_those_of_the_platform() {
    let world = World::new();
    let [platform, ours] = ["platform", "ours"].map(authority);
    let [of_platform, of_file] = [world.folder.path().join("platform.pem"), world.folder.path().join("ca.pem")];
    fs::write(&of_platform, platform.pem()).unwrap();
    fs::write(&of_file, ours.pem()).unwrap();
    let sites = [
        https(&world, 0, "ok", front(&world, "127.0.0.1", Some(&platform), false)),
        https(&world, 1, "ok", front(&world, "127.0.0.1", Some(&ours), false)),
    ];
    world.import(&sites);
    let poll = |now: i64, platform: bool| {
        let mut command = world.command(&["poll", APP, "--json", "--now", &now.to_string()]);
        if platform {
            command.env("SSL_CERT_FILE", &of_platform);
        }
        let summary: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        summary["ok"].as_u64().unwrap()
    };
    assert_eq!(poll(MIDNIGHT, false), 0);
    assert_eq!(poll(MIDNIGHT + 3600, true), 1);
    configure(&world, "ca-file = \"ca.pem\"", "");
    assert_eq!(poll(MIDNIGHT + 7200, true), 2);
}

#[test]
fn a_file_without_authorities_is_refused() {
    let world = World::with(["ok"]);
    configure(&world, "ca-file = \"ca.pem\"", "");
    let file = world.folder.path().join("ca.pem");
    for (text, told) in [
        (None, "can't be read: No such file"),
        (Some("no certificate"), "holds no certificate"),
        (Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), "holds no certificate"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        for command in [&["poll", APP][..], &["config", "check"]] {
            let output = world.run(command);
            assert_eq!(code(&output), 78, "{output:?}");
            assert!(stderr(&output).contains(&format!("ca-file: {}: {told}", file.display())), "{output:?}");
        }
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn behind_a_via_port_the_certificate_is_that_of_its_host() {
    let world = World::new();
    let authority = authority("ours");
    fs::write(world.folder.path().join("ca.pem"), authority.pem()).unwrap();
    configure(&world, "ca-file = \"ca.pem\"", "");
    let lines = ["127.0.0.1", "site.example.org"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| {
            let front = front(&world, name, Some(&authority), false);
            let site = world.site(u32::try_from(number).unwrap(), "ok");
            let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
            let path = site.site_url.splitn(4, '/').last().unwrap();
            line["siteUrl"] = json!(format!("https://site.example.org/{path}"));
            line["viaPort"] = json!(front.to_string());
            line.to_string()
        })
        .collect::<Vec<_>>();
    world.import_text(&lines.join("\n"));
    let summary = world.poll(MIDNIGHT, &[]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(1), &json!({"tls": 1})), "{summary}");
    assert_eq!((world.server.polls(0), world.server.polls(1)), (1, 0));
}
