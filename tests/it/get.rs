//! `get`.

use civisite::Site;
use serde_json::json;

use crate::testkit::{APP, MIDNIGHT, World, assert_no_secret, json_lines, short_id};

/// The cells of a row. Two blanks are between them.
fn cells(row: &str) -> Vec<&str> {
    row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn get_lists_connections_without_secrets() {
    let world = World::new();
    let plain = Site { batch_code: Some(17), perm: Some(json!({"a": 1})), ..world.site(0, "ok") };
    let other = world.site(1, "ok");
    let mut line = serde_json::to_value(&other).unwrap();
    line["viaPort"] = json!("proxy.example.org:8080");
    line["disabled"] = json!(true);
    world.import_text(&format!("{}\n{line}", plain.jsonl()));

    let table = world.text(&["get"]);
    let header = table.lines().next().unwrap();
    assert_eq!(cells(header), ["SITE", "STATE", "LAST OUTCOME", "NEXT DUE", "CXN"]);
    let row = |site: &Site| cells(table.lines().find(|row| row.ends_with(&site.cxn_id)).unwrap());
    assert_eq!(row(&plain), [&plain.site_url, "new", "-", "-", &plain.cxn_id], "no job has run");
    let via = format!("{} via proxy.example.org:8080", other.site_url);
    assert_eq!(row(&other), [&via, "disabled", "-", "-", &other.cxn_id]);
    assert_eq!(table.lines().count(), 3);

    let listed = world.text(&["get", "--json"]);
    assert_eq!(listed.lines().count(), 2);
    let expected = json!({
        "cxnId": plain.cxn_id, "appId": plain.app_id, "appUrl": plain.app_url, "siteUrl": plain.site_url,
        "perm": {"a": 1}, "viaPort": null, "batchCode": 17, "disabled": false, "states": {}, "jobs": {},
    });
    for name in [plain.cxn_id.as_str(), short_id(&plain)] {
        assert_eq!(world.json(&["get", name, "--json"]), expected);
        assert_eq!(world.json(&["cxn:get", name, "--json"]), expected);
        assert_eq!(world.text(&["get", name]).lines().count(), 2);
    }
    for site in [&plain, &other] {
        assert_no_secret(site, &table);
        assert_no_secret(site, &listed);
    }
}

#[test]
fn get_shows_the_worst_job_and_every_column() {
    let world = World::with(["ok", "status-500", "retry-after-7200", "status-500"]);
    let retry = ["--retry", "1 hour (x2); 1 day (x1)"];
    world.poll(MIDNIGHT, &[&["--name", "nightly"], &retry[..]].concat());
    world.import(&world.sites(["ok", "status-500", "retry-after-7200", "status-500", "ok"])[4..]);
    world.poll(MIDNIGHT + 60, &retry);
    let beyond = json!({"nightly": {"pollLevel": 2, "pollCount": 0, "lastRun": MIDNIGHT + 1}});
    let mut line = serde_json::to_value(world.site(3, "status-500")).unwrap();
    line["pollStatus"] = beyond;
    world.import_text(&line.to_string());
    let now = (MIDNIGHT + 120).to_string();
    let get = |more: &[&str]| {
        let text = world.text(&[&["get", "--now", &now], more].concat());
        let rows: Vec<_> =
            text.lines().map(|row| cells(row).into_iter().map(str::to_owned).collect::<Vec<_>>()).collect();
        rows
    };
    let all = "job,state,level,count,last-run,last-outcome,next-due,batch-code,host,app,last-success,message";
    let rows = get(&["--columns", all, "--sort", "site"]);
    assert_eq!(rows[0].join(","), all.replace('-', " ").to_uppercase());
    let code = |site: u32| world.json(&["get", "--json", &world.site(site, "ok").cxn_id])["batchCode"].to_string();
    let page = "status 500 Internal Server Error: page \"500\" (text/html)";
    let of_site = |site: u32| format!("{},127.0.0.1,{APP}", code(site));
    let healthy = format!("default,healthy,0,0,1 min ago,ok,in 59 min,{},1 min ago,-", of_site(0));
    let retrying = format!("default,retrying,0,1,1 min ago,http,in 59 min,{},-,{page}", of_site(1));
    assert_eq!((rows[1].join(","), rows[2].join(",")), (healthy, retrying));
    assert_eq!(rows[4][..4], ["nightly", "nightly given-up", "2", "0"], "{rows:?}");
    assert_eq!(rows[4][5..7], ["-", "never"], "{rows:?}");
    assert_eq!(rows[5][..2], ["nightly", "nightly new"], "{rows:?}");
    assert_eq!(rows[5][4..7], ["-", "-", "now"], "{rows:?}");
    let of_job = get(&["--columns", "job,state", "--sort", "site", "--name", "default"]);
    assert_eq!(of_job[4], ["default", "retrying"]);

    let id = world.site(2, "ok").cxn_id;
    let jobs = &world.json(&["get", "--json", "--now", &now, &id])["jobs"];
    let explained = world.json(&["explain", "--json", "--now", &now, &id]);
    for key in ["state", "pollLevel", "pollCount", "lastRun", "nextDue", "lastOutcome", "lastSuccess"] {
        assert_eq!(jobs["default"][key], explained[key], "{key}");
    }
    assert_eq!(jobs["default"]["nextDue"], MIDNIGHT + 60 + 7200);
    assert_eq!(jobs["nightly"]["lastOutcome"]["class"], "http");
}

#[test]
fn get_sorts_and_limits() {
    let world = World::new();
    let mut sites = world.sites(vec!["ok"; 40]);
    for (site, code) in sites.iter_mut().zip((0..40).map(|number| number * 7 % 40 / 2)) {
        site.batch_code = Some(code);
    }
    world.import(&sites);
    let ids = |more: &[&str]| {
        let lines = json_lines(&world.text(&[&["get", "--json"], more].concat()));
        lines.iter().map(|line| (line["batchCode"].as_i64().unwrap(), line["cxnId"].to_string())).collect::<Vec<_>>()
    };
    let stored = ids(&[]);
    let mut expected = stored.clone();
    expected.sort_by_key(|(code, _)| *code);
    assert_eq!(ids(&["--sort", "batch-code"]), expected);
    assert_eq!(ids(&["--sort", "batch-code", "--limit", "7"]), expected[..7]);
    expected.sort_by_key(|(code, _)| -code);
    assert_eq!(ids(&["--sort", "batch-code", "--reverse"]), expected);
    assert_eq!(ids(&["--sort", "batch-code", "--reverse", "--limit", "7"]), expected[..7]);
    assert_eq!(ids(&["--limit", "7"]), stored[..7]);
    assert_eq!(ids(&["--sort", "next-due"]), stored, "none has a value");
    let table = world.text(&["get", "--columns", "cxn", "--sort", "batch-code", "--limit", "3", "--reverse"]);
    assert!(table.lines().skip(1).eq(expected[..3].iter().map(|(_, id)| id.trim_matches('"'))), "{table}");
    for (arguments, expected) in [
        (&["--columns", "sites"][..], "[possible values: cxn, app, site, "),
        (&["--sort", "nextdue"], "a similar value exists: 'next-due'"),
        (&["--limit", "0"], "expected a number from 1"),
        (&["--reverse"], "--sort"),
        (&["--json", "--columns", "cxn"], "cannot be used with"),
    ] {
        let message = world.refused(2, &[&["get"], arguments].concat());
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}
