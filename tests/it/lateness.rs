//! Polls that begin late: figures, runs that cannot keep up, and a time without runs.

use serde_json::json;

use crate::testkit::{APP, MIDNIGHT, World, code, stderr};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
const RETRY: [&str; 2] = ["--retry", "20 min (x6); 1 day (x9)"];

/// Polls with some options, and returns what cron would mail.
fn mail(world: &World, now: i64, more: &[&str]) -> String {
    let output = world.run(&[&["poll", APP, "--now", &now.to_string()], &RETRY[..], more].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    stderr(&output)
}

#[test]
fn lateness_counts_from_the_due_time_and_is_kept() {
    let world = World::with(["ok", "ok"]);
    assert_eq!(world.poll(MIDNIGHT, &RETRY)["latenessS"], json!(null), "new sites have no due time");
    assert_eq!(world.poll(MIDNIGHT + 20 * MINUTE - 20, &RETRY)["latenessS"]["max"], 0, "20 s early");
    let late = world.poll(MIDNIGHT + 60 * MINUTE, &RETRY)["latenessS"].clone();
    let p50 = late["p50"].as_i64().unwrap();
    assert!((20 * MINUTE + 20..20 * MINUTE + 60).contains(&p50), "{late}");
    let last_run = || world.json(&["status", "--json"])[0]["lastRun"].clone();
    assert_eq!((&last_run()["latenessS"], &last_run()["behindSince"]), (&late, &json!(null)));
    let text = world.text(&["status"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("lateness p50 20 min 2"), "{text}");
    // A poll by hand has no due time.
    let by_hand = world.json(&["poll", APP, "--json", "--cxn", &world.site(0, "ok").cxn_id]);
    assert_eq!(by_hand["latenessS"], json!(null));
    // A backup carries it.
    world.text(&["store", "backup"]);
    assert_eq!(code(&world.run(&["store", "restore", "--yes"])), 0);
    assert_eq!(last_run()["latenessS"], late);
}

#[test]
fn a_run_that_cannot_keep_up_says_so_once_a_day() {
    let world = World::with(["slow-400"; 4]);
    let cut = ["--threads", "1", "--max-runtime", "0.6"];
    let first = mail(&world, MIDNIGHT, &cut);
    let needs = " of 4 due sites were left after 1 s; about ";
    assert!(first.starts_with("warning: cannot keep up: ") && first.contains(needs), "{first}");
    assert!(first.contains(" workers (--threads) or about "), "{first}");
    assert_eq!(first.lines().count(), 1);
    let behind = || world.json(&["status", "--json"])[0]["lastRun"]["behindSince"].clone();
    assert_eq!(mail(&world, MIDNIGHT + 20 * MINUTE, &cut), "", "cron is not to mail at each tick");
    assert_eq!(behind(), MIDNIGHT);
    let text = world.text(&["status"]);
    assert!(text.contains("\n  Behind    since 2026-01-01 00:00:00Z"), "{text}");
    assert_eq!(mail(&world, MIDNIGHT + 80 * MINUTE, &[]), "");
    assert_eq!(behind(), json!(null));
    let next_day = mail(&world, MIDNIGHT + DAY, &cut);
    assert!(next_day.contains("cannot keep up"), "{next_day}");
    assert_eq!(mail(&world, MIDNIGHT + DAY + 20 * MINUTE, &["--limit", "6"]), "");
    assert_eq!(behind(), json!(MIDNIGHT + DAY), "a limited run shows nothing");
}

#[test]
fn the_run_after_a_stop_reports_it_once() {
    let world = World::with(["ok", "ok"]);
    let ticks = |from: i64, count: i64| {
        for tick in 0..count {
            assert_eq!(mail(&world, from + tick * 5 * MINUTE, &[]), "", "tick {tick}");
        }
    };
    ticks(MIDNIGHT, 6);
    let after = MIDNIGHT + 2 * DAY;
    let times = "between 2026-01-01 00:25:00Z and 2026-01-03 00:00:00Z (1 d 23 h)";
    assert_eq!(mail(&world, after, &[]), format!("warning: no run began {times}: 2 sites are due\n"));
    ticks(after + 5 * MINUTE, 4);
    // Nothing became due in this one.
    assert_eq!(mail(&world, after + 35 * MINUTE, &[]), "");
}
