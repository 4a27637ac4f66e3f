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

/// Notes how often each site had been polled when its success was first seen in the store.
fn note_recorded(world: &World, sites: u32, polls: &mut BTreeMap<u32, u64>) {
    let recorded: Vec<_> = world.export().into_iter().filter(|line| line.contains("lastSuccess")).collect();
    for number in 0..sites {
        let id = format!("\"{}\"", world.site(number, "ok").cxn_id);
        if !polls.contains_key(&number) && recorded.iter().any(|line| line.contains(&id)) {
            polls.insert(number, world.server.polls(number));
        }
    }
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
    let mut polls_when_recorded = BTreeMap::new();
    for attempt in 0u64..12 {
        let mut runner = world.start(&poll);
        // From the first steps of the start to the middle of the polling. The last one has recorded something.
        thread::sleep(Duration::from_millis(attempt * attempt * 5));
        if attempt == 11 {
            until("an outcome is recorded", || recorded(&world) > 0);
        }
        runner.kill().unwrap();
        runner.wait().unwrap();
        world.assert_sound();
        note_recorded(&world, 400, &mut polls_when_recorded);
    }
    assert_quiet(&world.run(&poll));
    let status = &world.json(&["status", "--json", "--now", "1767225600"])[0];
    assert_eq!((&status["total"], &status["healthy"]), (&json!(400), &json!(400)), "{status}");
    assert!((0..400).all(|number| world.server.polls(number) > 0));
    // A recorded site is not polled again.
    assert!(!polls_when_recorded.is_empty());
    for (number, polls) in polls_when_recorded {
        assert_eq!(world.server.polls(number), polls, "{number}");
    }
}
