//! `report`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

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
fn a_report_is_a_text_a_table_or_a_file() {
    let world = world();
    let now = (MIDNIGHT + 5 * HOUR).to_string();
    let arguments = ["report", "--now", &now, "--since", "5h"];
    let text = world.text(&arguments);
    for line in [
        "From 2026-01-01 00:00:00Z to 2026-01-01 05:00:00Z (5 h)",
        "org.example.myapp  default  12     0         95.83 %       20.0 %   1",
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
fn damaged_history_is_left_out_with_a_warning() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    world.poll(MIDNIGHT + 10 * HOUR, &[]);
    let file = world.store().join("history/2026-01.log");
    let mut bytes = fs::read(&file).unwrap();
    // The first frame is that of the first poll.
    bytes[20] ^= 0x40;
    fs::write(&file, bytes).unwrap();
    let output = world.run(&["report", "--json", "--now", &(MIDNIGHT + 11 * HOUR).to_string(), "--since", "11h"]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("bytes of history are damaged and left out"), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sites"][0]["unknownS"], json!(10 * HOUR), "{report}");
}
