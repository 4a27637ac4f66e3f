//! The store's locks, as commands see them.

use std::os::unix::process::ExitStatusExt;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::testkit::{APP, StoreLocks, World, assert_quiet, code, library, signal, stderr, until, wait};

#[test]
fn busy_store_exits_75_with_a_message() {
    let world = World::with(["ok"]);
    let locks = StoreLocks::acquire(&world);
    let output = world.run(&["poll", APP, "--store-wait", "0.2"]);
    assert_eq!(code(&output), 75);
    assert!(stderr(&output).contains("stayed busy"), "{output:?}");
    drop(locks);
    assert_quiet(&world.run(&["poll", APP]));
}

#[test]
fn message_names_the_holder_of_the_store() {
    let world = World::with(["ok"]);
    library::hold_session(&world, "import", || {
        let output = world.run(&["status", "--store-wait", "0.1"]);
        let expected = format!("it is held by `cxnpoll import` (process {}) since 20", process::id());
        assert!(stderr(&output).contains(&expected), "{output:?}");
    });
}

#[test]
fn repeated_sessions_let_other_processes_in() {
    let world = World::with(["ok"]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                library::hold_session(&world, "", || thread::sleep(Duration::from_millis(300)));
            }
        });
        // Each session starts between two of the thread that holds the store nearly all the time.
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(50));
            library::open_session(&world, Duration::from_secs(5));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn store_is_not_replaced_during_a_run() {
    let world = World::with(["ok"; 2]);
    assert_quiet(&world.run(&["store", "backup"]));
    library::hold_shared(&world, || {
        for command in [&["restore", "--yes"][..], &["compact"]] {
            let output = world.run(&[&["store"], command, &["--store-wait", "0.1"]].concat());
            assert_eq!(code(&output), 75, "{output:?}");
            let last = "after 0.1 s; the last session was that of `cxnpoll store backup` (process ";
            assert!(stderr(&output).contains("is still using the store"), "{output:?}");
            assert!(stderr(&output).contains(last), "{output:?}");
        }
    });
    library::hold_exclusively(&world, || {
        let output = world.run(&["poll", APP, "--store-wait", "0.1"]);
        assert_eq!(code(&output), 75, "{output:?}");
        assert!(stderr(&output).contains("held by `cxnpoll store compact`"), "{output:?}");
    });
    assert_eq!(world.server.total(), 0);
    assert_quiet(&world.run(&["poll", APP]));
}

#[test]
fn compaction_gets_in_between_runs_that_follow_each_other() {
    let world = World::with(["ok"]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    library::hold_shared(&world, || thread::sleep(Duration::from_millis(100)));
                }
            });
            // There is no time at which neither of the two holds the store.
            thread::sleep(Duration::from_millis(50));
        }
        let compacted = world.run(&["store", "compact", "--store-wait", "10"]);
        let restored = world.run(&["store", "restore", "--yes", "--store-wait", "10"]);
        stop.store(true, Ordering::Relaxed);
        assert_quiet(&compacted);
        assert_quiet(&restored);
    });
}

#[test]
fn compaction_waits_for_a_run_which_goes_on_meanwhile() {
    let world = World::with(["slow-1200"; 3]);
    let run = world.start(&["poll", APP, "--threads", "1", "--json"]);
    until("a site is being polled", || world.server.max_open() == 1);
    let compaction = world.start(&["store", "compact"]);
    thread::sleep(Duration::from_millis(300));
    // It begins while the compaction waits, and is not declined.
    let later = world.start(&["poll", APP, "--name", "later"]);
    let (status, text) = wait(run);
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert!(status.success() && summary["ok"] == 3, "{summary}");
    // Three polls one after the other take 3.6 s. A wait for the compaction would last for the rest of 30 s.
    assert!(summary["elapsedMs"].as_u64().unwrap() < 15_000, "{summary}");
    assert!(wait(compaction).0.success() && wait(later).0.success());
    world.assert_sound();
}

#[test]
fn signal_ends_the_wait_of_a_compaction() {
    let world = World::with(["ok"]);
    library::hold_shared(&world, || {
        let compaction = world.start(&["store", "compact", "--store-wait", "60"]);
        until("it waits", || library::is_waited_for(&world));
        signal(&compaction, "-TERM");
        assert_eq!(wait(compaction).0.signal(), Some(15));
    });
    assert_quiet(&world.run(&["poll", APP]));
}
