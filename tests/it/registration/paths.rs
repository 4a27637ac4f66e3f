//! Paths and methods, and the metadata of an app.

use std::process::Output;

use serde_json::Value;

use crate::testkit::registrar::{CgiReply, Registrar, recorded};
use crate::testkit::{code, stderr};

fn request(registrar: &Registrar, method: &str, path: &str) -> CgiReply {
    let output: Output = registrar.run(&[("REQUEST_METHOD", method), ("PATH_INFO", path)], b"");
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{method} {path}");
    CgiReply::read(&output.stdout)
}

#[test]
fn only_known_apps_have_resources() {
    let registrar = Registrar::new();
    for (path, status) in [
        ("/app:org.example.poll/cxn", 400),
        ("/org.example.poll/cxn/register/", 400),
        ("/app:org.example.unknown/cxn", 404),
        ("/../cxn", 404),
        ("/app:org.example.poll/cxn/apps", 404),
        ("/", 404),
        ("", 404),
    ] {
        assert_eq!(request(&registrar, "POST", path).status, status, "{path}");
    }
}

#[test]
fn a_wrong_method_names_the_right_ones() {
    let registrar = Registrar::new();
    for (method, path, allow) in [
        ("GET", "/org.example.poll/cxn", "POST"),
        ("HEAD", "/org.example.poll/cxn/register", "POST"),
        ("PUT", "/org.example.poll/cxn", "POST"),
        ("POST", "/org.example.poll/cxn/metadata.json", "GET, HEAD"),
        ("", "/org.example.poll/cxn/metadata.json", "GET, HEAD"),
    ] {
        let reply = request(&registrar, method, path);
        assert_eq!((reply.status, reply.headers["Allow"].as_str()), (405, allow), "{method} {path}");
        assert_eq!(reply.body.is_empty(), method == "HEAD");
    }
}

#[test]
fn the_metadata_has_the_certificate_and_the_url() {
    // Metadata needs no store.
    let registrar = Registrar::without_store();
    let path = "/app:org.example.poll/cxn/metadata.json";
    let reply = request(&registrar, "GET", path);
    assert_eq!((reply.status, reply.headers["Content-Type"].as_str()), (200, "application/json"));
    let document: Value = serde_json::from_slice(&reply.body).unwrap();
    let app = &recorded()["apps"]["app:org.example.poll"];
    for key in ["appCert", "appUrl"] {
        assert_eq!(document[key], app[key], "{key}");
    }
    assert_eq!(document["appId"], "app:org.example.poll");
    let head = request(&registrar, "HEAD", path);
    assert_eq!((head.headers, head.body), (reply.headers, Vec::new()));
    assert!(registrar.log().contains("registration: metadata"));
}

#[test]
fn an_app_without_a_certificate_has_no_metadata() {
    let registrar = Registrar::new();
    let config =
        registrar.world.config().lines().filter(|line| !line.starts_with("app-cert")).collect::<Vec<_>>().join("\n");
    registrar.world.set_config(&config);
    let variables = [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/org.example.poll/cxn/metadata.json")];
    let output = registrar.run(&variables, b"");
    assert_eq!((code(&output), CgiReply::read(&output.stdout).status), (78, 503));
    assert!(stderr(&output).starts_with("error: app:org.example.poll has no certificate"), "{}", stderr(&output));
}
