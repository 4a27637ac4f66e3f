//! How many sites are polled at a time, by address and by the tables of the configuration.

use civisite::Behaviour;
use serde_json::{Value, json};

use crate::testkit::{APP, World};

#[test]
fn names_of_one_address_share_its_limit() {
    let world = World::new();
    let lines = world.sites(["slow-100"; 12]).into_iter().map(|site| {
        let line = site.jsonl();
        if site.number % 2 == 0 { line } else { line.replace("http://127.0.0.1:", "http://localhost:") }
    });
    world.import_text(&lines.collect::<Vec<_>>().join("\n"));
    let summary = world.json(&["poll", APP, "--json"]);
    assert_eq!((&summary["ok"], world.server.max_open()), (&json!(12), 4), "{summary}");
}

#[test]
fn sites_share_the_limit_of_a_table_that_matches_them() {
    for (table, is_behind_proxy) in [
        ("net = '127.0.0.0/8'\nconcurrent = 3", false),
        ("host = '127.0.*'\nconcurrent = 3", false),
        ("proxy = '127.0.*'\nconcurrent = 3", true),
    ] {
        let world = World::on_all_addresses();
        world.append_config(&format!("[[limits]]\n{table}\n"));
        let lines = (0..12).map(|number| {
            let site = world.site_on_own_host(number, Behaviour::Slow(50));
            let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
            if is_behind_proxy {
                let own = site.site_url.split('/').nth(2).unwrap();
                line["siteUrl"] = json!(site.site_url.replace(own, "www.example.org"));
                line["viaPort"] = json!(own);
            }
            line.to_string()
        });
        world.import_text(&lines.collect::<Vec<_>>().join("\n"));
        let summary = world.json(&["poll", APP, "--json"]);
        assert_eq!((&summary["ok"], world.server.max_open()), (&json!(12), 3), "{table}: {summary}");
    }
}

#[test]
fn polls_of_a_table_start_at_its_rate() {
    let world = World::on_all_addresses();
    world.append_config("[[limits]]\nnet = '127.0.0.0/8'\nper-minute = 1200\n");
    let sites: Vec<_> = (0..9).map(|number| world.site_on_own_host(number, Behaviour::Ok)).collect();
    world.import(&sites);
    let summary = world.json(&["poll", APP, "--json"]);
    let ms = summary["elapsedMs"].as_u64().unwrap();
    assert!(summary["ok"] == 9 && (400..1500).contains(&ms), "eight times 50 ms: {summary}");
}
