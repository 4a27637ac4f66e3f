//! Records that cannot be read: commands skip them, report them, and do everything else.

use std::fs;
use std::process::Output;

use civisite::Site;
use serde_json::{Value, json};
use sled::Db;

use crate::listeners::configure;
use crate::testkit::{APP, MIDNIGHT, World, assert_no_secret, code, json_lines, stderr, stdout};

/// Replaces the value of an entry.
fn replace(world: &World, tree: &str, key: &[u8], value: &[u8]) {
    let db = world.database();
    db.open_tree(tree).unwrap().insert(key, value).unwrap().expect("the entry is there");
}

/// The key of a site's connection.
fn key_of(db: &Db, site: &Site) -> Vec<u8> {
    let mut entries = db.open_tree("cxn").unwrap().iter().map(Result::unwrap);
    let id = site.cxn_id.as_bytes();
    let (key, _) = entries.find(|(_, value)| value.windows(id.len()).any(|part| part == id)).unwrap();
    key.to_vec()
}

/// The key of the entry of a site's connection in a tree.
fn key_in(world: &World, tree: &str, site: &Site) -> Vec<u8> {
    let db = world.database();
    let locator = &key_of(&db, site)[4..];
    let mut keys = db.open_tree(tree).unwrap().iter().keys().map(Result::unwrap);
    keys.find(|key| key.ends_with(locator)).unwrap().to_vec()
}

/// Makes the perm of a site's connection as large as a former build allowed, so that it cannot be read.
fn enlarge_perm(world: &World, site: &Site) {
    let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
    line["perm"] = json!({"of": site.number});
    world.import_text(&line.to_string());
    let db = world.database();
    let meta = db.open_tree("meta").unwrap();
    let perm = json!({"of": site.number}).to_string();
    let (key, value) = meta
        .scan_prefix(b"S")
        .map(Result::unwrap)
        .find(|(_, value)| value.ends_with(perm.as_bytes()))
        .expect("the perm is stored");
    // Version, appUrl, then the perm with a length of four bytes.
    let mut large = value[..value.len() - perm.len() - 1].to_vec();
    let length = 17_u32 << 20;
    large.push(252);
    large.extend(length.to_le_bytes());
    large.resize(large.len() + usize::try_from(length).unwrap(), b' ');
    let (first, rest) = large.split_at(4096);
    meta.insert(&key, first).unwrap();
    for (piece, bytes) in (0_u32..).zip(rest.chunks(4096)) {
        meta.insert([b"T", &key[1..], &piece.to_be_bytes()].concat(), bytes).unwrap();
    }
}

/// A kind of damage to the first of four sites: what it does, and what the commands still do.
struct Damage {
    name: &'static str,
    make: fn(&World, &Site),
    /// Whether the report names the connection.
    is_named: bool,
    /// How many connections an export has.
    exported: usize,
    /// How many are polled a day later.
    polled: u64,
    /// Whether `explain` has the connection.
    is_explained: bool,
    /// How many connections there are after a repair.
    repaired: usize,
}

const DAMAGE: [Damage; 7] = [
    Damage {
        name: "perm",
        make: enlarge_perm,
        is_named: true,
        exported: 3,
        polled: 3,
        is_explained: false,
        repaired: 4,
    },
    Damage {
        name: "connection",
        make: |world, site| replace(world, "cxn", &key_in(world, "cxn", site), &[9, 1, 2]),
        is_named: false,
        exported: 3,
        polled: 3,
        is_explained: false,
        repaired: 3,
    },
    Damage {
        name: "end of a connection",
        make: |world, site| {
            let key = key_in(world, "cxn", site);
            let value = world.database().open_tree("cxn").unwrap().get(&key).unwrap().unwrap();
            replace(world, "cxn", &key, &value[..value.len() - 1]);
        },
        is_named: true,
        exported: 3,
        polled: 3,
        is_explained: false,
        repaired: 3,
    },
    Damage {
        name: "id",
        make: |world, site| replace(world, "id", site.cxn_id.as_bytes(), &[9]),
        is_named: true,
        exported: 4,
        polled: 4,
        is_explained: true,
        repaired: 4,
    },
    Damage {
        name: "status",
        make: |world, site| replace(world, "status", &key_in(world, "status", site), &[9]),
        is_named: true,
        exported: 4,
        polled: 3,
        is_explained: false,
        repaired: 4,
    },
    Damage {
        name: "due",
        make: |world, site| replace(world, "due", &key_in(world, "due", site), &[9]),
        is_named: true,
        exported: 4,
        polled: 3,
        is_explained: true,
        repaired: 4,
    },
    Damage {
        name: "another job",
        make: |world, _| {
            let db = world.database();
            let meta = db.open_tree("meta").unwrap();
            let entries = meta.scan_prefix(b"J").map(Result::unwrap);
            let (key, _) = entries.last().unwrap();
            meta.insert(key, &[9]).unwrap();
        },
        is_named: false,
        exported: 4,
        polled: 4,
        is_explained: true,
        repaired: 4,
    },
];

/// Four healthy sites that were polled by two jobs, and damage to the first.
fn damaged(damage: &Damage) -> (World, Vec<Site>) {
    let world = World::new();
    let sites = world.sites(["ok"; 4]);
    world.import(&sites);
    let keep = "keep = true\ncalls = [{ api = \"System.get\" }]";
    configure(&world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\n{keep}\n"));
    world.poll(MIDNIGHT, &[]);
    world.poll(MIDNIGHT, &["--name", "other"]);
    (damage.make)(&world, &sites[0]);
    (world, sites)
}

/// Runs a command that skips something; returns its output.
fn skipping(world: &World, arguments: &[&str], damage: &Damage, site: &Site) -> String {
    let output = world.run(arguments);
    let message = stderr(&output);
    assert_eq!(code(&output), 74, "{}: {arguments:?}: {message}", damage.name);
    assert_eq!(message.matches("skipped").count(), 1, "{}: {arguments:?}: {message}", damage.name);
    let name = if damage.is_named { &*site.cxn_id } else { "key " };
    assert!(message.contains(name) && message.contains("--repair"), "{}: {arguments:?}: {message}", damage.name);
    assert_no_secret(site, &message);
    stdout(&output)
}

/// Runs a command that reads the damaged record only for some kinds of damage.
fn perhaps_skipping(world: &World, arguments: &[&str]) -> Output {
    let output = world.run(arguments);
    assert!(matches!(code(&output), 0 | 74), "{arguments:?}: {output:?}");
    output
}

#[test]
fn every_command_skips_and_reports_what_it_cannot_read() {
    for damage in &DAMAGE {
        let (world, sites) = damaged(damage);
        let name = damage.name;
        let export = stdout(&perhaps_skipping(&world, &["export"]));
        assert_eq!(export.lines().count(), damage.exported, "{name}");
        let list = stdout(&perhaps_skipping(&world, &["get", "--json"]));
        assert_eq!(list.lines().count(), damage.exported, "{name}");
        let status: Value = serde_json::from_slice(&perhaps_skipping(&world, &["status", "--json"]).stdout).unwrap();
        let jobs = if name == "another job" { 1 } else { 2 };
        assert_eq!(status.as_array().unwrap().len(), jobs, "{name}: {status}");
        for site in &sites[1..] {
            perhaps_skipping(&world, &["explain", &site.cxn_id]);
        }
        let explained = perhaps_skipping(&world, &["explain", &sites[0].cxn_id]);
        assert_eq!(!explained.stdout.is_empty(), damage.is_explained, "{name}: {explained:?}");
        if !damage.is_explained {
            skipping(&world, &["explain", &sites[0].cxn_id], damage, &sites[0]);
        }
        // A changed line of each connection, so that an import reads what is stored.
        let lines = sites.iter().map(|site| site.jsonl().replace("/site/", "/./site/"));
        fs::write(world.path("again"), lines.collect::<Vec<_>>().join("\n")).unwrap();
        perhaps_skipping(&world, &["import", "again"]);
        let now = (MIDNIGHT + 86_400).to_string();
        let polled = perhaps_skipping(&world, &["poll", APP, "--json", "--now", &now]);
        let polled: Value = serde_json::from_slice(&polled.stdout).unwrap();
        assert_eq!((&polled["polled"], &polled["failed"]), (&json!(damage.polled), &json!(0)), "{name}: {polled}");
    }
}

#[test]
fn report_names_the_connection_once() {
    for (damage, command) in [
        (0, &["export"][..]),
        (0, &["get"]),
        (0, &["poll", APP]),
        (1, &["export"]),
        (2, &["export"]),
        (3, &["explain", "SITE"]),
        (4, &["export"]),
        (5, &["status"]),
        (6, &["status"]),
    ] {
        let (world, sites) = damaged(&DAMAGE[damage]);
        let command: Vec<_> = command.iter().map(|word| word.replace("SITE", &sites[0].cxn_id)).collect();
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        skipping(&world, &command, &DAMAGE[damage], &sites[0]);
        skipping(&world, &[&command[..], &["-q"]].concat(), &DAMAGE[damage], &sites[0]);
    }
}

#[test]
fn removal_takes_what_cannot_be_read() {
    for damage in &DAMAGE[..6] {
        let (world, sites) = damaged(damage);
        let removed = world.run(&["remove", &sites[0].cxn_id, "--all", "--yes", "--json"]);
        assert_eq!(code(&removed), 0, "{}: {removed:?}", damage.name);
        assert_eq!(stdout(&removed), "{\"matched\":1,\"changed\":1}\n", "{}", damage.name);
        assert_eq!(world.text(&["export"]).lines().count(), 3, "{}", damage.name);
        // The perm is no part of the connection.
        if damage.name != "perm" {
            world.assert_sound();
        }
    }
}

#[test]
fn repair_sets_aside_what_cannot_be_read() {
    for damage in &DAMAGE {
        let (world, sites) = damaged(damage);
        let name = damage.name;
        assert_eq!(code(&world.run(&["store", "check"])), 74, "{name}");
        let repaired = world.run(&["store", "check", "--repair"]);
        assert_eq!((code(&repaired), stderr(&repaired).as_str()), (0, ""), "{name}: {repaired:?}");
        world.assert_sound();
        assert_eq!(world.text(&["export"]).lines().count(), damage.repaired, "{name}");
        let quarantine = fs::read_to_string(world.store().join("kept/set-aside.jsonl")).unwrap_or_default();
        // What the id and due trees hold is derived from the others.
        assert_eq!(!quarantine.is_empty(), !matches!(name, "id" | "due"), "{name}");
        world.poll(MIDNIGHT + 86_400, &[]);
        world.import(&sites);
        assert_eq!(world.text(&["export"]).lines().count(), 4, "{name}");
    }
}

#[test]
fn repair_of_what_connections_share_keeps_the_connections() {
    let (world, sites) = damaged(&DAMAGE[0]);
    let exported = |world: &World| {
        let lines = json_lines(&world.text(&["export"]));
        lines.into_iter().find(|line| line["cxnId"] == *sites[0].cxn_id).unwrap()
    };
    world.run(&["store", "check", "--repair"]);
    let imported: Value = serde_json::from_str(&sites[0].jsonl()).unwrap();
    let line = exported(&world);
    assert_eq!((&line["appUrl"], line.get("perm")), (&imported["appUrl"], None));
    let number = {
        let db = world.database();
        let meta = db.open_tree("meta").unwrap();
        let (key, _) = meta.scan_prefix(b"S").map(Result::unwrap).last().unwrap();
        meta.insert(&key, &[9]).unwrap();
        key
    };
    world.run(&["store", "check", "--repair"]);
    assert_eq!(exported(&world)["appUrl"], "https://unknown.invalid/", "{number:?}");
    world.import(&sites);
    assert_eq!(exported(&world)["appUrl"], imported["appUrl"]);
    world.assert_sound();
}

#[test]
fn counters_that_cannot_be_read_stop_no_reader_and_are_counted_again() {
    let world = World::with(["ok"; 4]);
    world.poll(MIDNIGHT, &[]);
    replace(&world, "meta", b"counters", &[9]);
    let output = world.run(&["export"]);
    assert_eq!((code(&output), stdout(&output).lines().count()), (74, 4), "{output:?}");
    // A new connection gets no number, which must not go unnoticed.
    fs::write(world.path("new"), world.site(9, "ok").jsonl()).unwrap();
    assert_eq!(code(&world.run(&["import", "new"])), 74);
    // A backup does not hold the counters, so it lacks nothing.
    let backup = world.run(&["store", "backup", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&backup.stdout).unwrap()["lacks"], 0, "{backup:?}");
    assert_eq!(code(&world.run(&["store", "check"])), 74);
    assert_eq!(code(&world.run(&["store", "check", "--repair"])), 0);
    world.assert_sound();
    world.import(&[world.site(9, "ok")]);
    assert_eq!(world.text(&["export"]).lines().count(), 5);
}

#[test]
fn backup_that_lacks_records_takes_no_other_ones_place() {
    let world = World::with(["ok"; 4]);
    world.poll(MIDNIGHT, &[]);
    let backup = |expected: i32| {
        let output = world.run(&["store", "backup", "--json"]);
        assert_eq!(code(&output), expected, "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    world.append_config("[backups]\nkeep = 1\n");
    let whole = backup(0);
    assert_eq!(whole["lacks"], 0);
    enlarge_perm(&world, &world.site(0, "ok"));
    for _ in 0..2 {
        let partial = backup(74);
        assert!(partial["path"].as_str().unwrap().ends_with("/backups/partial.gz"), "{partial}");
        assert_eq!((&partial["cxns"], &partial["lacks"]), (&json!(3), &json!(1)));
    }
    // A compaction would remove what cannot be read.
    let compact = world.refused(74, &["store", "compact"]);
    assert!(compact.contains("nothing was compacted") && compact.contains("cxn:"), "{compact}");
    // The newest backup is still the whole one.
    let restored = world.json(&["store", "restore", "--yes", "--json"]);
    assert_eq!((&restored["path"], &restored["cxns"]), (&whole["path"], &json!(4)));
    let partial = world.store().join("backups/partial.gz");
    let restored = world.run(&["store", "restore", "--yes", partial.to_str().unwrap()]);
    assert_eq!(code(&restored), 0);
    assert!(stderr(&restored).contains("the backup lacks 1 record"), "{restored:?}");
    assert_eq!(world.text(&["export"]).lines().count(), 3);
    world.assert_sound();
    backup(0);
    assert!(!partial.exists(), "a whole backup replaces it");
}

#[test]
fn runs_write_a_partial_backup_once_a_day() {
    let world = World::with(["ok"; 4]);
    enlarge_perm(&world, &world.site(0, "ok"));
    let partial = world.store().join("backups/partial.gz");
    let mut written = Vec::new();
    for day in 0..2 {
        let now = (MIDNIGHT + day * 86_400).to_string();
        assert_eq!(code(&world.run(&["poll", APP, "--now", &now])), 74);
        written.push(fs::metadata(&partial).unwrap().modified().unwrap());
    }
    // `--now` is not the time of backups.
    assert_eq!(written[0], written[1]);
}
