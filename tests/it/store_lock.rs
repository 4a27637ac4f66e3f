//! The store's locks, as commands see them.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::testkit::{APP, StoreLocks, World, assert_quiet, code, library, stderr};

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
        for command in ["restore", "compact"] {
            let output = world.run(&["store", command]);
            assert_eq!(code(&output), 75, "{output:?}");
            assert!(stderr(&output).contains("is using the store"), "{output:?}");
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
