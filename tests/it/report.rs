//! `report`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use civisite::Site;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr, was_killed};

const HOUR: i64 = 3600;

fn report(world: &World, now: i64, more: &[&str]) -> Value {
    world.json(&[&["report", "--json", "--now", &now.to_string()], more].concat())
}

/// The seconds up, down and unknown of a site, and its incidents.
fn times(report: &Value, site: usize) -> (Value, Value, Value, Value) {
    let site = &report["sites"][site];
    (site["upS"].clone(), site["downS"].clone(), site["unknownS"].clone(), site["incidents"].clone())
}

/// Twelve sites of which one fails for two hours; then an own outage, and an hour later a run.
fn world() -> World {
    let world = World::on_all_addresses();
    let site = |number, behaviour: &str| world.site_on_own_host(number, behaviour.parse().unwrap());
    let sites: Vec<_> = (0..12).map(|number| site(number, if number == 0 { "status-500" } else { "ok" })).collect();
    world.import(&sites);
    world.poll(MIDNIGHT, &[]);
    world.poll(MIDNIGHT + HOUR, &[]);
    world.import(&[site(0, "ok")]);
    world.poll(MIDNIGHT + 2 * HOUR, &[]);
    world.server.stop_listening().unwrap();
    let outage = world.run(&["poll", APP, "--now", &(MIDNIGHT + 3 * HOUR).to_string()]);
    assert_eq!(code(&outage), 69, "{outage:?}");
    world.server.resume_listening().unwrap();
    world.poll(MIDNIGHT + 4 * HOUR, &[]);
    world
}

#[test]
fn history_begins_with_the_first_poll_by_the_clock_of_the_schedule() {
    // The import has the real time, and the poll is in its past: in the same month, and in one before.
    for ago in [5, HOUR, 99 * 24 * HOUR] {
        let world = World::with(["ok"]);
        let now = chrono::Utc::now().timestamp() - ago;
        world.poll(now, &[]);
        world.poll(now + HOUR, &[]);
        let of = report(&world, now + 2 * HOUR, &["--since", "2h"]);
        let expected = (json!(2 * HOUR), json!(0), json!(0), json!([]));
        assert_eq!((times(&of, 0), &of["historyBegan"]), (expected, &json!(now)), "{ago}");
        world.assert_sound();
    }
}

#[test]
fn a_report_has_what_runs_recorded() {
    let world = world();
    let failing = world.site(0, "ok");
    let of = |report: &Value, cxn_id: &str| {
        (0..12).position(|site| report["sites"][site]["cxnId"] == cxn_id).expect("the site is in the report")
    };
    let whole = report(&world, MIDNIGHT + 5 * HOUR, &["--since", "5h"]);
    assert_eq!((&whole["from"], &whole["to"]), (&json!(MIDNIGHT), &json!(MIDNIGHT + 5 * HOUR)));
    let incident = |to: Value| json!([{"from": MIDNIGHT, "to": to, "class": "http"}]);
    let site = of(&whole, &failing.cxn_id);
    let expected = (json!(2 * HOUR), json!(2 * HOUR), json!(HOUR), incident(json!(MIDNIGHT + 2 * HOUR)));
    assert_eq!(times(&whole, site), expected);
    assert_eq!(whole["sites"][site]["availability"], json!(0.5));
    let healthy = (json!(4 * HOUR), json!(0), json!(HOUR), json!([]));
    assert!((0..12).filter(|other| *other != site).all(|other| times(&whole, other) == healthy), "{whole}");
    // After the outage all polls were late by a period.
    assert_eq!(whole["runs"], json!({"total": 5, "late": 1, "ownOutages": 1}));
    let job = &whole["jobs"][0];
    assert_eq!((&job["sites"], &job["down"], &job["incidents"]), (&json!(12), &json!(0), &json!(1)));
    assert_eq!((&job["failures"], &job["upS"]), (&json!({"http": 1}), &json!(46 * HOUR)));
    assert_eq!(job["runs"]["lastOutages"], json!([{"at": MIDNIGHT + 3 * HOUR, "cause": "network"}]));
    assert_eq!((&whole["hosts"][0]["host"], &whole["hosts"][0]["downS"]), (&json!("127.0.1.1"), &json!(2 * HOUR)));
    assert_eq!((&whole["gone"], &whole["historyBegan"]), (&json!({"sites": 0, "incidents": 0}), &json!(MIDNIGHT)));

    // A report about the past knows what followed, but an incident that lasted then has no end.
    let past = report(&world, MIDNIGHT + HOUR / 2, &["--since", "1h", "--cxn", &failing.cxn_id]);
    let half = json!(HOUR / 2);
    assert_eq!(times(&past, 0), (json!(0), half.clone(), half, incident(Value::Null)));
    assert_eq!((past["sites"].as_array().unwrap().len(), &past["gone"]), (1, &Value::Null));
    let since = report(&world, MIDNIGHT + 5 * HOUR, &[APP, "--since", "2026-01-01T04:00:00Z", "--host", "127.0.2.1"]);
    assert_eq!(times(&since, 0), (json!(HOUR), json!(0), json!(0), json!([])));
    // Nothing is known later than three periods after the last polls.
    let later = report(&world, MIDNIGHT + 10 * HOUR, &["--since", "5h"]);
    assert_eq!(times(&later, 0), (json!(2 * HOUR), json!(0), json!(3 * HOUR), json!([])));
}

#[test]
fn a_revival_changes_nothing_of_the_time_before() {
    let world = World::with(["status-500"; 4]);
    let poll = |at: i64| world.poll(MIDNIGHT + at, &["--retry", "1 hour (x1); 1 day (x2)"]);
    let ids = [0, 1, 2, 3].map(|number| world.site(number, "ok").cxn_id);
    // After the first poll they are due once a day. One misses the second poll, and the third gives up the others.
    poll(0);
    assert_quiet(&world.run(&["disable", &ids[3]]));
    poll(24 * HOUR);
    assert_quiet(&world.run(&["enable", &ids[3]]));
    assert_eq!(poll(48 * HOUR)["givenUp"], 3);
    assert_quiet(&world.run(&["revive", &ids[0]]));
    assert_quiet(&world.run(&["set", &ids[1], &format!("siteUrl={}", world.site(1, "status-501").site_url)]));
    world.import(&[world.site(2, "status-501")]);
    assert_quiet(&world.run(&["revive", &ids[3]]));
    let lines = world.export();
    let of_level =
        |level| lines.iter().filter(|line| line.contains(&format!("\"lastPoll\":{{\"pollLevel\":{level},"))).count();
    assert_eq!((of_level(2), of_level(1)), (3, 1), "{lines:?}");
    let other = World::new();
    other.import_text(&(lines.join("\n") + "\n"));
    assert_eq!(other.export(), lines);
    assert_quiet(&world.run(&["store", "backup"]));
    assert_quiet(&world.run(&["store", "restore", "--yes"]));
    assert_eq!(world.export(), lines);

    let all_down = |at: i64| {
        let report = report(&world, MIDNIGHT + at, &["--since", &format!("{}h", at / HOUR)]);
        let incident = json!([{"from": MIDNIGHT, "to": null, "class": "http"}]);
        let expected = (json!(0), json!(at), json!(0), incident);
        assert!((0..4).all(|site| times(&report, site) == expected), "{report}");
    };
    all_down(60 * HOUR);
    assert_eq!(poll(60 * HOUR)["failed"], 4);
    all_down(61 * HOUR);
    assert!(!world.export().iter().any(|line| line.contains("lastPoll")));
    world.assert_sound();
}

#[test]
fn a_report_is_a_text_a_table_or_a_file() {
    let world = world();
    let now = (MIDNIGHT + 5 * HOUR).to_string();
    let arguments = ["report", "--now", &now, "--since", "5h"];
    let text = world.text(&arguments);
    for line in [
        "From 2026-01-01 00:00:00Z to 2026-01-01 05:00:00Z (5 h)",
        "org.example.myapp  default  12     0         95.83 %       20.00 %  1",
        "2026-01-01 00:00:00Z  http://127.0.1.1:",
        "127.0.1.1  1      1          2 h",
        "Last own outages of org.example.myapp default: 2026-01-01 03:00:00Z network",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let csv = world.text(&[&arguments[..], &["--format", "csv"]].concat());
    assert!(
        csv.starts_with("cxnId,siteUrl,appId,jobName,availability,upS,downS,unknownS,incidents,downSince\n"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 13);
    assert_eq!(csv.matches(",app:org.example.myapp,default,0.5,7200,7200,3600,1,\n").count(), 1, "{csv}");

    let file = world.path("report.csv");
    fs::write(&file, "old").unwrap();
    assert_quiet(&world.run(&[&arguments[..], &["--format", "csv", "--output", "report.csv"]].concat()));
    assert_eq!(fs::read_to_string(&file).unwrap(), csv);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_start_that_is_not_before_the_end_is_refused() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    let end = "2026-01-01T05:00:00Z";
    for since in [end, "2026-01-01T06:00:00Z"] {
        for (command, option) in [("report", "--since"), ("report", "--failing-since"), ("get", "--failing-since")] {
            let message = world.refused(2, &[command, "--now", end, option, since]);
            let expected =
                format!("error: {option} is {since}, and the current time is {end}\nhint: give {option} an earlier");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    assert!(world.text(&["report", "--now", end, "--since", "2026-01-01T04:59:59Z"]).contains("(1 s)"));
}

#[test]
fn damaged_history_is_left_out_with_a_warning() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    world.poll(MIDNIGHT + 10 * HOUR, &[]);
    let file = world.store().join("history/2026-01.log");
    let mut bytes = fs::read(&file).unwrap();
    // The first frame shows when history begins, and the second is that of the first poll.
    let second = (1..bytes.len()).find(|at| bytes[*at..].starts_with(b"\xC7HF\x01")).unwrap();
    for frame in [0, second] {
        bytes[frame + 15] ^= 0x40;
    }
    fs::write(&file, bytes).unwrap();
    let output = world.run(&["report", "--json", "--now", &(MIDNIGHT + 11 * HOUR).to_string(), "--since", "11h"]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("bytes of history are damaged and left out"), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sites"][0]["unknownS"], json!(10 * HOUR), "{report}");
}

/// Writes a backup without connections and history, as a former build did.
fn write_empty_backup(path: &Path) {
    let first = "{\"backup\":{\"version\":1,\"at\":1767225600,\"program\":\"0.1.0\"}}\n";
    let end = json!({"end": {"cxns": 0, "sha256": hex::encode(Sha256::digest(first))}});
    let mut gzip = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    writeln!(gzip, "{first}{end}").unwrap();
    gzip.finish().unwrap();
}

/// The hours up and unknown of a site in the 12 hours after midnight.
///
/// It is polled then, goes away, is imported again as `site` has it, and is polled after 11 hours.
fn hours_after(world: &World, site: &Site, go_away: impl FnOnce(&World)) -> (i64, i64) {
    world.poll(MIDNIGHT, &[]);
    go_away(world);
    world.import(std::slice::from_ref(site));
    world.poll(MIDNIGHT + 11 * HOUR, &[]);
    let report = report(world, MIDNIGHT + 12 * HOUR, &["--since", "12h", "--cxn", &site.cxn_id]);
    let [up, down, unknown] = ["upS", "downS", "unknownS"].map(|key| report["sites"][0][key].as_i64().unwrap());
    assert_eq!((up % HOUR, down, unknown % HOUR), (0, 0, 0), "{report}");
    let explained = world.explain(site, MIDNIGHT + 12 * HOUR);
    assert_eq!(explained["last30Days"]["upS"], up, "{explained}");
    world.assert_sound();
    (up / HOUR, unknown / HOUR)
}

#[test]
fn what_was_known_of_a_connection_stays_when_it_is_removed_and_imported_again() {
    type GoAway<'a> = &'a dyn Fn(&World, &Site);
    let in_other_app = |site: &Site| site.jsonl().replace(APP, "org.example.other");
    let unreadable = |world: &World, site: &Site| {
        let db = world.database();
        let (cxns, id) = (db.open_tree("cxn").unwrap(), site.cxn_id.as_bytes());
        let is_of_site = |value: &[u8]| value.windows(id.len()).any(|part| part == id);
        let (key, _) = cxns.iter().map(Result::unwrap).find(|(_, value)| is_of_site(value)).unwrap();
        cxns.insert(key, &[9, 1, 2]).unwrap();
    };
    let ways: [(&str, GoAway); 6] = [
        ("remove", &|world, site| assert_quiet(&world.run(&["remove", &site.cxn_id]))),
        ("prune", &|world, _| {
            fs::write(world.path("rest.jsonl"), world.site(1, "ok").jsonl() + "\n").unwrap();
            assert_quiet(&world.run(&["import", "rest.jsonl", "--prune", "--yes"]));
        }),
        ("another app", &|world, site| world.import_text(&in_other_app(site))),
        ("unreadable", &|world, site| {
            unreadable(world, site);
            world.run(&["remove", &site.cxn_id]);
        }),
        ("repair", &|world, site| {
            unreadable(world, site);
            world.run(&["store", "check", "--repair"]);
        }),
        ("restore of a backup without history", &|world, _| {
            write_empty_backup(&world.path("former.jsonl.gz"));
            assert_quiet(&world.run(&["store", "restore", "--yes", "former.jsonl.gz"]));
        }),
    ];
    for (name, go_away) in ways {
        let world = World::with(["ok", "ok"]);
        let site = world.site(0, "ok");
        // Known for three periods after the first poll, and for one after the second.
        assert_eq!(hours_after(&world, &site, |world| go_away(world, &site)), (4, 8), "{name}");
    }
}

#[test]
fn a_removal_counts_at_its_time_and_only_if_it_was_completed() {
    let removed = |world: &World, site: &Site, hours: i64, die_at: Option<&str>| {
        let now = (MIDNIGHT + hours * HOUR).to_string();
        let mut command = world.command(&["remove", &site.cxn_id, "--now", &now]);
        if let Some(point) = die_at {
            command.env("CXNPOLL_DIE_AT", point);
        }
        assert_eq!(was_killed(&command.output().unwrap()), die_at.is_some());
    };
    let hours = |hours: i64, die_at: Option<&str>| {
        let world = World::with(["ok"]);
        let site = world.site(0, "ok");
        hours_after(&world, &site, |world| removed(world, &site, hours, die_at))
    };
    assert_eq!(hours(2, None), (3, 9));
    assert_eq!(hours(10, None), (4, 8));
    // The connection stays, and there is a gap between its polls, of which one period is known.
    assert_eq!(hours(2, Some("HistoryWritten")), (2, 10));
}
