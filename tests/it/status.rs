//! `status`.

use serde_json::json;

use crate::testkit::{APP, MIDNIGHT, World, code, signal, until, wait};

#[test]
fn status_counts_sites_by_state() {
    let retry = "1 hour (x1); 1 day (x1)";
    let behaviours = ["ok", "ok", "fail-first-1", "status-500", "ok-first-1", "retry-after-86400", "ok"];
    let world = World::new();
    let mut sites = world.sites(behaviours);
    world.import(&sites[..6]);
    let idle = format!("{APP}\n  Sites     6 connections, and no job has run\n  Next      cxnpoll poll {APP}\n");
    assert_eq!(world.text(&["status"]), idle);
    assert_eq!(world.text(&["status", "--name", "nightly"]), "No job nightly has run yet.\n");
    assert_eq!(world.json(&["status", "--json"]), json!([]));

    world.poll(MIDNIGHT, &["--retry", retry]);
    world.poll(MIDNIGHT + 3600, &["--retry", retry]);
    world.poll(MIDNIGHT + 86_400, &["--retry", retry]);
    let mut off = serde_json::to_value(&sites[1]).unwrap();
    off["disabled"] = json!(true);
    world.import_text(&format!("{off}\n{}", sites.remove(6).jsonl()));

    // Site 3 failed at midnight and a day later. Site 4 failed an hour after midnight, and is due an hour after
    // the last run. Site 5 was deferred until that run, and then again.
    let now = MIDNIGHT + 86_400 + 60;
    let all = world.json(&["status", "--json", "--now", &now.to_string()]);
    let [row] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
    let mut row = row.clone();
    let last_run = row.as_object_mut().unwrap().remove("lastRun").unwrap();
    let expected = json!({
        "appId": format!("app:{APP}"), "jobName": "default", "retry": retry, "total": 7, "new": 1, "healthy": 2,
        "levels": [0, 1], "givenUp": 1, "disabled": 1, "deferred": 1, "dueNow": 1, "nextDue": MIDNIGHT + 90_000,
        "failures": {"http": 2}, "dueSince": null, "lastTick": MIDNIGHT + 86_400, "running": [],
        "changes": {"since": MIDNIGHT + 60, "failing": 1, "givenUp": 1, "recovered": 1, "failedMeanwhile": 0},
    });
    assert_eq!(row, expected);
    assert_eq!((&last_run["now"], &last_run["batch"]), (&json!(MIDNIGHT + 86_400), &json!("0/1")));
    assert_eq!(
        (&last_run["ok"], &last_run["failures"], &last_run["givenUp"]),
        (&json!(3), &json!({"http": 1}), &json!(1))
    );

    let text = world.text(&["status", APP, "--now", &now.to_string()]);
    let title = text.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    let [APP, "default", bar] = title[..] else { panic!("{text}") };
    assert!(bar.chars().count() == 12 && bar.starts_with("○") && bar.ends_with("×"), "{text}");
    let changed = "since yesterday: 1 began to fail, 1 given up, 1 recovered";
    let lines = format!("\n  Failures  2 http\n  Changed   {changed}\n  Due       1 now, the next in 59 min\n");
    assert!(text.contains(&lines), "{text}");
    let numbers = "1 new, 2 healthy, 0/1 failing, 1 deferred, 1 disabled, 1 given up";
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains(numbers) && unwrapped.contains("Last run 1 min ago, batch 0/1: 5 due"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    // Another expression counts differently. By now the deferral of site 5 is over, and it has yet to answer.
    let endless = world.json(&["status", "--json", "--retry", "1 hour (x*)"]);
    assert_eq!((&endless[0]["levels"], &endless[0]["givenUp"]), (&json!([1]), &json!(2)));
    for (filter, rows) in
        [(&["--name", "default"][..], 1), (&["--name", "nightly"], 0), (&["app:org.example.myapp"], 1)]
    {
        let shown = world.json(&[&["status", "--json"], filter].concat());
        assert_eq!(shown.as_array().unwrap().len(), rows, "{filter:?}");
    }
}

#[test]
fn status_shows_a_run_that_is_active() {
    let world = World::with(["ok", "hang"]);
    let run = world.start(&["poll", APP, "--batch", "0/1", "--timeout", "60", "--now", &MIDNIGHT.to_string()]);
    let running = || world.json(&["status", "--json"])[0]["running"].clone();
    until("the run polls", || running()[0]["due"] == 2);
    let active = running();
    assert_eq!(active.as_array().unwrap().len(), 1);
    assert_eq!((&active[0]["batch"], &active[0]["pid"]), (&json!("0/1"), &json!(run.id())));
    assert!(active[0]["since"].as_i64().unwrap() > MIDNIGHT, "{active}");
    let text = world.text(&["status"]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!(", batch 0/1, pid {}, 2 due at its start", run.id())), "{text}");
    assert_eq!(code(&world.run(&["poll", APP])), 75);
    // What a killed run leaves in its lock file means nothing.
    signal(&run, "-KILL");
    assert!(!wait(run).0.success());
    assert_eq!(running(), json!([]));
}

#[test]
fn status_says_for_how_long_no_run_has_begun() {
    let world = World::with(["ok", "ok"]);
    world.poll(MIDNIGHT, &["--retry", "1 hour (x3)"]);
    let late = |after_s: i64| {
        let now = (MIDNIGHT + after_s).to_string();
        let since = world.json(&["status", "--json", "--now", &now])[0]["dueSince"].clone();
        let text = world.text(&["status", "--now", &now]);
        (since, text.lines().find(|line| line.contains("Overdue")).map(str::to_owned))
    };
    assert_eq!(late(3_000), (json!(null), None));
    // The usual pause between runs is not known, but a run takes no longer than an hour.
    assert_eq!(late(7_200), (json!(MIDNIGHT + 3_600), None));
    let (_, line) = late(3 * 3_600);
    assert!(line.unwrap().contains("no run for 2 h, although sites are due"));
    // A site that is new may have been imported just now.
    world.import(&world.sites(["ok", "ok", "ok"])[2..]);
    world.poll(MIDNIGHT + 7_200, &["--retry", "1 hour (x3)"]);
    world.import(&world.sites(["ok", "ok", "ok", "ok"])[3..]);
    assert_eq!(late(7_200 + 3_500), (json!(null), None));
}
