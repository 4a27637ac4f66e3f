//! The store's files: how they come to be, and which are accepted.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr, tools};

/// Returns the permission bits of a file.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn new_store_is_private_and_complete() {
    let world = World::with(["ok"]);
    let mode = |name: &str| mode(&world.store().join(name));
    assert_eq!((mode(""), mode("db-1"), mode("runs"), mode("CURRENT")), (0o700, 0o700, 0o700, 0o600));
    assert_eq!(fs::read_to_string(world.store().join("CURRENT")).unwrap(), "db-1\n");
    world.assert_sound();
}

#[test]
fn a_store_is_created_explicitly_and_only_once() {
    let world = World::new();
    let store = world.store().display().to_string();
    assert_eq!(code(&world.run(&["status"])), 66);
    let created = world.run(&["store", "create", "-v"]);
    assert_eq!((code(&created), stderr(&created)), (0, format!("created the store {store}\n")));
    assert_eq!(mode(&world.store()), 0o700);
    world.assert_sound();
    world.import(&world.sites(["ok"]));
    let again = world.run(&["store", "create", "-v"]);
    assert_eq!((code(&again), stderr(&again)), (0, format!("the store {store} exists already\n")));
    assert_eq!(world.json(&["store", "create", "--json"])["created"], false);
    assert_eq!(world.json(&["store", "check", "--json"])["counts"]["cxns"], 1);
    // Anything else is left alone.
    for (name, code_of_it) in [("file", 66), ("dir", 66)] {
        let path = world.path(name);
        if name == "dir" {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("notes.txt"), "").unwrap();
        } else {
            fs::write(&path, "").unwrap();
        }
        let output = world.run(&["store", "create", "--store", path.to_str().unwrap()]);
        assert_eq!(code(&output), code_of_it, "{output:?}");
        assert!(!path.join("CURRENT").exists());
    }
    let output = world.run(&["store", "create", "--store", "/proc/self/store"]);
    assert_eq!(code(&output), 74, "{output:?}");
}

#[test]
fn interrupted_creation_is_no_obstacle() {
    let world = World::new();
    fs::create_dir_all(world.store().join("db-1.new")).unwrap();
    fs::write(world.store().join("db-1.new/db"), "half").unwrap();
    fs::write(world.store().join("CURRENT.new"), "db").unwrap();
    assert_eq!(code(&world.run(&["status"])), 66);
    world.import(&world.sites(["ok"]));
    world.assert_sound();
}

#[test]
fn unnamed_database_is_kept() {
    let world = World::with(["ok"]);
    fs::remove_file(world.store().join("CURRENT")).unwrap();
    assert_eq!(code(&world.run(&["status"])), 66);
    let more = world.path("more.jsonl");
    fs::write(&more, world.site(1, "ok").jsonl()).unwrap();
    let output = world.run(&["import", more.to_str().unwrap()]);
    assert!(stderr(&output).contains("kept/db-1"), "{output:?}");
    assert!(world.store().join("kept/db-1/db").exists());
    assert_eq!(world.json(&["store", "check", "--json"])["counts"]["cxns"], 1);
}

#[test]
fn incomplete_snapshot_is_removed() {
    let world = World::with(["ok"; 3]);
    let snapshot = world.store().join("db-1/snap.00000000000000FF.generating");
    File::create(&snapshot).unwrap();
    world.assert_sound();
    assert!(!snapshot.exists());
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 3);
}

#[test]
fn store_of_a_newer_version_is_refused() {
    let world = World::with(["ok"]);
    world.database().open_tree("meta").unwrap().insert("version", &u32::MAX.to_be_bytes()).unwrap();
    for command in [&["status"][..], &["poll", APP], &["store", "check"], &["export"]] {
        let output = world.run(command);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(stderr(&output).contains("the store has version 4294967295"), "{output:?}");
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn store_of_another_user_is_refused() {
    let world = World::with(["ok"]);
    let owner = fs::metadata(world.store()).unwrap().uid();
    if chown(world.store(), Some(owner + 4321), None).is_err() {
        tools::skip("only root can change the owner of a directory");
        return;
    }
    let before = fs::read_dir(world.store()).unwrap().count();
    for command in [&["status"][..], &["poll", APP], &["import"]] {
        let output = world.run(command);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(stderr(&output).contains("hint: run as the store's owner: sudo -u"), "{output:?}");
    }
    assert_eq!(fs::read_dir(world.store()).unwrap().count(), before);
}

#[test]
fn only_an_import_creates_a_store() {
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
        let message = stderr(&output);
        assert!(message.starts_with("error: there is no store in") && message.contains("\nhint: "), "{message}");
        assert!(!world.store().exists() && !world.path("file").exists(), "{arguments:?}");
    }
    world.import(std::slice::from_ref(&site));
    assert_eq!(mode(&world.store()), 0o700);

    // An empty directory becomes a store.
    let empty = world.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
    assert_quiet(&world.run_with_pipe(&["import", "--store", empty.to_str().unwrap()], site.jsonl().as_bytes()));
    assert_eq!(mode(&empty), 0o700);
}

#[test]
fn foreign_directory_is_not_changed() {
    let world = World::new();
    let dir = world.store();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("thesis.tex"), "\\end").unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let output = world.run_with_pipe(&["import"], world.site(0, "ok").jsonl().as_bytes());
    assert_eq!(code(&output), 66);
    assert!(stderr(&output).contains("is not a store and not empty"), "{output:?}");
    let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names, mode(&dir)), (vec!["thesis.tex".into()], 0o755));
}

#[test]
fn wrong_current_is_an_error() {
    let world = World::with(["ok"]);
    let current = world.store().join("CURRENT");
    let site = world.site(0, "ok");
    for name in ["db-9\n", "", "../store/db-1\n", "db-\n"] {
        fs::write(&current, name).unwrap();
        for arguments in [&["get"][..], &["poll", APP], &["import"]] {
            let output = world.run_with_pipe(arguments, site.jsonl().as_bytes());
            assert_eq!(code(&output), 74, "{name:?} {arguments:?}: {output:?}");
            assert!(stderr(&output).contains("CURRENT does not name a database of this store"), "{output:?}");
        }
        assert!(!world.store().join("db-9").exists());
    }
    fs::write(&current, "db-1\n").unwrap();
    assert_eq!(world.export().len(), 1);
}
