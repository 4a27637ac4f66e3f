//! When outcomes reach the store.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::testkit::{APP, MIDNIGHT, StoreLocks, World, assert_quiet, until, wait};

#[test]
fn outcomes_are_recorded_although_store_wait_is_short() {
    let world = World::with(["slow-300"]);
    let run = world.start(&["poll", APP, "--store-wait", "0.1", "--now", &MIDNIGHT.to_string(), "--json"]);
    until("the site is polled", || world.server.total() == 1);
    let locks = StoreLocks::acquire(&world);
    thread::sleep(Duration::from_secs(1));
    drop(locks);
    assert_eq!(wait(run).0.code(), Some(0));
    assert_eq!(world.explain(&world.site(0, "slow-300"), MIDNIGHT)["state"], "healthy");
}

/// Returns how many connections have a recorded success.
fn recorded(world: &World) -> usize {
    world.export().iter().filter(|line| line.contains("lastSuccess")).count()
}

#[test]
fn outcomes_are_durable_and_readable_during_the_run() {
    let world = World::with(["slow-250"; 200]);
    let now = MIDNIGHT.to_string();
    let mut runner = world.start(&["poll", APP, "--threads", "2", "--now", &now]);
    until("the first poll has ended", || world.server.total() > 2);
    let began = Instant::now();
    until("an outcome is recorded", || recorded(&world) > 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let polled = (0..200).find(|number| world.explain(&world.site(*number, "ok"), MIDNIGHT)["lastSuccess"] == MIDNIGHT);
    assert!(polled.is_some(), "explain shows the outcome");
    let during = recorded(&world);
    assert!(runner.try_wait().unwrap().is_none(), "the run goes on");
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!((during..200).contains(&recorded(&world)), "{during} were recorded before the kill");
    world.assert_sound();
}

#[test]
fn killed_runs_lose_no_site() {
    let world = World::with(["slow-30"; 400]);
    let poll = ["poll", APP, "--threads", "8", "--per-host", "64", "--now", "1767225600"];
    for attempt in 0u64..12 {
        let mut runner = world.start(&poll);
        // From the first steps of the start to the middle of the polling.
        thread::sleep(Duration::from_millis(attempt * attempt * 5));
        runner.kill().unwrap();
        runner.wait().unwrap();
        world.assert_sound();
    }
    assert_quiet(&world.run(&poll));
    let status = &world.json(&["status", "--json", "--now", "1767225600"])[0];
    assert_eq!((&status["total"], &status["healthy"]), (&json!(400), &json!(400)), "{status}");
    let polls: BTreeMap<u64, usize> = (0..400).fold(BTreeMap::new(), |mut polls, number| {
        *polls.entry(world.server.polls(number)).or_default() += 1;
        polls
    });
    assert!(!polls.contains_key(&0), "{polls:?}");
    // A recorded site is not polled again, so most sites are polled by one run only.
    assert!(polls[&1] > 100, "{polls:?}");
}
