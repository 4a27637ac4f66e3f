//! What a run polls, and what it reports.

use std::fs;

use civisite::Behaviour;
use serde_json::json;

use crate::testkit::{APP, CERTIFICATE, MIDNIGHT, World, assert_quiet, code, json_lines, stderr, stdout, until, wait};

#[test]
fn crontab_line_of_cxnapp_works_with_its_apps_directory() {
    let world = World::new();
    let sites = world.sites(["ok"; 12]);
    world.import(&sites);
    let app = world.path("apps/org.example.myapp");
    fs::create_dir_all(&app).unwrap();
    fs::write(app.join("metadata.json"), r#"{"app:org.example.myapp": {"title": "Mine", "appCert": "*PLACEHOLDER*"}}"#)
        .unwrap();
    fs::write(app.join("app.crt"), CERTIFICATE).unwrap();
    world.set_config("apps-dir = \"apps\"\nallow-net = [\"127.0.0.0/8\"]\n");

    world.server.record_calls();
    for batch in ["0/4", "1/4", "2/4", "3/4"] {
        let batch = format!("--batch={batch}");
        let line = ["cxn:poll", "org.example.myapp", "--name=get_site_info", &batch, "--retry=1 day (x30)"];
        assert_quiet(&world.run(&[&line[..], &["--env=prod", "--no-debug", "-n"]].concat()));
        assert_quiet(&world.run(&[&line[..], &["-e", "prod"]].concat()));
    }
    for site in &sites {
        assert_eq!(world.server.polls(site.number), 1, "{}", site.cxn_id);
    }
    let call = world.server.last_call(sites[0].number).unwrap();
    assert_eq!((call.entity.as_str(), call.action.as_str()), ("System", "get"));
    assert_eq!(call.app_cert, CERTIFICATE);

    fs::write(app.join("disable"), "").unwrap();
    assert_quiet(&world.run(&["poll", "org.example.myapp", "--name", "other"]));
    assert_eq!(world.server.total(), 12);
}

#[test]
fn run_needs_no_environment() {
    let world = World::with(["ok"]);
    let mut command = world.command(&["--store", world.store().to_str().unwrap(), "poll", APP]);
    command.env_remove("HOME").env_remove("CXNPOLL_STORE");
    assert_quiet(&command.output().unwrap());
    assert_eq!(world.server.total(), 1);
}

#[test]
fn every_misbehaviour_has_its_failure_class() {
    let classes = [
        ("ok", "ok"),
        ("slow-100", "ok"),
        ("redirect-307", "ok"),
        ("redirect-308", "ok"),
        ("api-error", "api"),
        ("garbled", "garbled"),
        ("insecure", "garbled"),
        ("empty", "garbled"),
        ("status-500", "http"),
        ("status-404", "http"),
        ("status-410", "gone"),
        ("wrong-cxn", "protocol"),
        ("expired", "protocol"),
        ("bad-hmac", "protocol"),
        ("hang", "timeout"),
        ("drip", "timeout"),
        ("endless", "too-large"),
        ("redirect-302", "redirect"),
        ("redirect-loop", "redirect"),
        ("close", "disconnected"),
        ("reset", "disconnected"),
        ("short", "disconnected"),
    ];
    let world = World::with(classes.map(|(behaviour, _)| behaviour));
    let summary = world.poll(MIDNIGHT, &["--timeout", "2"]);
    assert_eq!((&summary["polled"], &summary["ok"]), (&json!(classes.len()), &json!(4)), "{summary}");
    for ((behaviour, class), site) in classes.iter().zip(world.sites(classes.map(|(behaviour, _)| behaviour))) {
        let explained = world.explain(&site, MIDNIGHT);
        assert_eq!(explained["lastOutcome"]["class"], *class, "{behaviour}: {explained}");
    }
    world.assert_sound();
}

#[test]
fn private_addresses_are_refused_unless_allowed() {
    let world = World::with(["ok"; 3]);
    world.set_config("");
    let poll = ["poll", APP, "--json", "--now", "1767225600"];
    let summary = world.json(&poll);
    assert_eq!(summary["failures"], json!({"blocked": 3}));
    assert_eq!(world.server.total(), 0);
    let later = ["poll", APP, "--json", "--now", "1767229200", "--allow-net", "127.0.0.1"];
    assert_eq!(world.json(&later)["ok"], 3);
}

#[test]
fn dry_run_lists_due_sites_and_changes_nothing() {
    let world = World::with(["ok", "status-500", "ok"]);
    let database = world.store().join("db-1/db");
    let before = fs::read(&database).unwrap();
    let list = |more: &[&str]| {
        let output = world.run(&[&["poll", APP, "--dry-run", "--json"], more].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        json_lines(&stdout(&output))
    };
    assert_eq!(list(&[]).len(), 3);
    assert_eq!(list(&["--limit", "2"]).len(), 2);
    assert_eq!((world.server.total(), fs::read(&database).unwrap()), (0, before));

    world.poll(MIDNIGHT, &["--retry", "1 hour (x1); 10 min (x9)"]);
    let due = list(&["--now", &(MIDNIGHT + 600).to_string(), "--retry", "1 hour (x1); 10 min (x9)"]);
    let site = world.site(1, "status-500");
    assert_eq!(
        due,
        [json!({"cxnId": site.cxn_id, "siteUrl": site.site_url, "pollLevel": 1, "pollCount": 0,
                "lastRun": MIDNIGHT, "due": MIDNIGHT + 600})]
    );
}

#[test]
fn one_connection_is_polled_by_hand_whether_due_or_not() {
    let world = World::with(["ok", "status-500"]);
    let [good, bad] = [world.site(0, "ok"), world.site(1, "status-500")];
    let dry = world.run(&["poll", APP, "--cxn", &good.cxn_id, "--dry-run", "--json"]);
    assert_eq!(stdout(&dry).lines().count(), 1);
    for polls in 1..=2 {
        assert_quiet(&world.run(&["poll", APP, "--cxn", &good.cxn_id]));
        assert_eq!(world.server.polls(0), polls);
    }
    let failed = world.run(&["poll", APP, "--cxn", &bad.cxn_id]);
    let expected = format!("warning: {} failed: http: status 500", bad.cxn_id);
    assert!(stderr(&failed).starts_with(&expected) && stderr(&failed).lines().count() == 1, "{failed:?}");
    assert_eq!((code(&failed), stdout(&failed).as_str()), (3, ""));
    assert_eq!(world.explain(&bad, MIDNIGHT)["pollCount"], 1);
    let quiet = world.run(&["poll", APP, "--cxn", &bad.cxn_id, "--quiet"]);
    assert_eq!((code(&quiet), stderr(&quiet).as_str()), (3, ""));
    assert_eq!(code(&world.run(&["poll", APP, "--cxn", "cxn:none"])), 66);
    assert_eq!(code(&world.run(&["poll", APP, "--name", "other", "--strict"])), 3);
    assert_eq!(code(&world.run(&["poll", APP, "--name", "third"])), 0);
}

#[test]
fn poll_by_hand_exits_3_after_a_deferral() {
    let world = World::with(["retry-after-7200"]);
    let site = world.site(0, "retry-after-7200");
    let output = world.run(&["poll", APP, "--cxn", &site.cxn_id, "--now", &MIDNIGHT.to_string()]);
    assert_eq!(code(&output), 3, "{output:?}");
    assert_eq!(world.explain(&site, MIDNIGHT + 60)["state"], "deferred");
}

#[test]
fn slow_site_is_polled_first_the_next_time() {
    let world = World::on_all_addresses();
    let mut sites = world.sites(["slow-400"; 3]);
    // On each host the most overdue site comes first.
    sites.push(world.site_on_own_host(3, Behaviour::Slow(1100)));
    world.import(&sites);
    world.poll(MIDNIGHT, &[]);
    let next = (MIDNIGHT + 3600).to_string();
    let run = world.start(&["poll", APP, "--threads", "2", "--now", &next]);
    until("two sites are polled", || world.server.total() == 6);
    assert_eq!(world.server.polls(3), 2);
    assert_eq!(wait(run).0.code(), Some(0));
    let output = world.run(&["explain", &sites[3].cxn_id]);
    assert!(stdout(&output).contains("; it took 1."), "{output:?}");
    let lines = json_lines(&world.export().join("\n"));
    let took = lines.iter().map(|line| line["pollStatus"]["default"]["tookMs"].as_u64().unwrap());
    assert_eq!(took.filter(|ms| (1100..2000).contains(ms)).count(), 1);
}
