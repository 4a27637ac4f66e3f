//! What an import changes in the store.

use std::collections::BTreeSet;
use std::fs;

use civisite::Site;
use serde_json::{Value, json};

use super::{exported, exported_line, import, line};
use crate::testkit::{MIDNIGHT, World, assert_quiet, code, samples, stderr, stdout};

#[test]
fn line_adds_updates_or_changes_nothing() {
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
    ] {
        let lines: Vec<Value> = lines.into_iter().cloned().collect();
        assert_eq!(import(&world, &[], &lines), counts, "{lines:?}");
    }
    assert_eq!(exported(&world).len(), 3);
    world.assert_sound();
}

#[test]
fn import_without_changes_writes_nothing() {
    const SITES: u32 = 300;
    // sled writes a few bytes per transaction, whatever it holds.
    const NOTE: usize = 500;
    let world = World::new();
    let sites = |app_url: &str| -> Vec<Site> {
        (0..SITES).map(|number| Site { app_url: app_url.into(), ..world.site(number, "ok") }).collect()
    };
    world.import(&sites("https://myapp.example.org/"));
    world.poll(MIDNIGHT, &[]);
    // sled defers some kilobytes of the poll to the next transaction.
    world.import(&sites("https://myapp.example.org/"));

    let before = database(&world);
    world.import(&sites("https://myapp.example.org/"));
    let after = database(&world);
    assert!(rewritten(&before, &after) < NOTE, "{} bytes", rewritten(&before, &after));

    // An export of the same store changes nothing either, even with --force.
    let lines: Vec<Value> = exported(&world).into_values().collect();
    let before = database(&world);
    assert_eq!(import(&world, &["--force"], &lines), [0, 0, SITES.into()]);
    let after = database(&world);
    assert!(rewritten(&before, &after) < NOTE, "{} bytes", rewritten(&before, &after));

    // A change does write more.
    world.import(&sites("https://elsewhere.example.org/"));
    assert!(rewritten(&after, &database(&world)) > 20 * NOTE);
}

/// Returns the bytes of the database file.
fn database(world: &World) -> Vec<u8> {
    fs::read(world.store().join("db-1/db")).unwrap()
}

/// Returns how many bytes differ.
fn rewritten(before: &[u8], after: &[u8]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count() + before.len().abs_diff(after.len())
}

#[test]
fn missing_fields_stay_as_they_are() {
    let world = World::new();
    let site = world.site(0, "ok");
    let perm = json!({"z": [{"entity": "*"}], "a": null});
    let full = json!({"perm": perm, "viaPort": "proxy.example.org:8080", "batchCode": 77, "disabled": true});
    assert_eq!(import(&world, &[], &[line(&site, &full)]), [1, 0, 0]);
    // Each case continues from the one before.
    for (patch, counts, changed) in [
        (json!({}), [0, 0, 1], json!({})),
        (json!({"batchCode": 78}), [0, 0, 1], json!({})),
        (json!({"perm": {"b": 1}}), [0, 1, 0], json!({"perm": {"b": 1}})),
        (json!({"viaPort": "10.0.0.1:80"}), [0, 1, 0], json!({"viaPort": "10.0.0.1:80"})),
        (json!({"viaPort": null, "batchCode": 79}), [0, 1, 0], json!({"viaPort": null})),
        (json!({"disabled": null}), [0, 1, 0], json!({"disabled": null})),
        (json!({}), [0, 0, 1], json!({})),
        (json!({"viaPort": null, "disabled": false, "batchCode": null, "pollStatus": null}), [0, 0, 1], json!({})),
        (json!({"perm": null}), [0, 1, 0], json!({"perm": null})),
    ] {
        let mut expected = exported_line(&world, &site);
        for (key, value) in changed.as_object().unwrap() {
            expected[key] = value.clone();
        }
        // An export leaves out defaults.
        expected.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(import(&world, &[], &[line(&site, &patch)]), counts, "{patch}");
        assert_eq!(exported_line(&world, &site), expected, "{patch}");
    }
    assert_eq!(exported_line(&world, &site)["batchCode"], 77);
    world.assert_sound();
}

#[test]
fn new_site_gets_the_given_or_a_random_batch_code() {
    let world = World::new();
    let message = [0, 10_000].map(|code| Site { batch_code: Some(code), ..world.site(code.into(), "ok") });
    let untold: Vec<Site> = (1..30).map(|number| world.site(number, "ok")).collect();
    world.import(&[&message[..], &untold].concat());
    let lines = exported(&world);
    let code = |site: &Site| lines[&site.cxn_id]["batchCode"].as_u64().unwrap();
    assert_eq!([code(&message[0]), code(&message[1])], [0, 10_000]);
    let codes: BTreeSet<u64> = untold.iter().map(code).collect();
    // Fewer than 15 different codes in 29 draws of 10001 are practically impossible.
    assert!(codes.len() >= 15 && codes.iter().all(|code| *code <= 10_000), "{codes:?}");
}

#[test]
fn poll_status_is_imported_where_newer_or_forced() {
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
fn new_site_is_imported_with_its_poll_statuses() {
    let world = World::new();
    let site = world.site(0, "ok");
    let status = |last_run: i64| json!({"pollLevel": 0, "pollCount": 0, "lastRun": last_run});
    let statuses = json!({"default": status(MIDNIGHT), "nightly": status(MIDNIGHT - 3600)});
    import(&world, &[], &[line(&site, &json!({"pollStatus": statuses}))]);
    let due = |job: &str| world.poll(MIDNIGHT + 60, &["--name", job, "--retry", "1 hour (x9)"])["due"].clone();
    assert_eq!([due("default"), due("nightly"), due("unknown")], [0, 1, 1]);
    world.assert_sound();
}

#[test]
fn dry_run_counts_what_an_import_would_change() {
    let world = samples::every_field();
    let before = world.export();
    let mut lines: Vec<Value> = before.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines[0]["siteUrl"] = json!("https://moved.example.org/");
    lines[1]["pollStatus"]["default"]["lastRun"] = json!(MIDNIGHT + 1);
    let added = world.site(50, "ok").jsonl();
    let input = format!("{}\n{}\n{}\n{added}\n", lines[0], lines[1], lines[2]);
    let import = |more: &[&str]| -> Value {
        let output = world.run_with_input(&[&["import", "--json"], more].concat(), &input);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let planned = import(&["--dry-run"]);
    assert_eq!(planned, json!({"added": 1, "updated": 2, "unchanged": 1, "skipped": 0}));
    assert_eq!(world.export(), before);
    let text = world.run_with_input(&["import", "--dry-run"], &input);
    assert_eq!(stdout(&text), "would be: 1 added, 2 updated, 1 unchanged\n");
    assert_eq!(import(&[]), planned);
    assert_eq!(import(&["--dry-run"])["unchanged"], 4);
    let fresh = World::new();
    let plan =
        |input: &str, more: &[&str]| stdout(&fresh.run_with_input(&[&["import", "--dry-run"], more].concat(), input));
    assert_eq!(plan(&input, &[]), "would be: 4 added, 0 updated, 0 unchanged\n");
    assert_eq!(
        plan(&format!("{added}\nx\n{added}\n"), &["--on-error", "skip"]),
        "would be: 1 added, 0 updated, 0 unchanged\n"
    );
    assert!(!fresh.store().exists());
}

#[test]
fn long_perm_is_stored_inside_the_database() {
    let world = World::new();
    let line = |number: u32, length: usize| {
        let perm = json!({"grant": format!("{number}{}", "g".repeat(length))});
        Site { perm: Some(perm), ..world.site(number, "ok") }.jsonl()
    };
    // Lengths around the limit of one stored piece, around a multiple of it, and far beyond.
    let lengths = (4000..4100).chain([8192, 200_000]);
    let lines: Vec<_> = (0..).zip(lengths).map(|(number, length)| line(number, length)).collect();
    world.import_text(&lines.join("\n"));
    let exported = world.export();
    for (number, line) in (0..).zip(&lines) {
        let imported: Value = serde_json::from_str(line).unwrap();
        let id = &world.site(number, "ok").cxn_id;
        let found = exported.iter().find(|line| line.contains(id.as_str())).unwrap();
        let found: Value = serde_json::from_str(found).unwrap();
        assert_eq!(found["perm"], imported["perm"]);
    }
    assert_eq!(fs::read_dir(world.store().join("db-1/blobs")).unwrap().count(), 0);
    world.assert_sound();
}

#[test]
fn lines_come_from_a_file_or_a_pipe_and_empty_ones_are_skipped() {
    let world = World::new();
    let lines = world.sites(["ok"; 3]).iter().map(Site::jsonl).collect::<Vec<_>>().join("\r\n \n\n");
    let file = world.path("lines");
    fs::write(&file, &lines).unwrap();
    assert_quiet(&world.run(&["import", file.to_str().unwrap()]));
    for arguments in [&["import", "--json"][..], &["import", "-", "--json"]] {
        let output = world.run_with_pipe(arguments, lines.as_bytes());
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((code(&output), &summary["unchanged"]), (0, &json!(3)), "{arguments:?}");
    }
    let missing = world.run(&["import", "no-such-file"]);
    assert_eq!(code(&missing), 66);
    assert!(stderr(&missing).contains("cannot read no-such-file"), "{missing:?}");
}
