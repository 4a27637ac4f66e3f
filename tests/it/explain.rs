//! `explain`.

use civisite::Site;
use serde_json::{Map, Value, json};

use crate::testkit::{MIDNIGHT, World, assert_no_secret, short_id};

#[test]
fn explain_shows_a_redirect_to_another_path_and_does_not_suggest_it() {
    let world = World::with(["redirect-301"]);
    world.poll(MIDNIGHT, &[]);
    let site = world.site(0, "redirect-301");
    let text = world.text(&["explain", &site.cxn_id]);
    let target = world.site(0, "ok").site_url;
    assert!(text.contains(&format!("redirect: redirected (301 Moved Permanently) to {target}")), "{text}");
    assert!(!text.contains("seems to have moved"), "{text}");
    assert_eq!(world.explain(&site, MIDNIGHT)["suggestedSiteUrl"], Value::Null);
}

/// The keys of `explain --json`, in order.
const KEYS: [&str; 16] = [
    "cxnId",
    "appId",
    "jobName",
    "state",
    "pollLevel",
    "pollCount",
    "lastRun",
    "nextDue",
    "lastOutcome",
    "lastSuccess",
    "suggestedSiteUrl",
    "skipped",
    "attempts",
    "adminActions",
    "failingSince",
    "last30Days",
];

#[test]
fn explain_describes_every_state() {
    let behaviours = ["ok", "status-500", "status-410", "retry-after-7200", "ok", "ok"];
    let world = World::new();
    let sites = world.sites(behaviours);
    world.import(&sites[..5]);
    world.poll(MIDNIGHT, &["--retry", "1 hour (x2); 1 day (x1)"]);
    let line = |site: &Site, key: &str, value: Value| {
        let mut line: Map<String, Value> = serde_json::from_str(&site.jsonl()).unwrap();
        line.insert(key.to_owned(), value);
        Value::Object(line).to_string()
    };
    let beyond = json!({"default": {"pollLevel": 2, "pollCount": 0, "lastRun": MIDNIGHT + 1}});
    world.import_text(&line(&sites[2], "pollStatus", beyond));
    world.import_text(&line(&sites[4], "disabled", json!(true)));
    world.import(&sites[5..]);

    for (site, state, count, next_due, class, sentence) in [
        (0, "healthy", 0, json!(MIDNIGHT + 3600), json!("ok"), "Healthy: the last poll succeeded"),
        (
            1,
            "retrying",
            1,
            json!(MIDNIGHT + 3600),
            json!("http"),
            "Retrying: 1 of 2 failures at level 0 (every 1 hour)",
        ),
        (2, "given-up", 0, Value::Null, Value::Null, "Given up: not polled again"),
        (3, "deferred", 0, json!(MIDNIGHT + 7200), json!("http"), "Deferred: "),
        (4, "disabled", 0, Value::Null, json!("ok"), "Disabled: not polled"),
        (5, "new", 0, json!(0), Value::Null, "New: never polled"),
    ] {
        let site = &sites[site];
        let explained = world.explain(site, MIDNIGHT + 60);
        assert_eq!(explained.as_object().unwrap().keys().collect::<Vec<_>>(), KEYS);
        assert_eq!((&explained["state"], &explained["pollCount"]), (&json!(state), &json!(count)), "{explained}");
        assert_eq!((&explained["nextDue"], &explained["lastOutcome"]["class"]), (&next_due, &class), "{explained}");
        let last = explained["attempts"].as_array().unwrap().last().map_or(&Value::Null, |attempt| &attempt["class"]);
        assert_eq!(last, &class, "{explained}");
        let succeeded = if class == "ok" { json!(MIDNIGHT) } else { Value::Null };
        assert_eq!(explained["lastSuccess"], succeeded, "{explained}");

        let now = (MIDNIGHT + 60).to_string();
        let text = world.text(&["explain", short_id(site), "--now", &now]);
        assert!(text.contains(sentence) && text.contains(&site.site_url), "{text}");
        assert_no_secret(site, &text);
    }
    let text = world.text(&["explain", short_id(&sites[1]), "--now", "2026-01-01T01:00:00Z"]);
    assert!(text.contains("It is due now, since 2026-01-01 01:00:00Z"), "{text}");
    assert!(text.contains("Last failure at 2026-01-01 00:00:00Z (1 h ago): http"), "{text}");
    let strict = world.json(&["explain", short_id(&sites[1]), "--json", "--retry", "1 day (x9)"]);
    assert_eq!(strict["nextDue"], MIDNIGHT + 86_400);
    assert_eq!(world.json(&["explain", short_id(&sites[1]), "--json", "--name", "nightly"])["state"], "new");
}
