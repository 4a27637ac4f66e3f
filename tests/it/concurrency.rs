//! Several runs and commands at the same time.

use std::fs;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, code, stderr, until, wait};

#[test]
fn parallel_runs_poll_every_site_once() {
    let world = World::with(["slow-700"; 60]);
    let batch =
        |batch: &str| world.start(&["poll", APP, "--batch", batch, "--threads", "4", "--per-host", "64", "--json"]);
    let runners = ["0/3", "1/3", "2/3"].map(batch);
    until("all three are polling", || world.server.max_open() >= 10);

    let fourth = world.run(&["poll", APP, "--batch", "0/1"]);
    assert_eq!(code(&fourth), 75);
    assert!(fourth.stdout.is_empty() && fourth.stderr.is_empty(), "a declined run prints nothing: {fourth:?}");
    let verbose = world.run(&["poll", APP, "--batch", "1/2", "-v"]);
    assert_eq!(code(&verbose), 75);
    assert!(stderr(&verbose).contains("another run is polling"), "{verbose:?}");
    let id = world.site(0, "slow-700").cxn_id;
    let by_hand = world.run(&["poll", APP, "--cxn", &id, "--max-runtime", "0.1"]);
    assert_eq!(code(&by_hand), 75);
    assert!(stderr(&by_hand).contains("error: another run is polling"), "{by_hand:?}");
    assert_eq!(world.json(&["status", "--json"])[0]["total"], 60);

    let polled: u64 = runners
        .map(|runner| {
            let (status, text) = wait(runner);
            assert!(status.success());
            serde_json::from_str::<Value>(&text).unwrap()["polled"].as_u64().unwrap()
        })
        .iter()
        .sum();
    assert_eq!(polled, 60);
    for number in 0..60 {
        assert_eq!((world.server.polls(number), world.server.max_concurrent(number)), (1, 1), "site {number}");
    }
    world.assert_sound();
}

#[test]
fn change_during_a_poll_drops_its_outcome() {
    let world = World::with(["slow-1200", "slow-1200"]);
    let [site, other] = [0, 1].map(|number| world.site(number, "slow-1200"));
    let runner = world.start(&["poll", APP, "--json", "--now", &MIDNIGHT.to_string()]);
    until("both are being polled", || world.server.max_open() == 2);
    let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
    line["disabled"] = json!(true);
    world.import_text(&line.to_string());

    let (status, text) = wait(runner);
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert!(status.success());
    assert_eq!((&summary["ok"], &summary["dropped"]), (&json!(2), &json!(1)), "{summary}");
    assert_eq!(world.explain(&site, MIDNIGHT)["lastRun"], 0);
    assert_eq!(world.explain(&other, MIDNIGHT)["lastRun"], MIDNIGHT);
    world.assert_sound();
}

#[test]
fn poll_by_hand_waits_for_the_run_of_its_batch() {
    let world = World::with(["slow-1500"; 4]);
    let runner = world.start(&["poll", APP, "--threads", "2"]);
    until("two are being polled", || world.server.max_open() == 2);
    let output = world.run(&["poll", APP, "--cxn", &world.site(0, "slow-1500").cxn_id]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("waiting for it"), "{output:?}");
    assert!(wait(runner).0.success());
    assert_eq!((world.server.polls(0), world.server.max_concurrent(0)), (2, 1));
    assert_eq!(world.json(&["status", "--json"])[0]["lastRun"]["polled"], 4);
}

#[test]
fn many_commands_at_once_all_succeed() {
    let world = World::with(["ok"; 200]);
    let more = world.path("more.jsonl");
    fs::write(&more, (200..400).map(|number| world.site(number, "ok").jsonl() + "\n").collect::<String>()).unwrap();
    let batches = ["0/4", "1/4", "2/4", "3/4"].map(|batch| ["poll", APP, "--per-host", "64", "--batch", batch]);
    let mut started: Vec<_> = batches.iter().map(|command| world.start(command)).collect();
    started.push(world.start(&["import", more.to_str().unwrap()]));
    started.push(world.start(&["poll", APP, "--name", "other", "--per-host", "64"]));
    started.push(world.start(&["status", "--json"]));
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(world.json(&["store", "check", "--json"])["counts"]["cxns"], 400);
    world.assert_sound();
}

#[test]
fn polls_by_hand_leave_few_lock_files() {
    let world = World::new();
    let sites = world.sites(["ok"; 40]);
    world.import(&sites);
    let lock_files = || fs::read_dir(world.store().join("runs")).unwrap().count();
    for site in &sites {
        assert_eq!(code(&world.run(&["poll", APP, "--cxn", &site.cxn_id])), 0);
        assert!(lock_files() <= 18, "16, that of the last run, and that of the directory: {}", lock_files());
    }
}

#[test]
fn lock_files_of_a_former_build_are_removed() {
    let world = World::with(["ok"]);
    let runs = world.store().join("runs");
    for number in 0..10_000 {
        fs::write(runs.join(format!("3e38135aeea3e58c45f2e6e8db68694f-{number}-{number}.lock")), "").unwrap();
    }
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    assert_eq!(fs::read_dir(&runs).unwrap().count(), 2, "only that of the directory and that of the run");
    assert_eq!(world.poll(MIDNIGHT + 3600, &[])["ok"], 1);
}
