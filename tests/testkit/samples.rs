//! Stores that several tests start from.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{APP, MIDNIGHT, World, json_lines};

/// The retry expression of [`every_state`].
pub const RETRY: [&str; 2] = ["--retry", "1 hour (x1); 1 day (x1)"];
/// A time shortly after the last run of [`every_state`].
pub const NOW: &str = "2026-01-02T01:00:10Z";

/// Builds a store with connections in every state, of two apps.
///
/// Sites 0 and 1 are healthy, 2 is given up, 3 is retrying, 4 is deferred. Site 5, of another app, is new.
pub fn every_state() -> World {
    let world = World::with(["ok", "ok", "status-500", "ok-first-2", "ok-first-9"]);
    world.import_text(&world.site(4, "retry-after-80000").jsonl());
    for (tick, hours) in [0, 1, 25].into_iter().enumerate() {
        let more = if tick == 0 { vec!["--strict"] } else { vec![] };
        let now = (MIDNIGHT + hours * 3600).to_string();
        world.run(&[&["poll", APP, "--now", &now, "--per-host", "9"], &RETRY[..], &more[..]].concat());
    }
    let mut other: Value = serde_json::from_str(&world.site(5, "ok").jsonl()).unwrap();
    other["appId"] = json!("app:org.example.other");
    other["siteUrl"] = json!("https://new.Example.org/civicrm?q=1");
    world.import_text(&other.to_string());
    world
}

/// Returns the numbers of the sites that a filter selects at [`NOW`].
pub fn selected(world: &World, filter: &[&str]) -> BTreeSet<u32> {
    let lines = json_lines(&world.text(&[&["get", "--json", "--now", NOW], filter].concat()));
    lines.iter().map(|line| line["cxnId"].as_str().unwrap()[26..].parse().unwrap()).collect()
}

/// Builds a store in which every field of a connection is used.
///
/// It has texts that need escapes, a viaPort, a disabled connection, and statuses of two jobs.
pub fn every_field() -> World {
    let world = World::with(["ok", "status-500", "ok"]);
    let change = |number: u32, key: &str, value: Value| {
        let mut line: Value = serde_json::from_str(&world.site(number, "ok").jsonl()).unwrap();
        line["siteUrl"] = json!(world.site(number, if number == 1 { "status-500" } else { "ok" }).site_url);
        line[key] = value;
        world.import_text(&line.to_string());
    };
    world.poll(MIDNIGHT, &[]);
    world.poll(MIDNIGHT, &["--name", "other"]);
    change(0, "perm", json!({"why": "a, \"b\"\tc\nd \\ é", "n": [1, null]}));
    change(1, "viaPort", json!("proxy.example.org:81"));
    change(2, "disabled", json!(true));
    world
}
