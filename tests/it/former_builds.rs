//! Stores and backups that former builds wrote are read, checked and polled from.
//!
//! `store-v1.tar.gz` is of a build that wrote version 1. `fixtures/make-store.sh` made the other fixtures and lists what
//! is in them. The encrypted backup is of the store of version 6, after a newer build opened it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::testkit::library::{BACKUP_KEY, register_line};
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, json_lines};

const STORE_V1: &str = "store-v1.tar.gz";
const EXPORT_OF_V1: &str = include_str!("../../fixtures/store-v1.jsonl");

/// What one build wrote.
struct Fixture {
    store: &'static str,
    backup: &'static str,
    export: &'static str,
    /// How many entries of the due index have a hash of 32 bits of their host.
    short_hashes: usize,
    /// The cause of the third app's outage, and how it is shown; `None` if it was not stored.
    cause: Option<(&'static str, &'static str)>,
}

const FIXTURES: [Fixture; 6] = [
    Fixture {
        store: "store-v2.tar.gz",
        backup: "backup-of-store-v2.jsonl.gz",
        export: include_str!("../../fixtures/store-v2.jsonl"),
        short_hashes: 48,
        cause: None,
    },
    Fixture {
        store: "store-v3.tar.gz",
        backup: "backup-of-store-v3.jsonl.gz",
        export: include_str!("../../fixtures/store-v3.jsonl"),
        short_hashes: 0,
        cause: None,
    },
    Fixture {
        store: "store-v4.tar.gz",
        backup: "backup-of-store-v4.jsonl.gz",
        export: include_str!("../../fixtures/store-v4.jsonl"),
        short_hashes: 0,
        cause: Some(("network", ": no site could be reached")),
    },
    Fixture {
        store: "store-v5.tar.gz",
        backup: "backup-of-store-v5.jsonl.gz",
        export: include_str!("../../fixtures/store-v5.jsonl"),
        short_hashes: 0,
        cause: Some(("network", ": no site could be reached")),
    },
    Fixture {
        store: "store-v6.tar.gz",
        backup: "backup-of-store-v6.jsonl.gz",
        export: include_str!("../../fixtures/store-v6.jsonl"),
        short_hashes: 0,
        cause: Some(("network", ": no site could be reached")),
    },
    Fixture {
        store: "store-v7.tar.gz",
        backup: "backup-of-store-v7.jsonl.gz",
        export: include_str!("../../fixtures/store-v7.jsonl"),
        short_hashes: 0,
        cause: Some(("network", ": no site could be reached")),
    },
];

/// The addresses of the simulated sites when the fixtures were made.
const ADDRESSES: [&str; 2] = ["127.0.0.1:18471", "127.0.0.1:18472"];
/// After the last poll in any fixture, when all sites are due that have not been given up.
const LATER: i64 = MIDNIGHT + 30 * 86_400;
/// The expression that the jobs of [`FIXTURES`] ran with.
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
    assert_quiet(&world.run(&["store", "restore", "--check", fixture(backup).to_str().unwrap()]));
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

/// The version of the store, and its key for hosts.
fn version_and_key(world: &World) -> (Vec<u8>, Option<Vec<u8>>) {
    let meta = world.database().open_tree("meta").unwrap();
    let value = |key: &str| meta.get(key).unwrap().map(|bytes| bytes.to_vec());
    (value("version").unwrap(), value("host-key"))
}

/// How many sites an app's job would poll.
fn due(world: &World, app: &str, job: &str) -> usize {
    let now = LATER.to_string();
    let output = world.run(&["poll", app, "--name", job, "--retry", RETRY, "--now", &now, "--dry-run", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().count()
}

/// Returns the status of the jobs, without what history has: that of a restored store begins later.
fn status(world: &World) -> Vec<Value> {
    let mut jobs = world.json(&["status", "--json", "--now", &LATER.to_string()]).as_array().unwrap().clone();
    for job in &mut jobs {
        job["changes"] = Value::Null;
    }
    jobs
}

#[test]
fn a_store_of_version_1_is_read_upgraded_and_polled_from() {
    let world = unpacked(STORE_V1);
    assert_eq!(version_and_key(&world), (vec![0, 0, 0, 1], None));
    assert_eq!(world.export(), EXPORT_OF_V1.lines().collect::<Vec<_>>());
    // From now on, a program that knows only version 1 refuses it.
    assert_eq!(version_and_key(&world).0, [0, 0, 0, 8]);
    world.assert_sound();

    move_sites(&world, EXPORT_OF_V1);
    let summary = world.poll(LATER, &[]);
    assert_eq!((&summary["polled"], &summary["ok"]), (&json!(11), &json!(11)), "{summary}");
    world.assert_sound();
}

#[test]
fn a_former_store_exports_what_it_held() {
    for fixture in FIXTURES {
        let world = unpacked(fixture.store);
        let (_, former_key) = version_and_key(&world);
        assert_eq!(world.export(), fixture.export.lines().collect::<Vec<_>>());
        world.assert_sound();
        let (version, key) = version_and_key(&world);
        assert_eq!(version, [0, 0, 0, 8]);
        // The hashes that are stored were made with the key.
        assert!(key.is_some() && former_key.is_none_or(|former| key == Some(former)), "{}", fixture.store);
    }
}

#[test]
fn states_and_last_runs_of_a_former_store_are_shown() {
    for fixture in FIXTURES {
        let jobs = status(&unpacked(fixture.store));
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
            assert_eq!(states(at), (name.to_owned(), counts, levels), "{}", fixture.store);
            assert_eq!(jobs[at]["retry"], RETRY);
        }
        let figures = |at: usize, keys: [&str; 2]| keys.map(|key| jobs[at]["lastRun"][key].clone());
        assert_eq!(figures(0, ["batch", "failures"]), [json!("1/2"), json!({"http": 2})]);
        assert_eq!(figures(1, ["givenUp", "deferred"]), [json!(1), json!(1)]);
        assert_eq!(figures(3, ["outage", "polled"]), [json!(true), json!(12)]);
        assert_eq!(figures(3, ["outageCause", "skipped"]), [json!(fixture.cause.map(|(name, _)| name)), json!(0)]);
        assert_eq!(jobs[3]["lastRun"]["skippedHosts"], json!([]));
    }
}

#[test]
fn the_fault_that_a_former_run_met_is_shown() {
    for fixture in FIXTURES {
        let world = unpacked(fixture.store);
        let now = (MIDNIGHT + 3 * 3600).to_string();
        let text = world.text(&["status", "org.example.third", "--now", &now]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let cause = fixture.cause.map_or("", |(_, shown)| shown);
        let shown = format!("It met a fault on our side{cause}. Failures that this caused were not counted.");
        assert!(text.contains(&shown) && !text.contains("So did all runs"), "{text}");
        let explained = |number| world.text(&["explain", &world.site(number, "ok").cxn_id, "--now", &now]);
        let shown = format!("2026-01-01 02:00:00Z (1 h ago), met a fault on our side{cause}. It left sites due.");
        assert!(explained(41).contains(&shown), "{}", explained(41));
        assert!(!explained(1).contains("our side"));
    }
}

#[test]
fn a_site_registers_with_a_former_store() {
    for fixture in FIXTURES {
        let world = unpacked(fixture.store);
        let before = world.export().len();
        let line = world.site(900, "ok").jsonl();
        assert_eq!([(); 2].map(|()| register_line(&world.store(), &line)), ["Done", "Done"], "{}", fixture.store);
        assert_eq!((world.export().len(), due(&world, APP, "default")), (before + 1, 12));
        world.assert_sound();
    }
}

#[test]
fn a_former_store_is_polled_from() {
    for fixture in FIXTURES {
        let world = unpacked(fixture.store);
        // All but two that are disabled and one that is given up.
        assert_eq!((due(&world, APP, "default"), due(&world, APP, "batched")), (11, 12));
        // The job that an import made known lacks a status for all sites but one.
        assert_eq!(due(&world, APP, "imported"), 12);

        move_sites(&world, fixture.export);
        // The one that was given up is revived, since its siteUrl has changed.
        let summary = world.poll(LATER, &["--retry", RETRY]);
        let counts = ["polled", "ok", "failed", "deferred"].map(|key| summary[key].as_u64().unwrap());
        assert_eq!(counts, [12, 10, 1, 1], "{summary}");
        assert_eq!(world.poll(LATER, &["--retry", RETRY])["polled"], 0);
        // An entry of the due index is of version 2, which has a longer hash of the host, once its site was polled.
        let due = world.database().open_tree("due").unwrap().iter().values().map(|value| value.unwrap()[0]);
        let versions: Vec<u8> = due.collect();
        let of_version_1: usize = versions.iter().map(|version| usize::from(*version == 1)).sum();
        assert_eq!((of_version_1, versions.len()), (fixture.short_hashes.saturating_sub(12), 48));
        let second = world.run(&["poll", "org.example.second", "--json", "--now", &LATER.to_string()]);
        let summary: Value = serde_json::from_slice(&second.stdout).unwrap();
        assert_eq!((code(&second), &summary["ok"]), (0, &json!(7)), "{second:?}");
        world.assert_sound();
    }
}

#[test]
fn results_that_a_former_build_kept_are_shown() {
    for fixture in FIXTURES {
        let world = unpacked(fixture.store);
        let lines = |arguments: &[&str]| -> Vec<Value> { json_lines(&world.text(arguments)) };
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
}

#[test]
fn a_backup_of_a_former_build_is_restored_into_a_fresh_store() {
    for fixture in FIXTURES {
        let world = restored(fixture.backup);
        assert_eq!(world.export(), fixture.export.lines().collect::<Vec<_>>());
        assert_eq!(status(&world), status(&unpacked(fixture.store)));
        world.assert_sound();
        assert_eq!(due(&world, APP, "default"), 11);
    }
}

#[test]
fn the_history_of_a_former_build_is_reported() {
    for world in [unpacked("store-v7.tar.gz"), restored("backup-of-store-v7.jsonl.gz")] {
        let now = (MIDNIGHT + 52 * 3_600).to_string();
        let report = world.json(&["report", APP, "--name", "default", "--json", "--since", "52h", "--now", &now]);
        let given_up = world.site(4, "ok").cxn_id;
        let site = report["sites"].as_array().unwrap().iter().find(|site| site["cxnId"] == *given_up).unwrap();
        let incident = json!([{"from": MIDNIGHT, "to": null, "class": "http"}]);
        assert_eq!((&site["downS"], &site["incidents"]), (&json!(52 * 3_600), &incident), "{report}");
        assert_eq!(report["runs"], json!({"total": 4, "late": 2, "ownOutages": 0}), "{report}");
    }
}

/// A build that used the `age` crate wrote it.
#[test]
fn an_encrypted_backup_of_a_former_build_is_restored() {
    let world = World::new();
    let backup = fixture("encrypted-backup-of-store-v6.jsonl.gz.age");
    let restore = ["store", "restore", backup.to_str().unwrap(), "--identity", BACKUP_KEY];
    assert_quiet(&world.run(&[&restore[..], &["--check"]].concat()));
    assert_quiet(&world.run(&restore));
    let export = include_str!("../../fixtures/store-v6.jsonl");
    assert_eq!(world.export(), export.lines().collect::<Vec<_>>());
    world.assert_sound();
}

#[test]
fn the_newest_backup_in_a_former_store_is_restored() {
    for fixture in FIXTURES {
        let world = unpacked(fixture.store);
        assert_quiet(&world.run(&["remove", "--app", APP, "--all", "--yes"]));
        assert_eq!(world.export().len(), 19);
        assert_quiet(&world.run(&["store", "restore", "--yes"]));
        assert_eq!(world.export(), fixture.export.lines().collect::<Vec<_>>());
        world.assert_sound();
    }
}
