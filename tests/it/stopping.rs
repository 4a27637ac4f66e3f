//! How a run ends early: signals and `--max-runtime`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, StoreLocks, World, signal, until, wait};

#[test]
fn signal_ends_a_run_after_the_polls_in_flight() {
    for (name, expected) in [("-TERM", 143), ("-INT", 130)] {
        let world = World::with(["slow-1000"; 20]);
        let runner = world.start(&["poll", APP, "--threads", "4", "--json"]);
        until("four are being polled", || world.server.max_open() == 4);
        signal(&runner, name);
        let (status, text) = wait(runner);
        let summary: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status.code(), Some(expected));
        assert_eq!((&summary["due"], &summary["ok"]), (&json!(20), &json!(4)), "{summary}");
        assert_eq!(world.server.total(), 4);
        assert_eq!(world.json(&["status", "--json"])[0]["healthy"], 4);
    }
}

#[test]
fn second_signal_ends_a_run_at_once() {
    let world = World::with(["hang"]);
    let runner = world.start(&["poll", APP]);
    until("it is being polled", || world.server.max_open() == 1);
    let began = Instant::now();
    signal(&runner, "-TERM");
    thread::sleep(Duration::from_millis(200));
    signal(&runner, "-TERM");
    assert_eq!(wait(runner).0.code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(8), "the grace period was cut short");
}

#[test]
fn grace_period_ends_a_run_although_a_site_hangs() {
    let world = World::with(["hang", "ok", "ok", "ok"]);
    let poll = ["poll", APP, "--json", "--timeout", "30", "--now", &MIDNIGHT.to_string()];
    let runner = world.start(&poll);
    until("all are being polled", || world.server.total() == 4);
    let began = Instant::now();
    signal(&runner, "-TERM");
    let (status, text) = wait(runner);
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(status.code(), Some(143));
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&summary["ok"], &summary["failed"]), (&json!(3), &json!(0)), "{summary}");
    let status = &world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0];
    assert_eq!((&status["healthy"], &status["new"]), (&json!(3), &json!(1)), "{status}");
    world.assert_sound();
}

#[test]
fn signal_is_acknowledged_while_another_process_holds_the_store() {
    let world = World::with(["slow-100"; 200]);
    let poll = ["poll", APP, "--threads", "2", "--log-file", "log", "--now", &MIDNIGHT.to_string()];
    let runner = world.start(&poll);
    until("the first poll has ended", || world.server.total() > 2);
    let locks = StoreLocks::acquire(&world);
    // By now the run has outcomes to record, and waits for the store.
    thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    signal(&runner, "-TERM");
    let log = || fs::read_to_string(world.path("log")).unwrap();
    while !log().contains("no new poll starts") && began.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(2));
    }
    let (took, polled) = (began.elapsed(), world.server.total());
    thread::sleep(Duration::from_millis(300));
    let polled_later = world.server.total();
    drop(locks);
    assert_eq!(wait(runner).0.code(), Some(143));
    assert!(took < Duration::from_millis(250), "acknowledged after {took:?}");
    assert_eq!(polled_later, polled, "a poll started after the acknowledgement");
    let healthy = world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0]["healthy"].clone();
    assert_eq!(healthy, polled, "every outcome is recorded");
}

#[test]
fn max_runtime_starts_no_new_poll() {
    let world = World::with(["slow-400"; 30]);
    let summary = world.poll(MIDNIGHT, &["--threads", "2", "--max-runtime", "0.6"]);
    let polled = summary["polled"].as_u64().unwrap();
    assert!((2..30).contains(&polled), "{summary}");
    assert_eq!(world.server.total(), polled);
    assert_eq!(world.json(&["status", "--json"])[0]["new"], 30 - polled);
}
