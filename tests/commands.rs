//! The commands for an administrator at a terminal: what they show, what they never show, and how they refuse.

mod common;

use std::fs;
use std::process::Output;

use civisite::Site;
use common::{APP, CERTIFICATE, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::{Map, Value, json};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a command that must end well, and returns what it prints.
fn shown(world: &World, arguments: &[&str]) -> String {
    let output = world.run(arguments);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{arguments:?}");
    stdout(&output)
}

/// Runs a command that must end with this code and nothing on stdout, and returns what it says.
fn refused(world: &World, exit: i32, arguments: &[&str]) -> String {
    let output = world.run(arguments);
    let told = stderr(&output);
    assert_eq!((code(&output), stdout(&output).as_str()), (exit, ""), "{arguments:?}: {told}");
    assert!(told.contains("error:"), "{arguments:?}: {told}");
    told
}

/// Neither a site's secret nor the beginning that PHP puts into a stack trace.
fn assert_no_secret(site: &Site, text: &str) {
    assert!(!text.contains(&site.secret_base64[..8]), "{text}");
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `cxn:0123…` without the `cxn:`.
fn short(site: &Site) -> &str {
    site.cxn_id.strip_prefix("cxn:").unwrap()
}

#[test]
fn get_lists_connections_without_their_secrets() {
    let world = World::new();
    let plain = Site { batch_code: Some(17), perm: Some(json!({"a": 1})), ..world.site(0, "ok") };
    let other = world.site(1, "ok");
    let mut line = serde_json::to_value(&other).unwrap();
    line["viaPort"] = json!("proxy.example.org:8080");
    line["disabled"] = json!(true);
    world.import_text(&format!("{}\n{line}", plain.jsonl()));

    let table = shown(&world, &["get"]);
    let header = table.lines().next().unwrap();
    assert!(header.starts_with("CXN ") && header.contains("BATCH CODE"), "{table}");
    let row = |site: &Site| table.lines().find(|row| row.starts_with(&site.cxn_id)).unwrap().to_owned();
    assert_eq!(
        row(&plain).split_whitespace().collect::<Vec<_>>(),
        [&plain.cxn_id, APP, &plain.site_url, "17"],
        "no job has run"
    );
    assert!(row(&other).contains(" via proxy.example.org:8080 ") && row(&other).ends_with("disabled"), "{table}");
    assert_eq!(table.lines().count(), 3);

    let listed = shown(&world, &["get", "--json"]);
    assert_eq!(listed.lines().count(), 2);
    let expected = json!({
        "cxnId": plain.cxn_id, "appId": plain.app_id, "appUrl": plain.app_url, "siteUrl": plain.site_url,
        "perm": {"a": 1}, "viaPort": null, "batchCode": 17, "disabled": false, "states": {},
    });
    for name in [plain.cxn_id.as_str(), short(&plain)] {
        assert_eq!(world.json(&["get", name, "--json"]), expected);
        assert_eq!(world.json(&["cxn:get", name, "--json"]), expected);
        assert_eq!(shown(&world, &["get", name]).lines().count(), 2);
    }
    for site in [&plain, &other] {
        assert_no_secret(site, &table);
        assert_no_secret(site, &listed);
    }
}

#[test]
fn call_sends_what_was_typed_and_prints_the_reply() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    world.server.record_calls();
    let typed = ["Contact.get", "email=jo@example.org", "id=7", "where=a=b", "options:={\"limit\": 1}", "--json"];
    for call in [&["call", &site.cxn_id][..], &["cxn:call", short(&site)]] {
        let printed = shown(&world, &[call, &typed].concat());
        assert_eq!(printed.lines().count(), 1);
        let params =
            json!({"email": "jo@example.org", "id": "7", "where": "a=b", "options": {"limit": 1}, "version": 3});
        let reply: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&reply["is_error"], &reply["values"][0]["params"]), (&json!(0), &params));
        let sent = world.server.last_call(0).unwrap();
        assert_eq!((sent.entity.as_str(), sent.action.as_str(), sent.params), ("Contact", "get", params));
        assert_eq!(sent.app_cert, CERTIFICATE);
    }
    world.json(&["call", &site.cxn_id, "System.get", "version:=4"]);
    assert_eq!(world.server.last_call(0).unwrap().params, json!({"version": 4}));
}

#[test]
fn call_tells_how_a_site_failed() {
    let behaviours = ["api-error", "close", "insecure", "hang"];
    let world = World::with(behaviours);
    let sites = world.sites(behaviours);
    let call = |number: usize, more: &[&str]| {
        let output = world.run(&[&["call", &sites[number].cxn_id, "System.get", "--timeout", "2"], more].concat());
        assert_eq!(code(&output), 3, "{output:?}");
        assert_no_secret(&sites[number], &(stdout(&output) + &stderr(&output)));
        output
    };
    // A reply that says no is a reply.
    let reply: Value = serde_json::from_slice(&call(0, &["--json"]).stdout).unwrap();
    assert_eq!((&reply["is_error"], &reply["error_code"]), (&json!(1), &json!("unauthorized")));

    for (number, class) in [(1, "disconnected"), (2, "garbled"), (3, "timeout")] {
        let output = call(number, &["--json"]);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((keys(&printed), keys(&printed["error"])), (vec!["error"], vec!["class", "message"]));
        assert_eq!((&printed["error"]["class"], output.stderr.len()), (&json!(class), 0));
    }
    let output = call(1, &[]);
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).starts_with(&format!("error: {} failed: disconnected", sites[1].cxn_id)), "{output:?}");
}

#[test]
fn status_counts_where_all_sites_stand() {
    let retry = "1 hour (x1); 1 day (x1)";
    let behaviours = ["ok", "ok", "fail-first-1", "status-500", "ok-first-1", "retry-after-86400", "ok"];
    let world = World::new();
    let mut sites = world.sites(behaviours);
    world.import(&sites[..6]);
    assert_eq!(shown(&world, &["status"]), "No job has run yet.\n");
    assert_eq!(world.json(&["status", "--json"]), json!([]));

    world.poll(MIDNIGHT, &["--retry", retry]);
    world.poll(MIDNIGHT + 3600, &["--retry", retry]);
    world.poll(MIDNIGHT + 86_400, &["--retry", retry]);
    let mut off = serde_json::to_value(&sites[1]).unwrap();
    off["disabled"] = json!(true);
    world.import_text(&format!("{off}\n{}", sites.remove(6).jsonl()));

    // Site 3 failed at midnight and a day later. Site 4 failed an hour after midnight, its next time is an hour after
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

    let text = shown(&world, &["status", APP, "--now", &now.to_string()]);
    let row = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!([&row[..3], &row[4..]].concat(), [APP, "default", "7", "1", "1", "now"], "{text}");
    assert!(row[3].chars().count() == 12 && row[3].starts_with("○") && row[3].ends_with("×"), "{text}");
    let numbers = "1 new, 2 healthy, 0/1 failing, 1 deferred, 1 disabled, 1 given up";
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains(numbers) && unwrapped.contains("Last run 1 min ago, batch 0/1: 5 due"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    // Another expression, another judgement. By now site 5 has been left alone for long enough, and has yet to answer.
    let patient = world.json(&["status", "--json", "--retry", "1 hour (x*)"]);
    assert_eq!((&patient[0]["levels"], &patient[0]["givenUp"]), (&json!([1]), &json!(2)));
    for (filter, rows) in
        [(&["--name", "default"][..], 1), (&["--name", "nightly"], 0), (&["app:org.example.myapp"], 1)]
    {
        let shown = world.json(&[&["status", "--json"], filter].concat());
        assert_eq!(shown.as_array().unwrap().len(), rows, "{filter:?}");
    }
}

#[test]
fn explain_suggests_where_a_site_has_moved_to() {
    let world = World::with(["redirect-301", "status-500"]);
    world.poll(MIDNIGHT, &[]);
    let explained = |number: u32, behaviour: &str| {
        let output = world.run(&["explain", &world.site(number, behaviour).cxn_id]);
        String::from_utf8(output.stdout).unwrap()
    };
    let suggestion = format!("import it with \"siteUrl\": \"{}\"", world.site(0, "ok").site_url);
    let told = explained(0, "redirect-301");
    assert!(
        told.contains("redirect: redirected (301 Moved Permanently) to http://") && told.contains(&suggestion),
        "{told}"
    );
    assert!(!explained(1, "status-500").contains("moved"));
    // Who follows the suggestion is through.
    world.import(&[world.site(0, "ok")]);
    assert_eq!(world.poll(MIDNIGHT + 3600, &[])["ok"], 1);
    assert!(!explained(0, "ok").contains("moved"));
}

#[test]
fn explain_knows_every_state() {
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
        (0, "healthy", 0, json!(MIDNIGHT + 3600), json!("ok"), "It is healthy"),
        (1, "retrying", 1, json!(MIDNIGHT + 3600), json!("http"), "It fails: 1 of 2 times at level 0 (every 1 hour)"),
        (2, "given-up", 0, Value::Null, Value::Null, "It is given up"),
        (3, "deferred", 0, json!(MIDNIGHT + 7200), json!("http"), "It is deferred"),
        (4, "disabled", 0, Value::Null, json!("ok"), "It is disabled"),
        (5, "new", 0, json!(0), Value::Null, "It was never polled"),
    ] {
        let site = &sites[site];
        let explained = world.explain(site, MIDNIGHT + 60);
        assert_eq!(
            keys(&explained),
            [
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
                "attempts"
            ]
        );
        assert_eq!((&explained["state"], &explained["pollCount"]), (&json!(state), &json!(count)), "{explained}");
        assert_eq!((&explained["nextDue"], &explained["lastOutcome"]["class"]), (&next_due, &class), "{explained}");
        let last = explained["attempts"].as_array().unwrap().last().map_or(&Value::Null, |attempt| &attempt["class"]);
        assert_eq!(last, &class, "{explained}");
        let succeeded = if class == "ok" { json!(MIDNIGHT) } else { Value::Null };
        assert_eq!(explained["lastSuccess"], succeeded, "{explained}");

        let now = (MIDNIGHT + 60).to_string();
        let text = shown(&world, &["explain", short(site), "--now", &now]);
        assert!(text.contains(sentence) && text.contains(&site.site_url), "{text}");
        assert_no_secret(site, &text);
    }
    let text = shown(&world, &["explain", short(&sites[1]), "--now", "2026-01-01T01:00:00Z"]);
    assert!(text.contains("It is due now, since 2026-01-01 01:00:00Z"), "{text}");
    assert!(text.contains("Last failure at 2026-01-01 00:00:00Z (1 h ago): http"), "{text}");
    let strict = world.json(&["explain", short(&sites[1]), "--json", "--retry", "1 day (x9)"]);
    assert_eq!(strict["nextDue"], MIDNIGHT + 86_400);
    assert_eq!(world.json(&["explain", short(&sites[1]), "--json", "--name", "nightly"])["state"], "new");
}

#[test]
fn retry_shows_the_timeline_of_an_expression() {
    let world = World::new();
    let text = shown(&world, &["retry", "20MIN(x6);1 hour (x24)"]);
    assert!(text.starts_with("20 min (x6); 1 hour (x24)\n"), "{text}");
    let row = |n: usize| text.lines().nth(n).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!([row(3), row(4)], ["0 20 min 6 0 s 1 h 40 min", "1 1 hour 24 2 h 40 min 1 d 1 h"]);
    let drawn = text.lines().nth(6).unwrap();
    assert!(drawn.starts_with("0 ") && drawn.ends_with("1×") && drawn.matches('0').count() == 6, "{text}");
    assert_eq!(row(7), "0 2 h 40 min 1 d 1 h", "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("given up 1 d 1 h after its first failure"), "{text}");

    let endless = shown(&world, &["retry", "1 sec (x4000000000); 1 year (x*)"]);
    assert!(endless.lines().any(|line| line.starts_with("0 ") && line.ends_with('…')), "{endless}");

    let timeline = world.json(&["retry", "20 min (x6); 1 day (x*)", "--json"]);
    let levels = json!([
        {"level": 0, "period": "20 min", "times": 6, "first": 0, "last": 6000},
        {"level": 1, "period": "1 day", "times": null, "first": 92_400, "last": null},
    ]);
    assert_eq!((&timeline["levels"], &timeline["givesUpAfter"]), (&levels, &Value::Null));
    assert!(!world.store().exists());
}

#[test]
fn a_wrong_command_line_is_a_usage_error_that_says_what_was_expected() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    let cxn = site.cxn_id.as_str();
    for (arguments, told) in [
        (&["retry", "20 min (y6)"][..], "\n  20 min (y6)\n          ^\n"),
        (&["poll", APP, "--retry", "1 hour (x0)"], "\n  1 hour (x0)\n           ^\n"),
        (&["status", "--retry", ""], "expected a number"),
        (&["poll", APP, "--batch", "3/3"], "expected ID/COUNT"),
        (&["poll", APP, "--batch", "0/0"], "expected ID/COUNT"),
        (&["poll", APP, "--batch", "0/10001"], "expected ID/COUNT"),
        (&["poll", APP, "--batch", "x"], "expected ID/COUNT"),
        (&["poll", APP, "--now", "yesterday"], "expected a time such as"),
        (&["explain", cxn, "--now=-1"], "expected a time such as"),
        (&["poll", APP, "--threads", "0"], "not in 1..=4096"),
        (&["poll", APP, "--per-host", "0"], "not in 1..=4096"),
        (&["poll", APP, "--timeout", "0"], "expected more than 0 seconds"),
        (&["poll", APP, "--name", ""], "is empty"),
        (&["poll", "a/b"], "appId"),
        (&["poll"], "<APP>"),
        (&["call", cxn, "System"], "expected Entity.action"),
        (&["call", cxn, "System.get", "id"], "expected key=value"),
        (&["call", cxn, "System.get", "id:={"], "not JSON"),
        (&["get", "--allow-net", "10.0.0.0/33"], "expected a network"),
        (&["get", "--color", "pink"], "pink"),
        (&["import", "--on-error", "shrug"], "shrug"),
        (&["pol"], "'poll'"),
        (&[], "Usage:"),
    ] {
        let output = world.run(arguments);
        let said = stderr(&output);
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn what_is_not_there_is_not_found() {
    let world = World::with(["ok"]);
    for name in ["org.example.myap", "app:org.example.myap"] {
        for command in ["poll", "status"] {
            let told = refused(&world, 66, &[command, name]);
            assert!(told.starts_with("error: there is no app app:org.example.myap\n"), "{told}");
            assert!(told.contains("hint: did you mean org.example.myapp?"), "{told}");
        }
    }
    assert!(!refused(&world, 66, &["poll", "com.acme"]).contains("did you mean"));
    for arguments in [
        &["get", "cxn:beef"][..],
        &["get", "beef"],
        &["explain", "beef"],
        &["call", "beef", "System.get"],
        &["poll", APP, "--cxn", "beef"],
    ] {
        let told = refused(&world, 66, arguments);
        assert!(told.contains("there is no connection ") && told.contains("beef"), "{told}");
    }
    for name in [APP, "app:org.example.myapp"] {
        assert_quiet(&world.run(&["poll", name]));
    }
    assert_eq!(world.server.total(), 1, "which was due once");
}

#[test]
fn a_configuration_that_is_missing_or_wrong_is_not_passed_over() {
    let world = World::with(["ok"]);
    let told = refused(&world, 66, &["get", "--config", "nowhere.toml"]);
    assert!(told.starts_with("error: there is no configuration file nowhere.toml"), "{told}");

    let file = world.folder.path().join("wrong.toml");
    for (text, places) in [
        ("store = \"s\"\nthreats = 3\n", ["line 2", "threats"]),
        ("\n\nallow-net = [\"10.0.0.0/99\"]\n", ["line 3", "allow-net"]),
        ("[apps.\"org.example.myapp\"]\napp-sert = \"x\"\n", ["line 2", "app-sert"]),
        ("store = \n", ["line 1", "store"]),
    ] {
        fs::write(&file, text).unwrap();
        let told = refused(&world, 78, &["get", "--config", file.to_str().unwrap()]);
        assert!(told.contains("wrong.toml") && places.iter().all(|place| told.contains(place)), "{told}");
    }
    fs::write(&file, format!("[apps.\"{APP}\"]\napp-cert = \"gone.crt\"\n")).unwrap();
    assert!(refused(&world, 78, &["poll", APP, "--config", file.to_str().unwrap()]).contains("gone.crt"));
}

#[test]
fn help_and_version_are_data() {
    let world = World::new();
    assert_eq!(shown(&world, &["--version"]), concat!("cxnpoll ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [&["-h"][..], &["--help"], &["poll", "-h"], &["import", "--help"]] {
        let help = shown(&world, arguments);
        assert!(help.contains("Usage: cxnpoll") && help.contains("--store"), "{help}");
        assert!(!help.contains("--no-debug"), "what cxnapp's crontab lines hold needs no help");
    }
    assert!(shown(&world, &["-h"]).contains("Exit codes: 0 done"));
}

#[test]
fn the_log_tells_what_failed_and_never_a_secret() {
    let behaviours = ["ok", "insecure", "status-500"];
    let world = World::with(behaviours);
    let sites = world.sites(behaviours);
    let log = |form: &str, now: &str| {
        let file = world.folder.path().join(form);
        let log = ["--log-file", file.to_str().unwrap(), "--log-format", form];
        assert_quiet(&world.run(&[&["poll", APP, "--now", now, "-q"], &log[..]].concat()));
        let text = fs::read_to_string(file).unwrap();
        for site in &sites {
            assert_no_secret(site, &text);
        }
        text
    };
    let text = log("text", "1767225600");
    for (site, class) in [(&sites[1], "garbled"), (&sites[2], "http")] {
        assert!(text.lines().any(|line| line.contains(&site.cxn_id) && line.contains(class)), "{text}");
    }
    assert!(!text.contains('\u{1b}') && text.contains(&sites[0].cxn_id), "{text}");

    let lines = log("json", "1767312000");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (site, class) in [(&sites[1], "garbled"), (&sites[2], "http")] {
        let line = lines.iter().find(|line| line["cxn"] == site.cxn_id.as_str()).unwrap();
        assert_eq!((&line["outcome"], &line["level"]), (&json!(class), &json!("INFO")), "{line}");
    }
}

#[test]
fn an_error_has_colours_where_they_are_asked_for() {
    let world = World::new();
    for (color, start) in [("never", "error: "), ("auto", "error: "), ("always", "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m ")]
    {
        let told = refused(&world, 66, &["get", "--color", color]);
        assert!(told.starts_with(start), "{told:?}");
    }
}
