//! `store backup`, `store restore` and `store compact`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::testkit::faults::Faults;
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr, was_killed};

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

/// The names of all files in the directory of the backups, without the lock.
fn files(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.store().join("backups")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "backup.lock");
    names.sort();
    names
}

#[test]
fn backup_is_checked_by_restoring_it() {
    let world = World::with(["ok"; 300]);
    world.poll(MIDNIGHT, &[]);
    assert_eq!(world.json(&["store", "backup", "--json"])["verified"], false);
    let backup = world.json(&["store", "backup", "--verify", "--json"]);
    assert_eq!((&backup["verified"], &backup["cxns"]), (&true.into(), &300.into()));
    let path = backup["path"].as_str().unwrap();
    // The temporary store is gone, and only the store's owner can read the record.
    assert_eq!(files(&world).len(), 4, "{:?}", files(&world));
    let mode = fs::metadata(world.store().join("backups/checked.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = world.export();
    assert_quiet(&world.run(&["store", "restore", "--check"]));
    let checked = world.json(&["store", "restore", "--check", path, "--json"]);
    assert_eq!((&checked["path"], &checked["verified"]), (&path.into(), &true.into()));
    assert_eq!(world.export(), before);
    // That needs no store, and makes none.
    let elsewhere = World::new();
    assert_quiet(&elsewhere.run(&["store", "restore", "--check", path]));
    assert!(!elsewhere.store().exists());
    assert_eq!(code(&elsewhere.run(&["store", "restore", "--check"])), 66);
    assert_eq!(code(&world.run(&["store", "restore", "--check", "missing.gz"])), 66);
}

#[test]
fn backup_that_cannot_be_restored_is_reported_and_displaces_no_good_one() {
    let world = World::with(["ok"]);
    world.append_config("[backups]\nkeep = 1\n");
    let path = |name: &str| world.store().join("backups").join(name);
    assert_quiet(&world.run(&["store", "backup", "--verify"]));
    let [good] = backups(&world).try_into().unwrap();
    assert_quiet(&world.run(&["store", "backup"]));
    let [bad] = backups(&world).into_iter().filter(|name| *name != good).collect::<Vec<_>>().try_into().unwrap();
    let whole = fs::read(path(&bad)).unwrap();
    fs::write(path(&bad), &whole[..whole.len() - 9]).unwrap();
    let message = world.refused(74, &["store", "restore", "--check"]);
    assert!(message.contains(&format!("error: {} cannot be restored: ", path(&bad).display())), "{message}");
    let hint =
        format!("hint: check the backup before it with `cxnpoll store restore --check {}`", path(&good).display());
    assert!(message.contains(&hint), "{message}");
    // Its end may be there and say something else than its content.
    let text = |name: &str| {
        let mut text = String::new();
        GzDecoder::new(&fs::read(path(name)).unwrap()[..]).read_to_string(&mut text).unwrap();
        text
    };
    let named = path(&bad).display().to_string();
    let changed = text(&good).replace("\"cxns\":1", "\"cxns\":2");
    let mut gzip = GzEncoder::new(fs::File::create(path(&bad)).unwrap(), Compression::fast());
    gzip.write_all(changed.as_bytes()).unwrap();
    gzip.finish().unwrap();
    let message = world.refused(74, &["store", "restore", "--check", &named]);
    assert!(message.contains("hint: look for faults of the disk and the memory, and write another with"), "{message}");
    // However many backups follow, the last one that could be restored stays, until another can be.
    for _ in 0..3 {
        assert_quiet(&world.run(&["store", "backup"]));
        assert!(path(&good).exists() && backups(&world).len() == 2, "{:?}", backups(&world));
    }
    assert_quiet(&world.run(&["store", "backup", "--verify"]));
    assert_quiet(&world.run(&["store", "backup"]));
    assert!(!path(&good).exists() && backups(&world).len() == 2, "{:?}", backups(&world));
}

#[test]
fn run_checks_the_backup_that_it_writes_if_it_is_to() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    assert_eq!(files(&world).len(), 1, "by default it does not");
    world.append_config("[backups]\nverify = true\n");
    let renew = || fs::remove_dir_all(world.store().join("backups")).unwrap();
    renew();
    assert_quiet(&world.run(&["poll", APP]));
    assert_eq!(files(&world).len(), 2);
    // A failure does not fail the run, and is reported each time.
    let Some(faults) = Faults::new() else { return };
    for at in ["read 1", "read 2"] {
        renew();
        let (output, reads) = faults.run(&world, &["poll", APP], ".jsonl.gz", at);
        assert!(code(&output) == 0 && reads.iter().any(|read| read.failed), "{at}: {output:?}");
        assert!(stderr(&output).starts_with("warning: cannot check the backup: "), "{at}: {output:?}");
        assert_eq!(files(&world).len(), 2, "{at}: {:?}", files(&world));
    }
    // The store that it is restored to cannot be written.
    renew();
    let (output, syncs) = faults.run(&world, &["store", "backup", "--verify"], "/db-1.new/conf", "sync 1");
    assert!(code(&output) == 74 && syncs.iter().any(|sync| sync.failed), "{output:?}");
    assert_eq!(files(&world).len(), 1, "the backup stays, and is not called bad: {:?}", files(&world));
}

#[test]
fn next_backup_removes_what_a_killed_check_left() {
    let world = World::with(["ok"]);
    let killed =
        world.command(&["store", "backup", "--verify"]).env("CXNPOLL_DIE_AT", "DatabaseBuilt").output().unwrap();
    assert!(was_killed(&killed), "{killed:?}");
    assert!(files(&world).iter().any(|name| name.starts_with("cxnpoll-copy-")), "{:?}", files(&world));
    assert_quiet(&world.run(&["store", "backup"]));
    assert_eq!((files(&world).len(), backups(&world).len()), (2, 2));
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
    let status = || world.json(&["status", "--json", "--now", &(MIDNIGHT + 12 * 3600).to_string()]);
    let before = (world.export(), status());
    let compacted = world.json(&["store", "compact", "--json"]);
    assert!(compacted["bytesAfter"].as_u64() < compacted["bytesBefore"].as_u64(), "{compacted}");
    assert_eq!((world.export(), status()), before);
    assert!(!world.store().join("db-1").exists() && !world.store().join("kept").exists());
    world.assert_sound();
    assert_eq!(world.poll(MIDNIGHT + 12 * 3600, &[])["ok"], 500);
}
