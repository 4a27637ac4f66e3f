//! `status`.

use serde_json::json;

use crate::testkit::{APP, MIDNIGHT, World};

#[test]
fn status_counts_sites_by_state() {
    let retry = "1 hour (x1); 1 day (x1)";
    let behaviours = ["ok", "ok", "fail-first-1", "status-500", "ok-first-1", "retry-after-86400", "ok"];
    let world = World::new();
    let mut sites = world.sites(behaviours);
    world.import(&sites[..6]);
    assert_eq!(world.text(&["status"]), "No job has run yet.\n");
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
    });
    assert_eq!(row, expected);
    assert_eq!((&last_run["now"], &last_run["batch"]), (&json!(MIDNIGHT + 86_400), &json!("0/1")));
    assert_eq!(
        (&last_run["ok"], &last_run["failures"], &last_run["givenUp"]),
        (&json!(3), &json!({"http": 1}), &json!(1))
    );

    let text = world.text(&["status", APP, "--now", &now.to_string()]);
    let row = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!([&row[..3], &row[4..]].concat(), [APP, "default", "7", "1", "1", "now"], "{text}");
    assert!(row[3].chars().count() == 12 && row[3].starts_with("○") && row[3].ends_with("×"), "{text}");
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
