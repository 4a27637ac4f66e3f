//! A run with nothing to do, which need not open the database; and never says so wrongly.

mod common;

use std::fs::{self, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::json;

const HOUR: i64 = 3600;

/// Whether a run at a moment opens the database, which sled writes to even where nothing changes; and how many were due.
fn opens(world: &World, now: i64, more: &[&str]) -> (bool, u64) {
    let current = fs::read_to_string(world.store().join("CURRENT")).unwrap();
    let database = world.store().join(current.trim()).join("db");
    let stamp = || {
        let about = fs::metadata(&database).unwrap();
        (about.mtime(), about.mtime_nsec())
    };
    let before = stamp();
    // The clock of files ticks slowly.
    std::thread::sleep(Duration::from_millis(15));
    let due = world.poll(now, more)["due"].as_u64().unwrap();
    (stamp() != before, due)
}

#[test]
fn nothing_is_opened_where_nothing_is_due() {
    let world = World::with(["ok", "status-500", "retry-after-7200"]);
    assert_eq!(opens(&world, MIDNIGHT, &[]), (true, 3));
    assert_eq!(opens(&world, MIDNIGHT + 300, &[]), (false, 0));
    assert_eq!(opens(&world, MIDNIGHT + 300, &["--batch", "1/3"]), (false, 0));
    // Whoever looks, opens and writes it anew.
    world.json(&["status", "--json"]);
    assert_eq!(opens(&world, MIDNIGHT + 600, &[]), (false, 0));
    // Another expression, another job: those must be looked at.
    assert_eq!(opens(&world, MIDNIGHT + 600, &["--retry", "10 min (x9)"]), (true, 2));
    assert!(opens(&world, MIDNIGHT + 700, &["--name", "other"]).0);
    assert_eq!(opens(&world, MIDNIGHT + HOUR, &["--retry", "10 min (x9)"]).1, 2);
    assert_eq!(opens(&world, MIDNIGHT + HOUR + 60, &["--retry", "10 min (x9)"]), (false, 0));
    assert_eq!(opens(&world, MIDNIGHT + 2 * HOUR, &["--retry", "10 min (x9)"]).1, 3, "the deferral is over");
}

#[test]
fn an_app_that_has_connections_and_no_configuration_is_known_without_opening() {
    let world = World::with(["ok"]);
    fs::write(world.folder.path().join("cxnpoll.toml"), "allow-net = [\"127.0.0.0/8\"]\n").unwrap();
    assert_eq!(opens(&world, MIDNIGHT, &[]), (true, 1));
    assert_eq!(opens(&world, MIDNIGHT + 300, &[]), (false, 0));
    assert_eq!(code(&world.run(&["poll", "org.example.other"])), 66);
}

#[test]
fn what_stands_in_its_place_is_told() {
    let world = World::with(["ok"]);
    fs::remove_file(world.store().join("outlook")).unwrap();
    fs::create_dir(world.store().join("outlook")).unwrap();
    let output = world.run(&["poll", APP]);
    assert_eq!(code(&output), 74, "{output:?}");
    assert!(stderr(&output).contains("hint: it is a file"), "{output:?}");
}

#[test]
fn whatever_brings_work_is_seen() {
    let world = World::with(["ok", "ok"]);
    let mut now = MIDNIGHT;
    world.poll(now, &[]);
    let mut due_after = |what: &dyn Fn()| {
        now += 60;
        assert_eq!(opens(&world, now, &[]), (false, 0));
        what();
        opens(&world, now, &[]).1
    };
    assert_eq!(due_after(&|| world.import(&[world.site(7, "ok")])), 1);
    assert_eq!(due_after(&|| assert_quiet(&world.run(&["revive", &world.site(0, "ok").cxn_id]))), 1);
    assert_eq!(due_after(&|| assert_quiet(&world.run(&["disable", &world.site(1, "ok").cxn_id]))), 0);
    assert_eq!(due_after(&|| assert_quiet(&world.run(&["store", "compact"]))), 0);
    assert_eq!(due_after(&|| assert_quiet(&world.run(&["store", "backup"]))), 0);
    world.assert_sound();
}

#[test]
fn what_is_not_certain_is_looked_at() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    let (outlook, database) = (world.store().join("outlook"), world.store().join("db-1/db"));
    let good = fs::read(&outlook).unwrap();
    let quiet = || opens(&world, MIDNIGHT + 60, &[]) == (false, 0);
    assert!(quiet());
    // Another byte, a part of it, nothing.
    for bad in [[&good[..20], &[good[20] ^ 1], &good[21..]].concat(), good[..good.len() / 2].to_vec(), Vec::new()] {
        fs::write(&outlook, bad).unwrap();
        assert!(!quiet() && quiet(), "and it is written again");
    }
    fs::remove_file(&outlook).unwrap();
    assert!(!quiet() && quiet());
    // Another time, or another file of the same name, of the database.
    let file = fs::File::options().write(true).open(&database).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::now() + Duration::from_secs(9))).unwrap();
    assert!(!quiet() && quiet());
    fs::copy(&database, world.store().join("copy")).unwrap();
    fs::rename(world.store().join("copy"), &database).unwrap();
    assert!(!quiet() && quiet());
    // A clock that was wrong.
    world.poll(MIDNIGHT + 900 * HOUR, &[]);
    assert_eq!(opens(&world, MIDNIGHT + 2 * HOUR, &[]).1, 1);
    assert_eq!(code(&world.run(&["store", "check"])), 0);
    assert_eq!(world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0]["total"], json!(1));
}
