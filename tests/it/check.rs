//! `store check` finds what does not agree, and `--repair` repairs what can be derived.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use sled::{Db, Tree};

use crate::testkit::{APP, MIDNIGHT, World, code, until};

/// Opens a tree of the database.
fn tree(db: &Db, name: &str) -> Tree {
    db.open_tree(name).unwrap()
}

/// Removes the first entry with a prefix from a tree; returns its key and value.
fn lose(db: &Db, name: &str, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let tree = tree(db, name);
    let (key, value) = tree.scan_prefix(prefix).next().unwrap().unwrap();
    tree.remove(&key).unwrap();
    (key.to_vec(), value.to_vec())
}

/// Makes the first entry with a prefix unreadable.
fn garble(db: &Db, name: &str, prefix: &[u8]) {
    let (key, _) = lose(db, name, prefix);
    tree(db, name).insert(key, &[99, 1, 2, 3]).unwrap();
}

/// Stores the connection of number 1 again, under another number.
fn double(db: &Db, number: u8) {
    let cxns = tree(db, "cxn");
    let (mut key, value) = cxns.iter().find(|entry| entry.as_ref().unwrap().0[13] == 1).unwrap().unwrap();
    key[13] = number;
    cxns.insert(key, value).unwrap();
}

/// The damage, the fault that a check finds, and what a repair keeps.
///
/// That is how many of four connections, and how many of their statuses.
type Damage = (fn(&Db), &'static str, usize, usize);

const DAMAGE: [Damage; 18] = [
    (|db| drop(lose(db, "id", b"")), "is not found by its cxnId", 4, 4),
    (|db| garble(db, "id", b""), "the number of cxn:", 4, 4),
    (
        |db| drop(tree(db, "id").insert("cxn:unknown", tree(db, "id").first().unwrap().unwrap().1)),
        "leads to another",
        4,
        4,
    ),
    (|db| drop(lose(db, "cxn", b"")), "leads to no connection", 3, 3),
    (|db| garble(db, "cxn", b""), "a connection cannot be read", 3, 3),
    (|db| drop(tree(db, "cxn").insert("short", "value")), "a connection has no valid key", 4, 4),
    (|db| double(db, 0), "is stored twice", 4, 4),
    (|db| double(db, 200), "was never assigned", 4, 3),
    (|db| drop(lose(db, "status", b"")), "lacks a poll status", 4, 3),
    (|db| garble(db, "status", b""), "a poll status of cxn:", 4, 3),
    (|db| drop(tree(db, "status").insert("junk", "value")), "a poll status has no valid key", 4, 4),
    (|db| drop(tree(db, "status").insert([0; 14], "value")), "belongs to no connection", 4, 4),
    (|db| drop(tree(db, "status").insert([9; 14], "value")), "belongs to no job", 4, 4),
    (|db| drop(lose(db, "due", b"")), "is not in the index of what is due", 4, 4),
    (|db| garble(db, "due", b""), "is not in the index of what is due", 4, 4),
    (|db| drop(tree(db, "due").insert("junk", "value")), "an entry of the index has no valid key", 4, 4),
    (|db| drop(lose(db, "meta", b"counters")), "a number was not counted", 4, 4),
    (|db| drop(lose(db, "meta", b"a")), "has no number", 4, 4),
];

/// Runs `store check`, which must end with an exit code; returns its report.
fn check(world: &World, arguments: &[&str], expected: i32) -> Value {
    let output = world.run(&[&["store", "check", "--json"], arguments].concat());
    assert_eq!(code(&output), expected, "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_disagreement_is_found_and_repaired() {
    for (damage, fault, cxns, statuses) in DAMAGE {
        let world = World::with(["ok"; 4]);
        world.poll(MIDNIGHT, &[]);
        let before = world.export();
        damage(&world.database());

        let found = check(&world, &[], 74);
        let faults = |check: &Value| check["firstFaults"].to_string();
        assert!(faults(&found).contains(fault), "{fault}: {found}");
        assert_eq!(found["mended"], 0);
        // A check changes nothing.
        assert_eq!(check(&world, &[], 74)["faults"], found["faults"], "{fault}");

        let repaired = check(&world, &["--repair"], 0);
        assert_eq!(repaired["faults"], repaired["mended"], "{fault}: {repaired}");
        assert!(faults(&repaired).contains("(repaired: "), "{fault}: {repaired}");
        let sound = check(&world, &[], 0);
        assert_eq!((&sound["faults"], &sound["counts"]["cxns"]), (&0.into(), &cxns.into()), "{fault}: {sound}");
        let after = world.export();
        assert_eq!(after.iter().filter(|line| before.contains(line)).count(), statuses, "{fault}: {after:?}");
        // A connection that lost its status is polled like a new one.
        assert_eq!(world.poll(MIDNIGHT + 1, &[])["polled"], cxns - statuses, "{fault}");
    }
}

#[test]
fn lost_job_record_is_rebuilt() {
    let world = World::with(["ok"; 4]);
    world.poll(MIDNIGHT, &[]);
    lose(&world.database(), "meta", b"J");
    assert!(check(&world, &[], 74)["firstFaults"].to_string().contains("job default cannot be read"));
    check(&world, &["--repair"], 0);
    world.assert_sound();
    assert_eq!(world.poll(MIDNIGHT + 1, &[])["polled"], 0);
}

#[test]
fn fault_that_needs_a_backup_is_not_repaired() {
    let world = World::with(["ok"; 4]);
    let before = world.export();
    assert_eq!(code(&world.run(&["store", "backup"])), 0);
    lose(&world.database(), "meta", b"S");
    let check = check(&world, &["--repair"], 74);
    assert!(check["firstFaults"].to_string().contains("only a backup brings it back"), "{check}");
    assert_eq!(code(&world.run(&["store", "restore", "--yes"])), 0);
    assert_eq!(world.export(), before);
}

#[test]
fn repair_quarantines_what_it_removes() {
    let world = World::with(["ok"; 4]);
    garble(&world.database(), "cxn", b"");
    check(&world, &["--repair"], 0);
    let quarantined = fs::read_to_string(world.store().join("kept/set-aside.jsonl")).unwrap();
    let line: Value = serde_json::from_str(quarantined.lines().next().unwrap()).unwrap();
    assert_eq!((&line["tree"], &line["value"]), (&"Cxn".into(), &"63010203".into()));
}

#[test]
fn repair_during_a_run_is_harmless() {
    let world = World::with(["slow-300"; 40]);
    let mut run = world.start(&["poll", APP, "--per-host", "4"]);
    until("the first site is polled", || world.server.total() > 0);
    let mut during = 0;
    let status = loop {
        assert_eq!(check(&world, &["--repair"], 0)["faults"], 0);
        match run.try_wait().unwrap() {
            Some(status) => break status,
            None => during += 1,
        }
    };
    assert!(status.success());
    assert!(during > 0, "no check ended before the run");
    world.assert_sound();
}

#[test]
fn damage_of_history_is_found_and_kept() {
    let world = World::with(["ok", "status-500"]);
    for hour in 0..3 {
        world.poll(MIDNIGHT + hour * 3600, &["--retry", "1 hour (x1); 1 day (x1)"]);
    }
    let lines = || world.text(&["export", "--history"]).lines().map(str::to_owned).collect::<Vec<_>>();
    let check = |more: &[&str]| {
        let output = world.run(&[&["store", "check", "--json"], more].concat());
        (code(&output), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let before = lines();
    let month = world.store().join("history/2026-01.log");
    let good = fs::read(&month).unwrap();
    // What an interrupted append leaves is no fault, and the next one removes it.
    fs::write(&month, [&good[..], &good[..15]].concat()).unwrap();
    assert_eq!(check(&[]).0, 0);
    world.import(&[world.site(7, "ok")]);
    world.poll(MIDNIGHT + 4 * 3600, &[]);
    assert_eq!(check(&[]).0, 0);
    assert!(fs::read(&month).unwrap().starts_with(&good) && lines().len() == before.len() + 3);

    fs::write(&month, [&good, &good[..15], b"damage", &good].concat()).unwrap();
    fs::set_permissions(&month, fs::Permissions::from_mode(0o644)).unwrap();
    let (exit_code, found) = check(&[]);
    let faults = found["firstFaults"].to_string();
    assert_eq!((exit_code, &found["faults"]), (74, &2.into()), "{found}");
    assert!(faults.contains("bytes of history/2026-01.log are damaged") && faults.contains("mode 0644"), "{faults}");
    assert_eq!(check(&["--repair"]).1["mended"], 2);
    assert_eq!(check(&[]).0, 0);
    let repaired = [&good[..], &[0xFE; 21], &good].concat();
    assert!(fs::read(&month).unwrap() == repaired, "a frame is lost, or is at another place");
    let kept = fs::read(world.store().join("kept/2026-01.log.damaged")).unwrap();
    assert!(kept.windows(6).any(|bytes| bytes == b"damage"), "{kept:?}");

    // The first frame, with a version that this program does not know.
    let length = 12 + usize::try_from(u32::from_le_bytes(good[4..8].try_into().unwrap())).unwrap();
    let mut newer = good[..length].to_vec();
    newer[12] = 99;
    let sum = crc32fast::hash(&newer[12..]).to_le_bytes();
    newer[8..12].copy_from_slice(&sum);
    fs::write(&month, [&repaired[..], &newer].concat()).unwrap();
    let (exit_code, found) = check(&["--repair"]);
    let what = "1 entry of history/2026-01.log cannot be read: written by another version";
    assert_eq!((exit_code, &found["firstFaults"][0]), (74, &what.into()), "{found}");

    fs::remove_file(&month).unwrap();
    fs::create_dir(&month).unwrap();
    let refused = world.refused(74, &["export", "--history"]);
    assert!(refused.contains("hint: repair it with `cxnpoll store check --repair`, which moves"), "{refused}");
    assert_eq!(check(&["--repair"]).0, 0);
    assert_eq!(check(&[]).0, 0);
    lines();
    assert!(world.store().join("kept/2026-01.log.replaced").is_dir() && month.is_file());
}
