//! The store as a whole: who may open it, what it survives, what a check finds.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use cxnpoll::store::Store;

/// Opens the database behind the program's back.
fn database(world: &World) -> sled::Db {
    // Its last user's threads may hold it for some milliseconds more.
    for _ in 0..200 {
        if let Ok(db) = sled::open(world.store().join("db-1")) {
            return db;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the database stayed locked");
}

#[test]
fn a_new_store_is_private_and_complete() {
    let world = World::with(["ok"]);
    let mode = |name: &str| fs::metadata(world.store().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("db-1"), mode("runs"), mode("CURRENT")), (0o700, 0o700, 0o700, 0o600));
    assert_eq!(fs::read_to_string(world.store().join("CURRENT")).unwrap(), "db-1\n");
    world.assert_sound();
}

#[test]
fn half_a_creation_is_no_obstacle() {
    let world = World::new();
    fs::create_dir_all(world.store().join("db-1")).unwrap();
    fs::write(world.store().join("db-1/db"), "half").unwrap();
    fs::write(world.store().join("CURRENT.new"), "db").unwrap();
    assert_eq!(code(&world.run(&["status"])), 66);
    world.import(&world.sites(["ok"]));
    world.assert_sound();
}

#[test]
fn what_sled_leaves_behind_when_killed_is_swept() {
    let world = World::with(["ok"; 3]);
    let left = world.store().join("db-1/snap.00000000000000FF.generating");
    File::create(&left).unwrap();
    world.assert_sound();
    assert!(!left.exists());
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 3);
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_alone() {
    let world = World::with(["ok"]);
    database(&world).open_tree("meta").unwrap().insert("version", &2u32.to_be_bytes()).unwrap();
    for command in [&["status"][..], &["poll", APP], &["store", "check"], &["export"]] {
        let output = world.run(command);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(stderr(&output).contains("the store has version 2"), "{output:?}");
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn a_store_that_stays_busy_is_75_with_a_word() {
    let world = World::with(["ok"]);
    let store = Store::open(&world.store(), Duration::ZERO).unwrap();
    store
        .session(|_| {
            let output = world.run(&["poll", APP, "--store-wait", "0.2"]);
            assert_eq!(code(&output), 75);
            assert!(stderr(&output).contains("stayed busy"), "{output:?}");
            Ok(())
        })
        .unwrap();
    assert_quiet(&world.run(&["poll", APP]));
}

#[test]
fn a_store_belongs_to_its_owner() {
    let world = World::with(["ok"]);
    let owner = fs::metadata(world.store()).unwrap().uid();
    if chown(world.store(), Some(owner + 4321), None).is_err() {
        println!("only root can give a folder away: nothing was tested");
        return;
    }
    let before = fs::read_dir(world.store()).unwrap().count();
    for command in [&["status"][..], &["poll", APP], &["import"]] {
        let output = world.run(command);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(stderr(&output).contains("hint: sudo -u"), "{output:?}");
    }
    assert_eq!(fs::read_dir(world.store()).unwrap().count(), before);
}

#[test]
fn a_check_finds_what_does_not_agree() {
    for (tree, fault) in [
        ("due", "is not in the index of what is due"),
        ("status", "has no poll status"),
        ("cxn", "leads to no connection"),
        ("id", "is not found by its cxnId"),
    ] {
        let world = World::with(["ok"; 3]);
        world.poll(MIDNIGHT, &[]);
        let db = database(&world);
        let tree = db.open_tree(tree).unwrap();
        let (key, _) = tree.first().unwrap().unwrap();
        tree.remove(key).unwrap();
        drop((tree, db));
        let output = world.run(&["store", "check"]);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(fault), "{fault}");
    }
}

#[test]
fn many_commands_at_once_all_get_their_turn() {
    let world = World::with(["ok"; 200]);
    let more = world.folder.path().join("more.jsonl");
    fs::write(&more, (200..400).map(|number| world.site(number, "ok").jsonl() + "\n").collect::<String>()).unwrap();
    let batches = ["0/4", "1/4", "2/4", "3/4"].map(|batch| ["poll", APP, "--per-host", "64", "--batch", batch]);
    let mut started: Vec<_> = batches.iter().map(|command| world.start(command)).collect();
    started.push(world.start(&["import", more.to_str().unwrap()]));
    started.push(world.start(&["poll", APP, "--name", "other", "--per-host", "64"]));
    started.push(world.start(&["status", "--json"]));
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(world.json(&["store", "check", "--json"])["counts"]["cxns"], 400);
    world.assert_sound();
}

#[test]
fn connections_of_a_job_that_was_interrupted_while_it_began_are_new() {
    let world = World::with(["ok"; 40]);
    // A job that an import made known, with a status for one connection only.
    let line = world
        .site(0, "ok")
        .jsonl()
        .replace('}', &format!(r#","pollStatus":{{"late":{{"pollLevel":0,"pollCount":0,"lastRun":{MIDNIGHT}}}}}}}"#));
    world.import_text(&line);
    let dry = world.run(&["poll", APP, "--name", "late", "--dry-run", "--json", "--now", "1767225601"]);
    assert_eq!(String::from_utf8(dry.stdout).unwrap().lines().count(), 39);
    assert_eq!(world.poll(MIDNIGHT + 1, &["--name", "late"])["polled"], 39);
    world.assert_sound();
}
