//! Stores and backups that former builds wrote are read, checked and polled from.
//!
//! `store-v1.tar.gz` is of a build that wrote version 1. `fixtures/make-store-v2.sh` made the other fixtures and lists
//! what is in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code};

const STORE_V1: &str = "store-v1.tar.gz";
const STORE_V2: &str = "store-v2.tar.gz";
const BACKUP_V1: &str = "backup-v1.jsonl.gz";

const EXPORT_OF_V1: &str = include_str!("../../fixtures/store-v1.jsonl");
const EXPORT_OF_V2: &str = include_str!("../../fixtures/store-v2.jsonl");

/// The addresses of the simulated sites when the fixtures were made.
const ADDRESSES: [&str; 2] = ["127.0.0.1:18471", "127.0.0.1:18472"];
/// After the last poll in any fixture, when all sites are due that have not been given up.
const LATER: i64 = MIDNIGHT + 30 * 86_400;
/// The expression that the jobs of `store-v2` ran with.
const RETRY: &str = "1 hour (x2); 1 day (x2)";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A world whose store is the one of an archive.
fn unpacked(archive: &str) -> World {
    let world = World::new();
    let mut tar = Command::new("tar");
    tar.arg("--no-same-owner").arg("-xzf").arg(fixture(archive)).arg("-C").arg(world.store().parent().unwrap());
    assert!(tar.status().unwrap().success());
    fs::set_permissions(world.store(), fs::Permissions::from_mode(0o700)).unwrap();
    world
}

/// A world with a fresh store that a backup was restored into.
fn restored(backup: &str) -> World {
    let world = World::new();
    assert_quiet(&world.run(&["store", "restore", fixture(backup).to_str().unwrap()]));
    world
}

/// Imports the sites again, with the address where they are simulated now.
fn move_sites(world: &World, export: &str) {
    let now = world.site(1, "ok").site_url;
    let now = now.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap();
    let moved = ADDRESSES.iter().fold(export.to_owned(), |text, address| text.replace(address, now));
    assert_ne!(moved, export);
    world.import_text(&moved);
}

/// How many sites an app's job would poll.
fn due(world: &World, app: &str, job: &str) -> usize {
    let now = LATER.to_string();
    let output = world.run(&["poll", app, "--name", job, "--retry", RETRY, "--now", &now, "--dry-run", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().count()
}

fn status(world: &World) -> Vec<Value> {
    let jobs = world.json(&["status", "--json", "--now", &LATER.to_string()]);
    jobs.as_array().unwrap().clone()
}

#[test]
fn a_store_of_version_1_is_read_upgraded_and_polled_from() {
    let world = unpacked(STORE_V1);
    let version = || world.database().open_tree("meta").unwrap().get("version").unwrap().unwrap().to_vec();
    assert_eq!(version(), [0, 0, 0, 1]);
    assert_eq!(world.export(), EXPORT_OF_V1.lines().collect::<Vec<_>>());
    // From now on, a program that knows only version 1 refuses it.
    assert_eq!(version(), [0, 0, 0, 3]);
    world.assert_sound();

    move_sites(&world, EXPORT_OF_V1);
    let summary = world.poll(LATER, &[]);
    assert_eq!((&summary["polled"], &summary["ok"]), (&json!(11), &json!(11)), "{summary}");
    world.assert_sound();
}

#[test]
fn a_store_of_version_2_exports_what_it_held() {
    let world = unpacked(STORE_V2);
    assert_eq!(world.export(), EXPORT_OF_V2.lines().collect::<Vec<_>>());
    world.assert_sound();
    let version = world.database().open_tree("meta").unwrap().get("version").unwrap().unwrap();
    assert_eq!(version.to_vec(), [0, 0, 0, 3]);
}

#[test]
fn states_and_last_runs_of_a_former_store_are_shown() {
    let jobs = status(&unpacked(STORE_V2));
    let states = |at: usize| {
        let job = &jobs[at];
        let name = format!("{} {}", job["appId"].as_str().unwrap(), job["jobName"].as_str().unwrap());
        let counts = ["total", "new", "healthy", "givenUp", "disabled"].map(|key| job[key].as_u64().unwrap());
        (name, counts, job["levels"].clone())
    };
    let expected = [
        ("app:org.example.myapp batched", [14, 1, 7, 0, 2], json!([4, 0])),
        ("app:org.example.myapp default", [14, 1, 7, 1, 2], json!([2, 1])),
        ("app:org.example.second default", [7, 0, 7, 0, 0], json!([0, 0])),
        ("app:org.example.third default", [12, 0, 12, 0, 0], json!([0, 0])),
    ];
    assert_eq!(jobs.len(), expected.len(), "{jobs:?}");
    for (at, (name, counts, levels)) in expected.into_iter().enumerate() {
        assert_eq!(states(at), (name.to_owned(), counts, levels));
        assert_eq!(jobs[at]["retry"], RETRY);
    }
    assert_eq!((&jobs[0]["lastRun"]["batch"], &jobs[0]["lastRun"]["failures"]), (&json!("1/2"), &json!({"http": 2})));
    assert_eq!((&jobs[1]["lastRun"]["givenUp"], &jobs[1]["lastRun"]["deferred"]), (&json!(1), &json!(1)));
    assert_eq!((&jobs[3]["lastRun"]["outage"], &jobs[3]["lastRun"]["polled"]), (&json!(true), &json!(12)));
}

#[test]
fn a_store_of_version_2_is_polled_from() {
    let world = unpacked(STORE_V2);
    // All but two that are disabled and one that is given up.
    assert_eq!((due(&world, APP, "default"), due(&world, APP, "batched")), (11, 12));
    // The job that an import made known lacks a status for all sites but one.
    assert_eq!(due(&world, APP, "imported"), 12);

    move_sites(&world, EXPORT_OF_V2);
    // The one that was given up is revived, since its siteUrl has changed.
    let summary = world.poll(LATER, &["--retry", RETRY]);
    let counts = ["polled", "ok", "failed", "deferred"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [12, 10, 1, 1], "{summary}");
    assert_eq!(world.poll(LATER, &["--retry", RETRY])["polled"], 0);
    // An entry of the due index is of version 2, which has a longer hash of the host, once its site was polled.
    let due = world.database().open_tree("due").unwrap().iter().values().map(|value| value.unwrap()[0]);
    let versions: Vec<u8> = due.collect();
    let count = |version| versions.iter().filter(|found| **found == version).collect::<Vec<_>>().len();
    assert_eq!((count(1), count(2)), (36, 12));
    let second = world.run(&["poll", "org.example.second", "--json", "--now", &LATER.to_string()]);
    let summary: Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!((code(&second), &summary["ok"]), (0, &json!(7)), "{second:?}");
    world.assert_sound();
}

#[test]
fn results_that_a_former_build_kept_are_shown() {
    let world = unpacked(STORE_V2);
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let output = world.run(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let latest = lines(&["results", "--latest", "--json"]);
    let of_class = |class: &str| latest.iter().filter(|result| result["class"] == class).count();
    assert_eq!((latest.len(), of_class("ok"), of_class("api")), (10, 9, 1), "{latest:?}");
    let site = world.site(1, "ok").cxn_id;
    let all = lines(&["results", &site, "--json"]);
    let times: Vec<_> = all.iter().map(|result| (result["at"].as_i64().unwrap() - MIDNIGHT) / 3_600).collect();
    assert_eq!(times, [0, 1, 25, 49]);
    let first = lines(&["results", &site, "--at", &MIDNIGHT.to_string()]);
    assert_eq!(first[0]["value"]["System.get"]["values"][0]["version"], "5.75.0");
}

#[test]
fn a_backup_of_a_former_build_is_restored_into_a_fresh_store() {
    let world = restored(BACKUP_V1);
    assert_eq!(world.export(), EXPORT_OF_V2.lines().collect::<Vec<_>>());
    assert_eq!(status(&world), status(&unpacked(STORE_V2)));
    world.assert_sound();
    assert_eq!(due(&world, APP, "default"), 11);
}

#[test]
fn the_newest_backup_in_a_former_store_is_restored() {
    let world = unpacked(STORE_V2);
    assert_quiet(&world.run(&["remove", "--app", APP, "--all", "--yes"]));
    assert_eq!(world.export().len(), 19);
    assert_quiet(&world.run(&["store", "restore", "--yes"]));
    assert_eq!(world.export(), EXPORT_OF_V2.lines().collect::<Vec<_>>());
    world.assert_sound();
}
