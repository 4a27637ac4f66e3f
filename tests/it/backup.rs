//! `store backup`, `store restore` and `store compact`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::testkit::{MIDNIGHT, World, assert_quiet, code};

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
fn backup_from_the_future_does_not_stop_backups() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    let [current] = backups(&world).try_into().unwrap();
    let future = current.replacen("20", "29", 1);
    fs::rename(world.store().join("backups").join(&current), world.store().join("backups").join(&future)).unwrap();
    world.poll(MIDNIGHT + 3600, &[]);
    let after = backups(&world);
    assert!(after.len() == 2 && after.contains(&future), "{after:?}");
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
