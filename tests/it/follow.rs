//! `follow`, and runs that follow sites.

use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use civisite::Site;
use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, stderr};

const DAY: i64 = 86_400;

/// Starts a server that redirects each path `/STATUS/TARGET` to `TARGET`. Returns its URL, which ends with a slash.
pub fn redirector() -> String {
    counting_redirector().0
}

/// As [`redirector`]. Also returns how many requests it had.
fn counting_redirector() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let requests = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                let read = reader.read_line(&mut line).unwrap_or(0);
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if read == 0 || line.trim().is_empty() {
                    break;
                }
                head.push(line);
            }
            // A connection may be closed before it is used.
            let Some(request) = head.first() else { continue };
            copy(&mut reader.take(length), &mut sink()).unwrap();
            let path = request.split(' ').nth(1).unwrap();
            // `doctor` requests `/`, which names no status.
            let (status, target) = path[1..].split_once('/').unwrap_or(("404", ""));
            let reply =
                format!("HTTP/1.1 {status} x\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    (url, requests)
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

#[test]
fn runs_follow_a_permanent_redirect_on_the_third_day() {
    let world = World::new();
    let mut sites = world.sites(["redirect-301", "redirect-308", "redirect-302", "redirect-301", "ok", "ok"]);
    // The same host, and another port.
    sites[4].site_url = format!("{}301/{}", redirector(), sites[4].site_url);
    world.import(&sites);
    world.append_config("[follow]\npermanent = true\n");
    let poll = |now: i64| {
        let summary = world.run(&["poll", APP, "--per-host", "64", "-v", "--now", &now.to_string()]);
        (stderr(&summary), sites.iter().map(|site| site_url(&world, site)).collect::<Vec<_>>())
    };
    let before: Vec<_> = sites.iter().map(|site| site.site_url.clone()).collect();
    for now in [MIDNIGHT, MIDNIGHT + DAY - 3600, MIDNIGHT + DAY] {
        assert_eq!(poll(now).1, before);
    }
    // A user's change in between begins anew.
    assert_quiet(&world.run(&["set", &sites[3].cxn_id, &format!("siteUrl={}?", sites[3].site_url)]));
    let now = MIDNIGHT + 5 * DAY;
    let (log, after) = poll(now);
    assert_eq!(log.matches("permanent redirects are followed").count(), 2, "{log}");
    assert_eq!(after[..2], [0, 1].map(|number| world.site(number, "ok").site_url));
    assert_eq!(after[2..], [before[2].clone(), before[3].clone() + "?", before[4].clone(), before[5].clone()]);
    for (number, state) in [(0, "healthy"), (1, "healthy"), (2, "retrying"), (3, "retrying"), (4, "retrying")] {
        assert_eq!(world.explain(&sites[number], now)["state"], state, "{number}");
    }
    let actions = world.explain(&sites[0], now)["adminActions"].clone();
    assert_eq!(actions[1]["detail"], format!("siteUrl {} → {}", before[0], after[0]));
    assert_eq!((&actions[1]["action"], &actions[1]["user"]), (&json!("follow"), &json!("cxnpoll")));
    world.assert_sound();
    assert_eq!(poll(now + DAY).1, after);
}

#[test]
fn a_target_that_is_not_adopted_is_polled_once_a_day() {
    let world = World::new();
    let (at, requests) = counting_redirector();
    // To itself, and from there to another port, which is no target for a run.
    let site = Site { site_url: format!("{at}301/{at}301/{}", world.site(0, "ok").site_url), ..world.site(0, "ok") };
    world.import(std::slice::from_ref(&site));
    world.append_config("[follow]\npermanent = true\n");
    let poll = |now: i64| {
        requests.store(0, Ordering::SeqCst);
        let output = world.run(&["poll", APP, "-v", "--retry", "1 hour (x*)", "--now", &now.to_string()]);
        let logged = stderr(&output).contains("is not followed, and is tried again tomorrow: it redirects elsewhere");
        (requests.load(Ordering::SeqCst), logged)
    };
    for day in 0..2 {
        assert_eq!(poll(MIDNIGHT + day * DAY), (1, false));
    }
    for day in 2..5 {
        let hours = [0, 1, 2, 3].map(|hour| poll(MIDNIGHT + day * DAY + hour * 3600));
        assert_eq!(hours, [(2, true), (1, false), (1, false), (1, false)], "day {day}");
    }
    assert_eq!(site_url(&world, &site), site.site_url);
}

#[test]
fn runs_follow_nothing_by_default() {
    let world = World::with(["redirect-301"]);
    let site = world.site(0, "redirect-301");
    for day in 0..5 {
        world.poll(MIDNIGHT + day * DAY, &[]);
    }
    assert_eq!(site_url(&world, &site), site.site_url);
}
