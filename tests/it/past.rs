//! What `status`, `explain` and `get` show from history.

use std::fs;

use civisite::Site;
use serde_json::{Value, json};

use crate::listeners::configure;
use crate::testkit::{APP, MIDNIGHT, World, stdout};

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
/// An hour after the last poll.
const NOW: i64 = MIDNIGHT + 10 * DAY + HOUR;

/// Sites that were polled on eleven days.
///
/// One failed for a day, one for the last two days, and one until it was given up.
fn world() -> (World, [Site; 4]) {
    let world = World::with(["ok"; 4]);
    let sites = [0, 1, 2, 3].map(|number| world.site(number, "ok"));
    let failing = [(0, 5..6), (1, 9..11), (2, 6..11)];
    let at = |site: usize, day: i64| format!("*'\"now\":{}'*'{}'*", MIDNIGHT + day * DAY, sites[site].cxn_id);
    let cases: Vec<_> = failing.into_iter().flat_map(|(site, days)| days.map(move |day| (site, day))).collect();
    let cases: Vec<_> = cases.into_iter().map(|(site, day)| at(site, day)).collect();
    let program = format!(
        "read -r event; case $event in {}) echo '{{\"error\":\"no\"}}';; *) echo '{{\"ok\":true}}';; esac",
        cases.join("|")
    );
    let listener = json!(["sh", "-c", program]);
    configure(&world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = {listener}\n"));
    for day in 0..11 {
        world.poll(MIDNIGHT + day * DAY, &["--retry", "1 day (x5)"]);
    }
    (world, sites)
}

#[test]
fn history_shows_since_when_a_site_fails_and_how_available_it_was() {
    let (world, [a, b, c, d]) = world();
    let explain = |site: &Site| world.text(&["explain", &site.cxn_id, "--now", &NOW.to_string()]);
    let text = explain(&b);
    assert!(text.contains("Failing since 2026-01-10 00:00:00Z (1 d 1 h ago).\n"), "{text}");
    assert!(text.contains("Up 89.62 % of the known time of the last 30 days, with 1 incident:\n"), "{text}");
    assert!(!explain(&a).contains("Failing since") && explain(&d).contains("Up 100 %"), "{text}");
    let shown = world.explain(&b, NOW);
    assert_eq!(shown["failingSince"], MIDNIGHT + 9 * DAY);
    let incidents = json!([{"from": MIDNIGHT + 9 * DAY, "to": null, "class": "listener"}]);
    let times = json!({"availability": 216.0 / 241.0, "upS": 9 * DAY, "downS": DAY + HOUR,
        "unknownS": 20 * DAY - HOUR, "incidents": incidents});
    assert_eq!(shown["last30Days"], times);
    let ended = world.explain(&a, NOW);
    assert_eq!(
        (&ended["failingSince"], &ended["last30Days"]["incidents"][0]["to"]),
        (&Value::Null, &json!(MIDNIGHT + 6 * DAY))
    );

    for (locale, days) in [("C.UTF-8", "·█████████▁▁"), ("C", "?#########__")] {
        let mut command = world.command(&["explain", &b.cxn_id, "--now", &NOW.to_string()]);
        let text = stdout(&command.env("LC_ALL", locale).env("TERM", "xterm").output().unwrap());
        assert!(text.contains(&format!("{days}  (a mark for each day)")), "{text}");
    }

    let columns = "cxn,failing-since,availability";
    let now = NOW.to_string();
    let table = world.text(&["get", "--columns", columns, "--sort", "availability", "--now", &now]);
    let row = |site: &Site, since: &str, percent: &str| format!("{}  {since:12}   {percent}", site.cxn_id);
    let rows: Vec<_> = table.lines().skip(1).map(str::to_owned).collect();
    let expected = [
        row(&c, "4 d 1 h ago", "59.75 %"),
        row(&b, "1 d 1 h ago", "89.62 %"),
        row(&a, "-", "90.04 %"),
        row(&d, "-", "100 %"),
    ];
    assert_eq!(rows, expected, "{table}");
    let sorted = world.text(&["get", "--columns", "cxn", "--sort", "failing-since", "--now", &now]);
    assert!(sorted.lines().nth(1) == Some(&*c.cxn_id) && sorted.lines().nth(2) == Some(&*b.cxn_id), "{sorted}");
    for (since, expected) in [
        ("2026-01-10T00:00:00Z", &[&b, &c][..]),
        ("2026-01-09T23:59:59Z", &[&c]),
        ("25h", &[&b, &c]),
        ("4d", &[&c]),
        ("5d", &[]),
    ] {
        let selected = |command: &[&str]| {
            let text = world.text(&[command, &["--failing-since", since, "--now", &now]].concat());
            [&a, &b, &c, &d].into_iter().filter(|site| text.contains(&*site.cxn_id)).collect::<Vec<_>>()
        };
        let expected = expected.to_vec();
        for command in [
            &["get"][..],
            &["get", &b.cxn_id, &c.cxn_id, "--json"],
            &["report", "--json"],
            &["export"],
            &["revive", "--dry-run"],
            &["disable", "--dry-run", "--json"],
        ] {
            assert_eq!(selected(command), expected, "{command:?} {since}");
        }
    }

    let job = &world.json(&["get", &b.cxn_id, "--json", "--history", "--now", &now])["jobs"]["default"];
    assert_eq!((&job["failingSince"], &job["last30Days"]["downS"]), (&json!(MIDNIGHT + 9 * DAY), &json!(DAY + HOUR)));
    assert!(world.json(&["get", &b.cxn_id, "--json"])["jobs"]["default"].get("failingSince").is_none());

    // Without history, as in a store of a former build, the last attempts show since when it fails.
    fs::remove_dir_all(world.store().join("history")).unwrap();
    let text = explain(&b);
    assert!(text.contains("Failing since 2026-01-10 00:00:00Z (1 d 1 h ago).\n") && !text.contains("Up "), "{text}");
    let text = explain(&c);
    assert!(text.contains("Failing since 2026-01-07 00:00:00Z") && !text.contains("or longer"), "{text}");
    assert_eq!(world.explain(&b, NOW)["last30Days"], Value::Null);
}

#[test]
fn status_shows_what_changed_since_yesterday() {
    let (world, _) = world();
    let status = |now: i64, more: &[&str]| {
        let now = now.to_string();
        let text = world.text(&[&["status", APP, "--now", &now], more].concat());
        (text, world.json(&[&["status", APP, "--json", "--now", &now], more].concat())[0].clone())
    };
    let (text, shown) = status(NOW, &[]);
    assert!(text.contains("  Changed   since yesterday: 1 given up\n"), "{text}");
    let changes = json!({"since": NOW - DAY, "failing": 0, "givenUp": 1, "recovered": 0, "failedMeanwhile": 0});
    assert_eq!((&shown["changes"], shown.get("last30Days")), (&changes, None));
    for (now, expected) in
        [(MIDNIGHT + 9 * DAY + HOUR, "1 began to fail"), (MIDNIGHT + 6 * DAY + HOUR, "1 began to fail, 1 recovered")]
    {
        let (text, _) = status(now, &[]);
        assert!(text.contains(&format!("  Changed   since yesterday: {expected}\n")), "{text}");
    }
    let (text, _) = status(MIDNIGHT + 4 * DAY, &[]);
    assert!(!text.contains("Changed"), "{text}");

    let (text, shown) = status(NOW, &["--history"]);
    assert!(text.contains("  Up        84.85 % of the known time of the last 30 days, with 3 incidents\n"), "{text}");
    let last = json!({"availability": 818.0 / 964.0, "upS": 818 * HOUR, "downS": 146 * HOUR,
        "unknownS": 4 * 30 * DAY - 964 * HOUR, "incidents": 3});
    assert_eq!(shown["last30Days"], last);

    fs::remove_dir_all(world.store().join("history")).unwrap();
    let (text, shown) = status(NOW, &["--history"]);
    assert!(!text.contains("Changed") && text.contains("nothing is known of the last 30 days"), "{text}");
    assert_eq!((&shown["changes"], &shown["last30Days"]), (&Value::Null, &Value::Null));
}
