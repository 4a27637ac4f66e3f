//! An app that takes registrations, and sites that send them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use civisite::{Registrant, Reply, Site};
use serde_json::{Value, json};

use super::http::{Response, send};
use super::server::WebServer;
use crate::testkit::registrar::{RECORDED_APP, recorded};
use crate::testkit::{World, assert_quiet};

/// The app of the recorded registrations.
pub const APP: &str = RECORDED_APP;

/// The configuration of the app. Requests of this machine are not limited by address.
const CONFIG: &str = r#"allow-net = ["127.0.0.0/8"]

[apps."org.example.poll"]
title = "Example"
app-url = "https://app.example.org/cxn/org.example.poll/cxn"
app-cert = "app.crt"
private-key = "keys.json"
metadata = "metadata.json"
link-secret-file = "link-secret"

[apps."org.example.poll".links]
settings = "https://pages.example.org/{appId}/{cxnId}/{page}"

[registration]
requests-per-site-and-hour = 0
"#;

/// A world with the app and an empty store.
pub fn world() -> World {
    let world = World::new();
    let app = &recorded()["apps"][APP];
    let metadata = json!({"title": "Example", "perm": {"api": [], "grant": "*"}});
    for (name, text) in [
        ("cxnpoll.toml", &*format!("store = \"{}\"\n{CONFIG}", world.store().display())),
        ("app.crt", app["appCert"].as_str().unwrap()),
        ("keys.json", &app["keys"].to_string()),
        ("metadata.json", &metadata.to_string()),
        ("link-secret", recorded()["links"]["secret"].as_str().unwrap()),
    ] {
        let path = world.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_quiet(&world.run(&["store", "create"]));
    world
}

/// A site of the app.
pub fn site(world: &World, number: u32) -> Site {
    Site { app_id: APP.to_owned(), ..world.site(number, "ok") }
}

/// The client of the app's sites.
pub fn registrant() -> Registrant {
    Registrant::new(APP, recorded()["apps"][APP]["appCert"].as_str().unwrap()).unwrap()
}

/// Sends a request of a site to a web server; returns the reply and what is in it.
pub fn ask(server: &WebServer, target: &str, site: &Site, action: &str, params: &Value) -> (Response, Reply) {
    let cxn = site.registered();
    let response = send(server.addr, "POST", target, &registrant().request(&cxn, action, params)).unwrap();
    let reply = Reply::read(&cxn, &response.body);
    let reply = reply.unwrap_or_else(|error| panic!("{error}: {response:?}\n{}", server.log()));
    (response, reply)
}

/// Sends a request of a site to the program itself; returns what is in the reply.
pub fn ask_directly(world: &World, site: &Site, action: &str) -> Reply {
    let cxn = site.registered();
    let body = registrant().request(&cxn, action, &json!([]));
    let mut command = world.command(&["registration"]);
    command.env("REQUEST_METHOD", "POST").env("PATH_INFO", format!("/{APP}/cxn")).env("REMOTE_ADDR", "127.0.0.1");
    let mut child = command.env("CONTENT_LENGTH", body.len().to_string()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    let output = child.wait_with_output().unwrap();
    let start = output.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |end| end + 4);
    Reply::read(&cxn, &output.stdout[start..]).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The reply that something was done.
pub fn success(site: &Site) -> Reply {
    Reply::Message(json!({"is_error": 0, "values": {"cxn_id": site.cxn_id}}))
}
