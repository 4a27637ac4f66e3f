//! When a site is due again.

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, stderr, stdout};

#[test]
fn failing_site_is_polled_less_often_and_then_given_up() {
    let world = World::with(["ok", "status-500"]);
    let retry = "20min (x2); 1hour (x2)";
    let mut polls = Vec::new();
    for tick in 0..24 {
        let now = MIDNIGHT + tick * 600;
        let before = [world.server.polls(0), world.server.polls(1)];
        let summary = world.poll(now, &["--retry", retry]);
        let polled: Vec<u32> = (0..2).filter(|n| world.server.polls(*n) > before[*n as usize]).collect();
        assert_eq!(summary["polled"], polled.len());
        if polled.contains(&1) {
            polls.push((tick * 10, summary["givenUp"].as_u64().unwrap()));
        }
        assert_eq!(polled.contains(&0), tick % 2 == 0, "the healthy site at tick {tick}");
    }
    assert_eq!(polls, [(0, 0), (20, 0), (80, 0), (140, 1)]);
    let explained = world.explain(&world.site(1, "status-500"), MIDNIGHT + 86_400);
    assert_eq!((&explained["state"], &explained["nextDue"]), (&json!("given-up"), &Value::Null));
    world.assert_sound();
}

#[test]
fn deferral_is_not_counted_as_a_failure() {
    for behaviour in ["retry-after-7200", "busy-7200"] {
        check_deferral(behaviour);
    }
}

/// Asserts that a site of this behaviour is deferred twice, and counts as failed the third time.
fn check_deferral(behaviour: &str) {
    let world = World::with([behaviour]);
    let site = world.site(0, behaviour);
    let summary = world.poll(MIDNIGHT, &[]);
    assert_eq!((&summary["deferred"], &summary["failed"]), (&json!(1), &json!(0)), "{summary}");
    let explained = world.explain(&site, MIDNIGHT + 3600);
    assert_eq!((&explained["state"], &explained["pollCount"]), (&json!("deferred"), &json!(0)), "{explained}");
    // The program compares a date with the real clock, which goes on.
    let due = explained["nextDue"].as_i64().unwrap();
    assert!((MIDNIGHT + 7190..=MIDNIGHT + 7200).contains(&due), "{explained}");
    let text = world.text(&["explain", &site.cxn_id, "--now", "1767225600"]);
    assert!(text.contains("asked not to be polled until 2026-01-01 0"), "{text}");
    assert_eq!(world.poll(MIDNIGHT + 7000, &[])["due"], 0);
    assert_eq!(world.poll(MIDNIGHT + 7200, &[])["deferred"], 1);
    assert_eq!(
        world.poll(MIDNIGHT + 14_400, &[])["failures"],
        json!({"http": 1}),
        "the third in a row counts as a failure"
    );
    world.assert_sound();
}

#[test]
fn changed_retry_expression_warns_of_sites_it_affects() {
    let world = World::with(["status-500"; 5]);
    let at = |tick: i64, retry: &str| {
        let now = (MIDNIGHT + tick * 3600).to_string();
        stderr(&world.run(&["poll", APP, "--per-host", "9", "--now", &now, "--retry", retry]))
    };
    assert_eq!(at(0, "1 hour (x1); 1 hour (x9)"), "");
    let shorter = at(1, "1 hour (x1)");
    assert!(shorter.contains("gives up 5 sites"), "{shorter}");
    assert_eq!(world.server.total(), 5, "given-up sites are not polled");
    let longer = at(2, "1 hour (x1); 1 hour (x9)");
    assert!(longer.contains("brings back 5 sites"), "{longer}");
    assert_eq!(world.server.total(), 10);
}

#[test]
fn a_poll_that_is_brought_forward_is_shown_exported_and_made_early() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    let status = json!({"default": {"pollLevel": 0, "pollCount": 0, "lastRun": MIDNIGHT, "earlyS": 600}});
    let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
    line["pollStatus"] = status.clone();
    world.import_text(&line.to_string());
    let exported: Value = serde_json::from_str(&world.export()[0]).unwrap();
    assert_eq!(exported["pollStatus"], status);
    let retry = "20 min (x3)";
    let at = |seconds: i64, more: &[&str]| {
        let now = (MIDNIGHT + seconds).to_string();
        let output = world.run(&[&["poll", APP, "--retry", retry, "--now", &now, "--json"], more].concat());
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    assert_eq!(at(569, &["--dry-run"]), None);
    let dry = at(570, &["--dry-run"]).unwrap();
    assert_eq!((&dry["lastRun"], &dry["due"]), (&json!(MIDNIGHT), &json!(MIDNIGHT + 600)));
    let now = (MIDNIGHT + 60).to_string();
    let explained = world.json(&["explain", &site.cxn_id, "--json", "--retry", retry, "--now", &now]);
    assert_eq!((&explained["lastRun"], &explained["nextDue"]), (&json!(MIDNIGHT), &json!(MIDNIGHT + 600)));
    assert_eq!(explained["state"], "healthy");
    assert_eq!(
        (at(569, &[]).unwrap()["polled"].clone(), at(570, &[]).unwrap()["polled"].clone()),
        (json!(0), json!(1))
    );
    // A poll by which no crowd is polled has its exact time again.
    let exported: Value = serde_json::from_str(&world.export()[0]).unwrap();
    assert_eq!(exported["pollStatus"]["default"].get("earlyS"), None);
    world.assert_sound();
}

#[test]
fn polling_continues_after_a_wrong_clock() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT + 100 * 86_400, &[]);
    let output = world.run(&["poll", APP, "--now", &MIDNIGHT.to_string()]);
    assert!(stderr(&output).contains("future"), "{output:?}");
    assert_eq!(world.explain(&world.site(0, "ok"), MIDNIGHT)["lastRun"], MIDNIGHT);
}

#[test]
fn backfill_continues_after_an_interruption() {
    let world = World::with(["ok"; 40]);
    // The import creates the job, with a status for one connection only.
    let line = world
        .site(0, "ok")
        .jsonl()
        .replace('}', &format!(r#","pollStatus":{{"late":{{"pollLevel":0,"pollCount":0,"lastRun":{MIDNIGHT}}}}}}}"#));
    world.import_text(&line);
    let dry = world.run(&["poll", APP, "--name", "late", "--dry-run", "--json", "--now", "1767225601"]);
    assert_eq!(stdout(&dry).lines().count(), 39);
    assert_eq!(world.poll(MIDNIGHT + 1, &["--name", "late"])["polled"], 39);
    world.assert_sound();
}
