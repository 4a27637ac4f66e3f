//! Imports and exports through the binary: what comes in, what stays, what is refused, and what goes out.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use civisite::Site;
use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::{Value, json};

/// A site's line with keys added or replaced.
fn line(site: &Site, patch: &Value) -> Value {
    let mut line = serde_json::to_value(site).unwrap();
    line.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    line
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs the command with this on its standard input.
fn pipe(world: &World, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = world.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    match stdin.write_all(input) {
        // Who refuses the command line doesn't read.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
        _ => drop(stdin),
    }
    child.wait_with_output().unwrap()
}

/// Imports lines, which must be good, and tells how many were added, updated and unchanged.
fn import(world: &World, more: &[&str], lines: &[Value]) -> [u64; 3] {
    let output = pipe(world, &[&["import", "--json"], more].concat(), text(lines).as_bytes());
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["skipped"], 0);
    ["added", "updated", "unchanged"].map(|key| summary[key].as_u64().unwrap())
}

/// All lines of the store by their cxnId.
fn exported(world: &World) -> BTreeMap<String, Value> {
    let output = world.run(&["export"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["cxnId"].as_str().unwrap().to_owned(), line)).collect()
}

fn exported_line(world: &World, site: &Site) -> Value {
    exported(world).remove(&site.cxn_id).unwrap()
}

fn database(world: &World) -> Vec<u8> {
    fs::read(world.store().join("db-1/db")).unwrap()
}

/// How many bytes of the database are others than before.
fn rewritten(before: &[u8], after: &[u8]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count() + before.len().abs_diff(after.len())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The site fails once, which is once too often.
fn give_up(world: &World, site: &Site) {
    world.poll(MIDNIGHT, &["--retry", "1 min (x1)"]);
    assert_eq!(world.explain(site, MIDNIGHT)["state"], "given-up");
}

#[test]
fn a_line_adds_updates_or_changes_nothing() {
    let world = World::new();
    let [one, two, three] = [0, 1, 2].map(|number| world.site(number, "ok"));
    let [one, two, three] = [&one, &two, &three].map(|site| line(site, &json!({})));
    let mut moved = two.clone();
    moved["siteUrl"] = json!("https://elsewhere.example.org/");
    for (lines, counts) in [
        (vec![&one, &two], [2, 0, 0]),
        (vec![&two, &one], [0, 0, 2]),
        (vec![&one, &moved, &three], [1, 1, 1]),
        (vec![&moved], [0, 0, 1]),
        (vec![&two], [0, 1, 0]),
        (vec![], [0, 0, 0]),
    ] {
        let lines: Vec<Value> = lines.into_iter().cloned().collect();
        assert_eq!(import(&world, &[], &lines), counts, "{lines:?}");
    }
    assert_eq!(exported(&world).len(), 3);
    world.assert_sound();
}

#[test]
fn an_import_that_changes_nothing_writes_nothing() {
    const SITES: u32 = 300;
    // sled notes that there was a transaction, in 36 bytes.
    const NOTE: usize = 500;
    let world = World::new();
    let sites = |app_url: &str| -> Vec<Site> {
        (0..SITES).map(|number| Site { app_url: app_url.into(), ..world.site(number, "ok") }).collect()
    };
    world.import(&sites("https://myapp.example.org/"));
    world.poll(MIDNIGHT, &[]);
    // What sled has left to do after the poll, some kilobytes, it does with the next transaction.
    world.import(&sites("https://myapp.example.org/"));

    let before = database(&world);
    world.import(&sites("https://myapp.example.org/"));
    let after = database(&world);
    assert!(
        rewritten(&before, &after) < NOTE,
        "{} bytes, and cron comes every five minutes",
        rewritten(&before, &after)
    );

    // Its own export is no news either, not even where every status is to be taken.
    let lines: Vec<Value> = exported(&world).into_values().collect();
    let before = database(&world);
    assert_eq!(import(&world, &["--force"], &lines), [0, 0, SITES.into()]);
    let after = database(&world);
    assert!(rewritten(&before, &after) < NOTE, "{} bytes", rewritten(&before, &after));

    // Or the test proves nothing.
    world.import(&sites("https://elsewhere.example.org/"));
    assert!(rewritten(&after, &database(&world)) > 20 * NOTE);
}

#[test]
fn what_a_line_does_not_tell_stays() {
    let world = World::new();
    let site = world.site(0, "ok");
    let perm = json!({"z": [{"entity": "*"}], "a": null});
    let full = json!({"perm": perm, "viaPort": "proxy.example.org:8080", "batchCode": 77, "disabled": true});
    assert_eq!(import(&world, &[], &[line(&site, &full)]), [1, 0, 0]);
    // Each case goes on where the one before ended.
    for (patch, counts, changed) in [
        (json!({}), [0, 0, 1], json!({})),
        (json!({"batchCode": 78}), [0, 0, 1], json!({})),
        (json!({"perm": {"b": 1}}), [0, 1, 0], json!({"perm": {"b": 1}})),
        (json!({"viaPort": "10.0.0.1:80"}), [0, 1, 0], json!({"viaPort": "10.0.0.1:80"})),
        (json!({"disabled": false}), [0, 1, 0], json!({"disabled": null})),
        (json!({"viaPort": null, "batchCode": 79}), [0, 1, 0], json!({"viaPort": null})),
        (json!({}), [0, 0, 1], json!({})),
        (json!({"viaPort": null}), [0, 0, 1], json!({})),
    ] {
        let mut expected = exported_line(&world, &site);
        for (key, value) in changed.as_object().unwrap() {
            expected[key] = value.clone();
        }
        // What is at its default is left out.
        expected.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(import(&world, &[], &[line(&site, &patch)]), counts, "{patch}");
        assert_eq!(exported_line(&world, &site), expected, "{patch}");
    }
    assert_eq!(exported_line(&world, &site)["batchCode"], 77);
    world.assert_sound();
}

#[test]
fn a_new_site_has_the_batch_code_that_is_told_or_a_random_one() {
    let world = World::new();
    let told = [0, 10_000].map(|code| Site { batch_code: Some(code), ..world.site(code.into(), "ok") });
    let untold: Vec<Site> = (1..30).map(|number| world.site(number, "ok")).collect();
    world.import(&[&told[..], &untold].concat());
    let lines = exported(&world);
    let code = |site: &Site| lines[&site.cxn_id]["batchCode"].as_u64().unwrap();
    assert_eq!([code(&told[0]), code(&told[1])], [0, 10_000]);
    let codes: BTreeSet<u64> = untold.iter().map(code).collect();
    // That 29 draws of 10001 hold fewer than 15 different codes doesn't happen.
    assert!(codes.len() >= 15 && codes.iter().all(|code| *code <= 10_000), "{codes:?}");
}

#[test]
fn a_site_that_is_given_up_comes_back_once_it_is_connected_anew() {
    let other = World::new().site(99, "ok").secret_base64;
    for (patch, state) in [
        (json!({"secret": other}), "new"),
        (json!({"siteUrl": "http://127.0.0.1:9/moved"}), "new"),
        (json!({}), "given-up"),
        (json!({"perm": {"a": 1}}), "given-up"),
        (json!({"appUrl": "https://other.example.org/"}), "given-up"),
        (json!({"viaPort": "127.0.0.1:9"}), "given-up"),
    ] {
        let world = World::with(["status-500"]);
        let site = world.site(0, "status-500");
        give_up(&world, &site);
        import(&world, &[], &[line(&site, &patch)]);
        let explained = world.explain(&site, MIDNIGHT + 60);
        assert_eq!(explained["state"], state, "{patch}");
        assert_eq!(explained["attempts"].as_array().unwrap().len(), 1, "its history stays: {patch}");
        assert_eq!(world.poll(MIDNIGHT + 60, &["--retry", "1 min (x1)"])["due"], u64::from(state == "new"), "{patch}");
        world.assert_sound();
    }
}

#[test]
fn a_site_that_is_retried_goes_on_where_it_was_when_it_is_connected_anew() {
    let world = World::with(["status-500"]);
    world.poll(MIDNIGHT, &[]);
    let site = world.site(0, "ok");
    assert_eq!(import(&world, &[], &[line(&site, &json!({}))]), [0, 1, 0]);
    let explained = world.explain(&site, MIDNIGHT);
    assert_eq!((&explained["state"], &explained["pollCount"]), (&json!("retrying"), &json!(1)));
}

#[test]
fn another_app_is_another_connection() {
    let world = World::new();
    let site = Site { batch_code: Some(4711), ..world.site(0, "status-500") };
    world.import(std::slice::from_ref(&site));
    world.poll(MIDNIGHT, &["--name", "nightly"]);
    give_up(&world, &site);

    let there = Site { app_id: "app:org.example.other".into(), batch_code: Some(1), ..site.clone() };
    assert_eq!(import(&world, &[], &[line(&there, &json!({}))]), [0, 1, 0]);
    let told = exported_line(&world, &site);
    assert_eq!((&told["appId"], &told["batchCode"]), (&json!("app:org.example.other"), &json!(4711)));
    assert_eq!(told.get("pollStatus"), None);
    assert_eq!(world.explain(&site, MIDNIGHT)["state"], "new");
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--name", "nightly"])["due"], 0);

    // Nor does the way back bring its old life back.
    assert_eq!(import(&world, &[], &[line(&site, &json!({}))]), [0, 1, 0]);
    let back = world.explain(&site, MIDNIGHT);
    assert_eq!((&back["state"], &back["attempts"]), (&json!("new"), &json!([])));
    assert_eq!(exported_line(&world, &site)["batchCode"], 4711);
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--name", "nightly"])["due"], 1);
    world.assert_sound();
}

#[test]
fn a_poll_status_is_taken_where_it_is_newer_or_by_force() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    world.poll(MIDNIGHT, &[]);
    let status = |ahead: i64, count: u64| json!({"pollStatus": {"default": {"pollLevel": 0, "pollCount": count, "lastRun": MIDNIGHT + ahead}}});
    for (ahead, count, more, changes) in [
        (-3600, 1, None, [0, 0, 1]),
        (0, 2, None, [0, 0, 1]),
        (1, 3, None, [0, 1, 0]),
        (1, 3, None, [0, 0, 1]),
        (-3600, 4, Some("--force"), [0, 1, 0]),
        (-3600, 4, Some("--force"), [0, 0, 1]),
    ] {
        let before = world.explain(&site, MIDNIGHT);
        let case = format!("{ahead} {count} {more:?}");
        assert_eq!(import(&world, more.as_slice(), &[line(&site, &status(ahead, count))]), changes, "{case}");
        let after = world.explain(&site, MIDNIGHT);
        if changes == [0, 1, 0] {
            assert_eq!((&after["lastRun"], &after["pollCount"]), (&json!(MIDNIGHT + ahead), &json!(count)), "{case}");
        } else {
            assert_eq!(after, before, "{case}");
        }
    }
    world.assert_sound();
}

#[test]
fn a_new_site_brings_its_poll_statuses_along() {
    let world = World::new();
    let site = world.site(0, "ok");
    let status = |last_run: i64| json!({"pollLevel": 0, "pollCount": 0, "lastRun": last_run});
    let statuses = json!({"default": status(MIDNIGHT), "nightly": status(MIDNIGHT - 3600)});
    import(&world, &[], &[line(&site, &json!({"pollStatus": statuses}))]);
    let due = |job: &str| world.poll(MIDNIGHT + 60, &["--name", job, "--retry", "1 hour (x9)"])["due"].clone();
    assert_eq!([due("default"), due("nightly"), due("never-heard-of")], [0, 1, 1]);
    world.assert_sound();
}

#[test]
fn one_bad_line_keeps_all_of_them_out() {
    let world = World::new();
    let (good, site) = (world.site(0, "ok"), world.site(1, "ok"));
    let secret = &site.secret_base64;
    let bad = |patch: Value| line(&site, &patch).to_string();
    for (case, problem) in [
        ("{\"cxnId\"".to_owned(), "EOF"),
        ("[]".to_owned(), "expected a JSON object"),
        (json!({"cxnId": site.cxn_id, "secret": secret}).to_string(), "missing field `appId`"),
        (bad(json!({"viaport": "a.example:1"})), "unknown field `viaport`"),
        (bad(json!({"viaPort": "localhost:80"})), "viaPort"),
        (bad(json!({"cxnId": "two\nlines"})), "cxnId holds a control character"),
        (bad(json!({"appId": "org.example.myapp"})), "appId does not begin with 'app:'"),
        (bad(json!({"batchCode": 10_001})), "batchCode is above 10000"),
        (bad(json!({"batchCode": secret})), "invalid type"),
        (bad(json!({"disabled": secret})), "expected a boolean"),
        (bad(json!({"secret": secret[1..]})), "secret is not the base64 of 32 bytes"),
        (bad(json!({"siteUrl": ""})), "siteUrl"),
        (bad(json!({"pollStatus": {"default": {"pollLevel": 0}}})), "missing field `pollCount`"),
        (bad(json!({"pollStatus": {"default": secret}})), "invalid type"),
        (
            bad(json!({"pollStatus": {"default": {"pollLevel": 4_294_967_294u32, "pollCount": 0, "lastRun": 0}}})),
            "pollLevel is above",
        ),
        (format!("{} {secret}", bad(json!({}))), "trailing characters"),
    ] {
        let input = format!("{}\n\n{case}\n", good.jsonl());
        let output = pipe(&world, &["import"], input.as_bytes());
        let told = stderr(&output);
        assert_eq!((code(&output), output.stdout.len()), (65, 0), "{case}: {told}");
        assert!(told.starts_with("error: 1 bad line") && told.contains("line 3: "), "{told}");
        assert!(told.contains(problem) && told.contains("nothing was imported"), "{case}: {told}");
        assert!(!told.contains(&secret[1..9]), "{told}");
        assert!(!world.store().exists(), "{case}");
    }
}

#[test]
fn the_same_connection_twice_is_an_error_and_changes_nothing() {
    let world = World::with(["ok"]);
    let before = exported(&world);
    let (old, new) = (world.site(0, "api-error"), world.site(1, "ok"));
    let twice = text(&[line(&old, &json!({})), line(&new, &json!({})), line(&new, &json!({"disabled": true}))]);
    let output = pipe(&world, &["import", "--json"], twice.as_bytes());
    assert_eq!((code(&output), output.stdout.len()), (65, 0));
    assert!(stderr(&output).contains(&format!("line 3: {} was there before", new.cxn_id)), "{output:?}");
    assert_eq!(exported(&world), before);

    let output = pipe(&world, &["import", "--json", "--on-error", "skip"], twice.as_bytes());
    assert_eq!(code(&output), 65);
    assert_eq!(exported_line(&world, &new).get("disabled"), None, "the first of the two is taken");
}

#[test]
fn bad_lines_can_be_skipped_and_are_told_all_the_same() {
    let world = World::new();
    let mut lines: Vec<String> = world.sites(["ok"; 15]).iter().map(Site::jsonl).collect();
    let wrong: Vec<String> = lines.drain(2..14).map(|line| line.replace("siteUrl", "siteURL")).collect();
    lines.splice(2..2, wrong);
    let output = pipe(&world, &["import", "--json", "--on-error", "skip"], lines.join("\n").as_bytes());
    assert_eq!(code(&output), 65);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, json!({"added": 3, "updated": 0, "unchanged": 0, "skipped": 12}));
    let told = stderr(&output);
    assert!(told.contains("error: 12 bad lines") && told.contains("the other lines were imported"), "{told}");
    assert!(told.contains("\nline 3: ") && told.contains("\nand 2 more"), "{told}");
    assert_eq!(exported(&world).len(), 3);
    world.assert_sound();
}

#[test]
fn lines_come_from_a_file_or_a_pipe_and_empty_ones_do_not_count() {
    let world = World::new();
    let lines = world.sites(["ok"; 3]).iter().map(Site::jsonl).collect::<Vec<_>>().join("\r\n \n\n");
    let file = world.folder.path().join("lines");
    fs::write(&file, &lines).unwrap();
    assert_quiet(&world.run(&["import", file.to_str().unwrap()]));
    for arguments in [&["import", "--json"][..], &["import", "-", "--json"]] {
        let output = pipe(&world, arguments, lines.as_bytes());
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((code(&output), &summary["unchanged"]), (0, &json!(3)), "{arguments:?}");
    }
    let missing = world.run(&["import", "no-such-file"]);
    assert_eq!(code(&missing), 66);
    assert!(stderr(&missing).contains("can't read no-such-file"), "{missing:?}");
}

#[test]
fn an_export_is_imported_elsewhere_and_exports_the_same() {
    let behaviours = ["ok", "status-500", "retry-after-60", "api-error", "hang"];
    let world = World::with(behaviours);
    let site = world.site(9, "ok");
    let full = json!({"perm": {"z": 1, "a": [true, "\u{1b}"]}, "viaPort": "10.0.0.1:80", "disabled": true});
    import(&world, &[], &[line(&site, &full)]);
    for now in [MIDNIGHT, MIDNIGHT + 3600] {
        world.poll(now, &["--timeout", "0.2"]);
    }
    world.poll(MIDNIGHT, &["--name", "nightly", "--timeout", "0.2"]);
    // One that came back has a history, and is new all the same.
    world.import(&[Site { site_url: "http://127.0.0.1:9/".into(), ..world.site(8, "ok") }]);

    let lines = |more: &[&str]| {
        let output = world.run(&[&["export"], more].concat());
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
        let mut lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let here = lines(&[]);
    assert_eq!(here.len(), behaviours.len() + 2);
    let there = world.folder.path().join("there");
    let there = ["--store", there.to_str().unwrap()];
    assert_quiet(&pipe(&world, &[&["import"], &there[..]].concat(), here.join("\n").as_bytes()));
    assert_eq!(lines(&there), here);
    assert_eq!(world.json(&[&["store", "check", "--json"], &there[..]].concat())["faults"], 0);
}

#[test]
fn an_export_to_a_file_is_for_our_eyes_alone() {
    let world = World::with(["ok"; 3]);
    let file = world.folder.path().join("connections.jsonl");
    fs::write(&file, "of last week").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_quiet(&world.run(&["export", file.to_str().unwrap()]));
    assert_eq!(mode(&file), 0o600);
    assert_eq!(fs::read(&file).unwrap(), world.run(&["export", "-"]).stdout);
}

#[test]
fn an_export_whose_reader_has_seen_enough_ends_without_a_word() {
    let world = World::new();
    // More than a pipe holds.
    let perm = "x".repeat(1000);
    let lines: Vec<Value> =
        (0..500).map(|n| line(&world.site(n, "ok"), &json!({"perm": format!("{n}{perm}")}))).collect();
    assert_eq!(import(&world, &[], &lines), [500, 0, 0]);
    let mut child = world.start(&["export"]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_quiet(&child.wait_with_output().unwrap());
}

#[test]
fn a_store_is_made_by_an_import_alone_and_for_its_owner_alone() {
    let world = World::new();
    let site = world.site(0, "ok");
    for arguments in [
        &["poll", APP][..],
        &["poll", APP, "--dry-run"],
        &["get"],
        &["status"],
        &["explain", &site.cxn_id],
        &["call", &site.cxn_id, "System.get"],
        &["export"],
        &["export", "file"],
        &["store", "check"],
    ] {
        let output = world.run(arguments);
        assert_eq!((code(&output), output.stdout.len()), (66, 0), "{arguments:?}: {output:?}");
        let told = stderr(&output);
        assert!(told.starts_with("error: there is no store at") && told.contains("\nhint: "), "{told}");
        assert!(!world.store().exists() && !world.folder.path().join("file").exists(), "{arguments:?}");
    }
    world.import(std::slice::from_ref(&site));
    assert_eq!(mode(&world.store()), 0o700);

    // An empty folder is as good as none.
    let empty = world.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
    assert_quiet(&pipe(&world, &["import", "--store", empty.to_str().unwrap()], site.jsonl().as_bytes()));
    assert_eq!(mode(&empty), 0o700);
}

#[test]
fn a_folder_that_holds_something_else_is_left_alone() {
    let world = World::new();
    let folder = world.store();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("thesis.tex"), "\\end").unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let output = pipe(&world, &["import"], world.site(0, "ok").jsonl().as_bytes());
    assert_eq!(code(&output), 66);
    assert!(stderr(&output).contains("is not a store and not empty"), "{output:?}");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names, mode(&folder)), (vec!["thesis.tex".into()], 0o755));
}

#[test]
fn a_store_whose_current_names_nothing_is_not_taken_for_an_empty_one() {
    let world = World::with(["ok"]);
    let current = world.store().join("CURRENT");
    let site = world.site(0, "ok");
    for name in ["db-9\n", "", "../store/db-1\n", "db-\n"] {
        fs::write(&current, name).unwrap();
        for arguments in [&["get"][..], &["poll", APP], &["import"]] {
            let output = pipe(&world, arguments, site.jsonl().as_bytes());
            assert_eq!(code(&output), 74, "{name:?} {arguments:?}: {output:?}");
            assert!(stderr(&output).contains("CURRENT names no database of this store"), "{output:?}");
        }
        assert!(!world.store().join("db-9").exists());
    }
    fs::write(&current, "db-1\n").unwrap();
    assert_eq!(exported(&world).len(), 1);
}

#[test]
fn a_long_perm_comes_back_and_lies_in_no_file_of_its_own() {
    let world = World::new();
    let line = |number: u32, length: usize| {
        let perm = serde_json::json!({"grant": format!("{number}{}", "g".repeat(length))});
        civisite::Site { perm: Some(perm), ..world.site(number, "ok") }.jsonl()
    };
    // Around the length of a piece, where the whole of it is a multiple, and far beyond.
    let lengths = (4000..4100).chain([8192, 200_000]);
    let lines: Vec<_> = (0..).zip(lengths).map(|(number, length)| line(number, length)).collect();
    world.import_text(&lines.join("\n"));
    let exported = world.export();
    for (number, line) in (0..).zip(&lines) {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = &world.site(number, "ok").cxn_id;
        let found = exported.iter().find(|line| line.contains(id.as_str())).unwrap();
        let found: serde_json::Value = serde_json::from_str(found).unwrap();
        assert_eq!(found["perm"], told["perm"]);
    }
    assert_eq!(fs::read_dir(world.store().join("db-1/blobs")).unwrap().count(), 0);
    world.assert_sound();
}
