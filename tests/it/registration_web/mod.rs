//! Registrations through Apache and nginx, which the snippets of docs/registration.md configure.

mod http;
mod load;
mod moving;
mod page;
mod php;
mod scene;
mod server;
mod tokens;

use std::fs;

use civisite::{Reply, Site};
use serde_json::{Value, json};

use self::http::{exchange, send};
use self::page::snippet;
use self::scene::{APP, ask, ask_directly, registrant, site, success, world};
use self::server::{Kind, WebServer};
use crate::testkit::{World, assert_no_secret, tools};

const ENDPOINT: &str = "/cxn/org.example.poll/cxn";

#[test]
fn apache_takes_registrations() {
    if Kind::Apache.is_there() {
        let world = world();
        check(&world, &Kind::Apache.start(world.dir.path(), 4));
    }
}

#[test]
fn nginx_takes_registrations() {
    if Kind::Nginx.is_there() {
        let world = world();
        check(&world, &Kind::Nginx.start(world.dir.path(), 4));
    }
}

fn check(world: &World, server: &WebServer) {
    metadata_is_served(server);
    a_site_connects_is_polled_and_leaves(world, server);
    a_path_of_cxnapp_works(world, server);
    no_query_reaches_the_program(world, server);
    a_body_without_length_is_read(world, server);
    faults_are_answered(server);
}

fn metadata_is_served(server: &WebServer) {
    let target = format!("{ENDPOINT}/metadata.json");
    let response = send(server.addr, "GET", &target, b"").unwrap();
    assert_eq!(response.status, 200, "{response:?}\n{}", server.log());
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    let metadata: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(metadata["appId"], APP);
    assert_eq!(metadata["appUrl"], "https://app.example.org/cxn/org.example.poll/cxn");
    assert!(metadata["appCert"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let head = send(server.addr, "HEAD", &target, b"").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
}

fn a_site_connects_is_polled_and_leaves(world: &World, server: &WebServer) {
    let site = site(world, 1);
    let (response, reply) = ask(server, ENDPOINT, &site, "register", &json!([]));
    assert_eq!((response.status, reply), (200, success(&site)), "{}", server.log());
    assert_eq!(response.header("Content-Type"), Some("application/x-civi-cxn"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));

    let summary = world.json(&["poll", APP, "--json"]);
    assert_eq!((world.server.polls(1), world.server.rejected()), (1, 0), "{summary}");

    let (_, reply) = ask(server, ENDPOINT, &site, "getlink", &json!({"page": "settings"}));
    let Reply::Message(reply) = reply else { panic!("{reply:?}") };
    let url = reply["values"]["url"].as_str().unwrap_or_else(|| panic!("{reply}"));
    let start = format!("https://pages.example.org/{APP}/{}/settings?cxnToken=", site.cxn_id);
    assert!(url.starts_with(&start), "{url}");

    let (_, reply) = ask(server, ENDPOINT, &site, "unregister", &json!([]));
    assert_eq!(reply, success(&site));
    assert_eq!(world.export(), [""; 0]);
    assert_no_secret(&site, &server.log());
}

fn a_path_of_cxnapp_works(world: &World, server: &WebServer) {
    let site = site(world, 2);
    for target in
        ["/app:org.example.poll/cxn/register", "/app%3Aorg.example.poll/cxn", "/org.example.poll/cxn/register/"]
    {
        let (response, reply) = ask(server, target, &site, "register", &json!([]));
        assert_eq!((response.status, reply), (200, success(&site)), "{target}");
    }
    let metadata = send(server.addr, "GET", "/app:org.example.poll/cxn/metadata.json", b"").unwrap();
    assert_eq!(metadata.status, 200, "{metadata:?}");
}

/// Without a web server, since it passes on what any listener would.
#[test]
fn the_program_of_the_page_refuses_sites() {
    if !tools::require("python3") {
        return;
    }
    let world = world();
    fs::write(world.path("register.py"), snippet("python", "festival")).unwrap();
    let listener = snippet("text", "civi_cxn.register").replace("/etc/cxnpoll", world.dir.path().to_str().unwrap());
    world.append_config(&listener);
    let good = site(&world, 1);
    let festival = Site { site_url: good.site_url.clone() + "?festival", ..site(&world, 2) };
    assert_eq!(ask_directly(&world, &good, "register"), success(&good));
    let refused = json!({"is_error": 1, "error_message": "this app is not for festivals"});
    assert_eq!(ask_directly(&world, &festival, "register"), Reply::Message(refused));
    assert_eq!(world.export().len(), 1);
}

/// Apache makes arguments of a query without `=`.
fn no_query_reaches_the_program(world: &World, server: &WebServer) {
    let site = site(world, 3);
    for query in ["--version", "--config+/nonexistent", "--store+/tmp/other", "a=b&c"] {
        let (response, reply) = ask(server, &format!("{ENDPOINT}?{query}"), &site, "register", &json!([]));
        assert_eq!((response.status, reply), (200, success(&site)), "{query}");
    }
}

fn a_body_without_length_is_read(world: &World, server: &WebServer) {
    let site = site(world, 4);
    let cxn = site.registered();
    let request = registrant().request(&cxn, "register", &json!([]));
    let head = format!(
        "POST {ENDPOINT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunks: Vec<u8> = request
        .chunks(400)
        .chain([&[][..]])
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    let response = exchange(server.addr, &head, &chunks).unwrap();
    assert_eq!(Reply::read(&cxn, &response.body), Ok(success(&site)), "{response:?}\n{}", server.log());
}

fn faults_are_answered(server: &WebServer) {
    let post = |target: &str, body: &[u8]| send(server.addr, "POST", target, body).unwrap();
    let garbage = post(ENDPOINT, b"CXN-0.2-RSA\x01garbage");
    assert_eq!(garbage.status, 400, "{garbage:?}");
    assert!(garbage.body.starts_with(b"CXN-0.2-INSECURE\x01{\"is_error\":1,"), "{garbage:?}");
    // Whatever cannot be read gets the same answer.
    assert_eq!(post(ENDPOINT, &vec![b'x'; 1 << 20]).body, garbage.body);
    assert_eq!(post(ENDPOINT, b"").body, garbage.body);
    assert_eq!(post(ENDPOINT, &vec![b'x'; (1 << 20) + 1]).status, 413);
    assert_eq!(post("/cxn/org.example.unknown/cxn", b"x").status, 404);
    assert_eq!(post("/cxn/", b"x").status, 404);
    for method in ["GET", "PUT", "DELETE"] {
        let response = send(server.addr, method, ENDPOINT, b"").unwrap();
        assert_eq!((response.status, response.header("Allow")), (405, Some("POST")), "{response:?}");
    }
    let response = post(&format!("{ENDPOINT}/metadata.json"), b"x");
    assert_eq!((response.status, response.header("Allow")), (405, Some("GET, HEAD")), "{response:?}");
}
