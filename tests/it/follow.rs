//! `follow`, and runs that follow sites.

use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::TcpListener;
use std::thread;

use civisite::Site;
use serde_json::{Value, json};

use crate::testkit::{MIDNIGHT, World, assert_quiet};

/// Starts a server that redirects each path `/STATUS/TARGET` to `TARGET`. Returns its URL, which ends with a slash.
fn redirector() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push(line);
            }
            copy(&mut reader.take(length), &mut sink()).unwrap();
            let path = head[0].split(' ').nth(1).unwrap();
            let (status, target) = path[1..].split_once('/').unwrap();
            let reply =
                format!("HTTP/1.1 {status} x\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    url
}

/// Returns the siteUrl that is stored for a site.
fn site_url(world: &World, site: &Site) -> String {
    let lines = world.export().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let line = lines.into_iter().find(|line| line["cxnId"] == site.cxn_id.as_str()).unwrap();
    line["siteUrl"].as_str().unwrap().to_owned()
}

#[test]
fn follow_adopts_what_answers_behind_permanent_redirects() {
    let world = World::new();
    let at = redirector();
    let ok = world.site(0, "ok").site_url;
    for redirects in ["@301/", "@308/", "@301/@301/", "@308/@301/", "@301/@308/@301/"] {
        let site = Site { site_url: redirects.replace('@', &at) + &ok, ..world.site(0, "ok") };
        world.import(std::slice::from_ref(&site));
        let expected = json!({"cxnId": site.cxn_id, "changes": [{"key": "siteUrl", "from": site.site_url, "to": ok}]});
        assert_eq!(world.json(&["follow", &site.cxn_id, "--json", "--dry-run"]), expected);
        assert_eq!(site_url(&world, &site), site.site_url);
        assert_eq!(world.json(&["follow", &site.cxn_id, "--json"]), expected);
        assert_eq!(site_url(&world, &site), ok);
        let actions = world.explain(&site, MIDNIGHT)["adminActions"].clone();
        assert_eq!(actions.as_array().unwrap().last().unwrap()["action"], "follow");
    }
    world.assert_sound();
}

#[test]
fn follow_refuses_every_other_redirect() {
    let world = World::new();
    let at = redirector();
    let [ok, failing, forged] = ["ok", "status-500", "wrong-cxn"].map(|behaviour| world.site(0, behaviour).site_url);
    for (url, expected) in [
        (ok.clone(), "is not redirected"),
        (failing.clone(), "failed at http://127.0.0.1:"),
        (format!("{at}302/{ok}"), "only for now"),
        (format!("{at}303/{ok}"), "only for now"),
        (format!("{at}307/{ok}"), "only for now"),
        (format!("{at}301/{at}302/{ok}"), "only for now"),
        (format!("{at}301/{at}307/{ok}"), "only for now"),
        (format!("{at}307/{at}301/{ok}"), "only for now"),
        (format!("{at}301/{at}301/{at}301/{at}301/{ok}"), "is redirected too many times"),
        (format!("{at}301/{failing}"), "/site/0/status-500: http: status 500"),
        // It does not know the secret.
        (format!("{at}301/{forged}"), "/site/0/wrong-cxn: protocol: "),
        (format!("{at}301/http://10.0.0.1/"), "blocked: "),
        (format!("{at}301/http://127.0.0.1:22/"), "blocked: "),
    ] {
        world.import(&[Site { site_url: url.clone(), ..world.site(0, "ok") }]);
        let message = world.refused(3, &["follow", &world.site(0, "ok").cxn_id]);
        assert!(message.contains(expected) && message.contains("; nothing was changed"), "{url}: {message}");
        assert_eq!(site_url(&world, &world.site(0, "ok")), url);
    }
    let cxn = world.site(0, "ok").cxn_id;
    assert_quiet(&world.run(&["set", &cxn, "viaPort=127.0.0.1:9"]));
    let message = world.refused(2, &["follow", &cxn]);
    assert!(message.contains("has a viaPort") && message.contains("hint: set both"), "{message}");
}
