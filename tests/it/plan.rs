//! `plan`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World};

const TICK: i64 = 300;

/// The polls of each run that is forecast.
fn polls(plan: &Value) -> Vec<u64> {
    plan[0]["ticks"].as_array().unwrap().iter().map(|tick| tick["polls"].as_u64().unwrap()).collect()
}

#[test]
fn a_plan_is_what_the_next_runs_poll() {
    let world = World::new();
    let retry = ["--retry", "20 min (x4); 1 hour (x1)", "--max-runtime", "1h"];
    let behaviours = |ok: usize, failing: usize| [vec!["ok"; ok], vec!["status-500"; failing]].concat();
    let sites = world.sites([behaviours(160, 4), behaviours(100, 0)].concat());
    world.import(&sites[..164]);
    let run = |tick: i64| world.poll(MIDNIGHT + tick * TICK, &retry)["polled"].as_u64().unwrap();
    (0..3).for_each(|tick| _ = run(tick));
    // Another import, and a run that is missed.
    world.import(&sites[164..]);
    run(4);
    let now = (MIDNIGHT + 4 * TICK).to_string();
    let plan = world.json(&["plan", APP, "--json", "--hours", "3", "--now", &now]);
    let expected: Vec<_> = (5..41).map(run).collect();
    assert_eq!(polls(&plan), expected);
    let sum: u64 = expected.iter().sum();
    let peak = expected.iter().max().unwrap();
    let first_peak = expected.iter().position(|polls| polls == peak).unwrap();
    assert_eq!(
        (&plan[0]["polls"], &plan[0]["peak"]["polls"], &plan[0]["tickS"]),
        (&json!(sum), &json!(peak), &json!(TICK))
    );
    assert_eq!(plan[0]["peak"]["at"], plan[0]["ticks"][first_peak]["at"]);
    assert_eq!(plan[0]["ticks"][0]["at"], MIDNIGHT + 5 * TICK);
    // The fifth failure in a row is an hour after the fourth.
    let given_up = &plan[0]["givenUp"];
    assert_eq!((&given_up["count"], &plan[0]["levels"][1]), (&json!(4), &json!(4)));
    let named: BTreeSet<_> =
        given_up["sites"].as_array().unwrap().iter().map(|site| site["cxnId"].to_string()).collect();
    assert_eq!(named, sites[160..164].iter().map(|site| format!("{:?}", site.cxn_id)).collect());
    let status = world.json(&["status", "--json"]);
    assert_eq!(status[0]["givenUp"], 4);
}

#[test]
fn a_plan_before_any_run_and_with_nothing_to_plan() {
    let world = World::new();
    let behaviours = ["ok"; 3];
    let mut lines: Vec<String> = world.sites(behaviours).iter().map(civisite::Site::jsonl).collect();
    let mut off: Value = serde_json::from_str(&lines[2]).unwrap();
    off["disabled"] = json!(true);
    lines[2] = off.to_string();
    world.import_text(&lines.join("\n"));
    let now = (MIDNIGHT + 7).to_string();
    let plan = world.json(&["plan", "--json", "--now", &now, "--hours", "1"]);
    let ticks = polls(&plan);
    assert_eq!((ticks.len(), ticks[0], ticks.iter().sum::<u64>()), (12, 2, 2), "one hour with the default expression");
    let first = &plan[0]["ticks"][0];
    assert_eq!((&first["at"], &first["durationS"]), (&json!(MIDNIGHT + 300), &Value::Null), "as cron starts runs");
    assert_eq!(plan[0]["sites"], json!({"scheduled": 2, "new": 2, "failing": 0, "givenUp": 0, "disabled": 1}));
    let text = world.text(&["plan", "--now", &now]);
    for part in ["1 hour (x48); 1 day (x90) (no run yet)", "288 in 24 h, every 5 min (assumed)", "1 disabled"] {
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // Half of the batch codes, and the other half.
    let of = |batch: &str| world.json(&["plan", "--json", "--batch", batch])[0]["sites"]["scheduled"].as_u64().unwrap();
    assert_eq!(of("0/2") + of("1/2"), 2);

    for (arguments, exit) in [
        (&["plan", "org.example.other"][..], 66),
        (&["plan", "--name", "nightly"], 66),
        (&["plan", "--hours", "0"], 2),
        (&["plan", "--hours", "745"], 2),
        (&["plan", "--batch", "2/2"], 2),
    ] {
        world.refused(exit, arguments);
    }
    world.append_config("disabled = true\n");
    assert_eq!(world.text(&["plan"]), format!("{APP} is disabled.\n"));
    assert_eq!(world.json(&["plan", "--json"]), json!([]));
    // A job of the configuration that never ran, which is then the only one.
    let table = format!("[jobs.\"{APP}\".nightly]\nretry = \"1 day (x3)\"\n");
    world.set_config(&table);
    for arguments in [&["plan", "--json"][..], &["plan", APP, "--json", "--name", "nightly"]] {
        let plan = world.json(arguments);
        assert_eq!((plan.as_array().unwrap().len(), &plan[0]["jobName"]), (1, &json!("nightly")));
        assert_eq!((&plan[0]["retry"], &plan[0]["polls"]), (&json!("1 day (x3)"), &json!(2)));
    }
    world.set_config("");
    world.text(&["remove", "--all", "--yes"]);
    let plan = &world.json(&["plan", "--json"])[0];
    assert_eq!((&plan["peak"], &plan["polls"], &plan["sites"]["scheduled"]), (&Value::Null, &json!(0), &json!(0)));
}

#[test]
fn a_plan_names_runs_that_would_take_too_long() {
    let world = World::new();
    let lines = world.sites(["ok"; 64]).into_iter().map(|site| {
        let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
        line["pollStatus"] = json!({"default": {"pollLevel": 0, "pollCount": 0, "lastRun": MIDNIGHT,
            "attempts": [{"at": MIDNIGHT, "class": "ok"}], "tookMs": 200_000}});
        line.to_string()
    });
    world.import_text(&lines.collect::<Vec<_>>().join("\n"));
    let now = (MIDNIGHT + 60).to_string();
    let arguments = ["plan", "--now", &now, "--hours", "2", "--retry", "1 hour (x9)"];
    let plan = world.json(&[&arguments[..], &["--json"]].concat());
    assert_eq!(plan[0]["ticks"][11], json!({"at": MIDNIGHT + 3600, "polls": 64, "durationS": 400.0}));
    assert_eq!(plan[0]["late"], json!({"count": 2, "at": MIDNIGHT + 3600}));
    let faster = world.json(&[&arguments[..], &["--json", "--threads", "64"]].concat());
    assert_eq!((&faster[0]["workers"], &faster[0]["late"]), (&json!(64), &json!({"count": 0, "at": null})));
    let text = world.text(&arguments).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("at most 6 min 40 s of a run, with 32 workers Too long 2 runs would not end before"),
        "{text}"
    );
}
