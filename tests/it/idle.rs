//! Runs with nothing to do, which need not open the database.

use std::fs::{self, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::testkit::library::register_line;
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

const HOUR: i64 = 3600;

/// Returns whether a run opens the database, and how many sites were due.
///
/// sled writes to the file whenever it opens it.
fn opens(world: &World, now: i64, more: &[&str]) -> (bool, u64) {
    let current = fs::read_to_string(world.store().join("CURRENT")).unwrap();
    let database = world.store().join(current.trim()).join("db");
    let stamp = || {
        let metadata = fs::metadata(&database).unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    };
    let before = stamp();
    // Times of files have the resolution of the kernel's tick.
    thread::sleep(Duration::from_millis(15));
    let due = world.poll(now, more)["due"].as_u64().unwrap();
    (stamp() != before, due)
}

#[test]
fn idle_run_does_not_open_the_database() {
    let world = World::with(["ok", "status-500", "retry-after-7200"]);
    assert_eq!(opens(&world, MIDNIGHT, &[]), (true, 3));
    assert_eq!(opens(&world, MIDNIGHT + 300, &[]), (false, 0));
    assert_eq!(opens(&world, MIDNIGHT + 300, &["--batch", "1/3"]), (false, 0));
    // A command that opens the database writes the file again.
    world.json(&["status", "--json"]);
    assert_eq!(opens(&world, MIDNIGHT + 600, &[]), (false, 0));
    // Another expression or job is not in the file.
    assert_eq!(opens(&world, MIDNIGHT + 600, &["--retry", "10 min (x9)"]), (true, 2));
    assert!(opens(&world, MIDNIGHT + 700, &["--name", "other"]).0);
    assert_eq!(opens(&world, MIDNIGHT + HOUR, &["--retry", "10 min (x9)"]).1, 2);
    assert_eq!(opens(&world, MIDNIGHT + HOUR + 60, &["--retry", "10 min (x9)"]), (false, 0));
    assert_eq!(opens(&world, MIDNIGHT + 2 * HOUR, &["--retry", "10 min (x9)"]).1, 3, "the deferral is over");
}

#[test]
fn a_registered_site_is_polled_by_the_next_run_of_each_job() {
    let world = World::with(["ok"]);
    for job in ["default", "nightly"] {
        assert_eq!(opens(&world, MIDNIGHT, &["--name", job]).1, 1);
        assert_eq!(opens(&world, MIDNIGHT + 60, &["--name", job]), (false, 0));
    }
    assert_eq!(register_line(&world.store(), &world.site(1, "ok").jsonl()), "Done");
    for job in ["default", "nightly"] {
        assert_eq!(opens(&world, MIDNIGHT + 120, &["--name", job]), (true, 1));
        assert_eq!(opens(&world, MIDNIGHT + 180, &["--name", job]), (false, 0));
    }
    world.assert_sound();
}

#[test]
fn unconfigured_app_with_connections_is_known_without_opening() {
    let world = World::with(["ok"]);
    world.set_config("allow-net = [\"127.0.0.0/8\"]\n");
    assert_eq!(opens(&world, MIDNIGHT, &[]), (true, 1));
    assert_eq!(opens(&world, MIDNIGHT + 300, &[]), (false, 0));
    assert_eq!(code(&world.run(&["poll", "org.example.other"])), 66);
}

#[test]
fn directory_in_place_of_the_file_is_an_error() {
    let world = World::with(["ok"]);
    fs::remove_file(world.store().join("outlook")).unwrap();
    fs::create_dir(world.store().join("outlook")).unwrap();
    let output = world.run(&["poll", APP]);
    assert_eq!(code(&output), 74, "{output:?}");
    assert!(stderr(&output).contains("hint: it must be a file"), "{output:?}");
}

#[test]
fn every_change_that_makes_sites_due_is_noticed() {
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
fn deferral_by_a_wrong_clock_does_not_hide_a_due_site() {
    // More than the period of an hour, and more than any period.
    for ahead in [5 * HOUR, 100 * 24 * HOUR] {
        let world = World::with(["retry-after-7200"]);
        world.poll(MIDNIGHT + ahead, &[]);
        assert_eq!(world.explain(&world.site(0, "ok"), MIDNIGHT + ahead)["state"], "deferred");
        assert_eq!(opens(&world, MIDNIGHT, &[]), (true, 1), "{ahead}");
    }
}

#[test]
fn uncertain_file_is_ignored_and_written_again() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    let (file, database) = (world.store().join("outlook"), world.store().join("db-1/db"));
    let good = fs::read(&file).unwrap();
    let is_idle = || opens(&world, MIDNIGHT + 60, &[]) == (false, 0);
    assert!(is_idle());
    // One other byte, a part of the file, an empty file.
    for bad in [[&good[..20], &[good[20] ^ 1], &good[21..]].concat(), good[..good.len() / 2].to_vec(), Vec::new()] {
        fs::write(&file, bad).unwrap();
        assert!(!is_idle() && is_idle(), "it is written again");
    }
    fs::remove_file(&file).unwrap();
    assert!(!is_idle() && is_idle());
    // The database has another time, or is another file of the same name.
    let opened = fs::File::options().write(true).open(&database).unwrap();
    opened.set_times(FileTimes::new().set_modified(SystemTime::now() + Duration::from_secs(9))).unwrap();
    assert!(!is_idle() && is_idle());
    fs::copy(&database, world.store().join("copy")).unwrap();
    fs::rename(world.store().join("copy"), &database).unwrap();
    assert!(!is_idle() && is_idle());
    // After a run with a wrong clock.
    world.poll(MIDNIGHT + 900 * HOUR, &[]);
    assert_eq!(opens(&world, MIDNIGHT + 2 * HOUR, &[]).1, 1);
    assert_eq!(code(&world.run(&["store", "check"])), 0);
    assert_eq!(world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0]["total"], json!(1));
}
