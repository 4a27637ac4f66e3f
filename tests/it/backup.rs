//! `store backup`, `store restore` and `store compact`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

/// Returns the names of the backups.
fn backups(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.store().join("backups")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "gz")).collect()
}

#[test]
fn run_writes_a_backup_when_the_newest_is_old() {
    let world = World::with(["ok"; 5]);
    world.poll(MIDNIGHT, &[]);
    assert_eq!(backups(&world).len(), 1);
    world.poll(MIDNIGHT + 3600, &[]);
    assert_eq!(backups(&world).len(), 1);
    let mode = |name: &str| fs::metadata(world.store().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("backups"), 0o700);
    let world = World::with(["ok"]);
    world.append_config("[backups]\nevery-hours = 0\n");
    world.poll(MIDNIGHT, &[]);
    assert!(!world.store().join("backups").exists());
}

#[test]
fn backup_from_the_future_counts_as_the_oldest() {
    let world = World::with(["ok"]);
    world.append_config("[backups]\nkeep = 2\n");
    world.poll(MIDNIGHT, &[]);
    let [current] = backups(&world).try_into().unwrap();
    let path = |name: &str| world.store().join("backups").join(name);
    let future = current.replacen("20", "29", 1);
    fs::rename(path(&current), path(&future)).unwrap();
    let site = world.site(1, "ok");
    world.import(std::slice::from_ref(&site));
    // A run warns of it, and writes another backup.
    let warning = format!("warning: {} is from the future", path(&future).display());
    let warned = |arguments: &[&str]| {
        let output = world.run(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        assert_eq!(stderr(&output).matches(&warning).count(), 1, "{output:?}");
    };
    warned(&["poll", APP]);
    // The next run writes none, and has nothing to report.
    assert_quiet(&world.run(&["poll", APP]));
    assert_eq!(backups(&world).len(), 2);
    // A restore chooses the newest real one.
    assert_quiet(&world.run(&["remove", &site.cxn_id, "--yes"]));
    warned(&["store", "restore", "--yes"]);
    assert_eq!(world.export().len(), 2);
    // The next backup takes the place of the one from the future.
    fs::rename(path(&future), path(&future.replacen("29", "30", 1))).unwrap();
    let compacted = world.run(&["store", "compact", "--json"]);
    let backup: Value = serde_json::from_slice(&compacted.stdout).unwrap();
    assert!(Path::new(backup["backup"]["path"].as_str().unwrap()).exists(), "{compacted:?}");
    assert!(backups(&world).iter().all(|name| name.starts_with("20")) && backups(&world).len() == 2);
    assert_quiet(&world.run(&["store", "restore", "--yes"]));
    for name in backups(&world) {
        fs::rename(path(&name), path(&name.replacen("20", "29", 1))).unwrap();
    }
    let message = world.refused(66, &["store", "restore"]);
    assert!(message.contains("warning: ") && message.contains("backups from the future"), "{message}");
}

#[test]
fn damaged_newest_backup_is_not_replaced_by_an_older_one() {
    let world = World::with(["ok"]);
    let path = |output: Value| output["path"].as_str().unwrap().to_owned();
    let older = path(world.json(&["store", "backup", "--json"]));
    let newest = path(world.json(&["store", "backup", "--json"]));
    assert_ne!(older, newest, "two backups of the same second have two names");
    let whole = fs::read(&newest).unwrap();
    for damaged in [&whole[..whole.len() - 1], b""] {
        fs::write(&newest, damaged).unwrap();
        let message = world.refused(65, &["store", "restore"]);
        assert!(message.contains(&format!("error: {newest} is not a complete backup")), "{message}");
        assert!(
            message.contains(&format!("hint: restore the backup before it with `cxnpoll store restore {older}`")),
            "{message}"
        );
    }
    assert_quiet(&world.run(&["store", "restore", "--yes", &older]));
}

#[test]
fn restore_over_connections_needs_a_confirmation() {
    let world = World::with(["ok"; 2]);
    let path = world.json(&["store", "backup", "--json"])["path"].as_str().unwrap().to_owned();
    world.import(&[world.site(9, "ok")]);
    let before = world.export();
    for command in [&["store", "restore"][..], &["store", "restore", "-n", &path]] {
        let message = world.refused(2, command);
        let question = "refusing to replace 3 connections with the backup of 20";
        assert!(message.contains(question) && message.contains("Z (2 connections) without asking"), "{message}");
        assert!(message.ends_with("hint: confirm with --yes\n"), "{message}");
        assert_eq!(world.export(), before);
    }
    // A store that cannot be read may have connections.
    let database = fs::read_to_string(world.store().join("CURRENT")).unwrap();
    fs::write(world.store().join("CURRENT"), "db-9").unwrap();
    let message = world.refused(2, &["store", "restore"]);
    assert!(message.contains("refusing to replace a store that cannot be read"), "{message}");
    fs::write(world.store().join("CURRENT"), database).unwrap();
    // Without connections there is nothing to ask about.
    assert_quiet(&world.run(&["remove", "--all", "--yes"]));
    assert_quiet(&world.run(&["store", "restore"]));
    assert_eq!(world.export().len(), 2);
}

#[test]
fn other_files_beside_the_backups_are_ignored_and_stay() {
    let world = World::with(["ok"]);
    world.append_config("[backups]\nkeep = 1\n");
    let dir = world.store().join("backups");
    fs::create_dir(&dir).unwrap();
    let names = ["zz.jsonl.gz", "20260131T120000Z-copy.jsonl.gz", "20260131T120000Z.jsonl"];
    for name in names {
        fs::write(dir.join(name), "").unwrap();
    }
    for _ in 0..2 {
        assert_quiet(&world.run(&["store", "backup"]));
        assert_quiet(&world.run(&["store", "restore", "--yes"]));
    }
    assert!(names.iter().all(|name| dir.join(name).exists()));
    assert_eq!(backups(&world).len(), 3);
}

#[test]
fn restore_creates_a_missing_store() {
    let world = World::with(["ok"; 3]);
    let before = world.export();
    let backup = world.json(&["store", "backup", "--json"]);
    assert_eq!(backup["cxns"], 3);
    let elsewhere = World::new();
    assert_quiet(&elsewhere.run(&["store", "restore", backup["path"].as_str().unwrap()]));
    assert_eq!(elsewhere.export(), before);
    assert_eq!(code(&elsewhere.run(&["store", "restore"])), 66);
}

#[test]
fn compacted_store_is_smaller_and_holds_the_same() {
    let world = World::with(["ok"; 500]);
    for hour in 0..12 {
        assert_eq!(world.poll(MIDNIGHT + hour * 3600, &[])["ok"], 500);
    }
    let (before, status) = (world.export(), world.json(&["status", "--json"]));
    let compacted = world.json(&["store", "compact", "--json"]);
    assert!(compacted["bytesAfter"].as_u64() < compacted["bytesBefore"].as_u64(), "{compacted}");
    assert_eq!((world.export(), world.json(&["status", "--json"])), (before, status));
    assert!(!world.store().join("db-1").exists() && !world.store().join("kept").exists());
    world.assert_sound();
    assert_eq!(world.poll(MIDNIGHT + 12 * 3600, &[])["ok"], 500);
}
