//! Each change is delivered at least once and at most twice, whenever a run is killed.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{COMMAND, MINUTE, configure, messages, poll};
use crate::testkit::{APP, MIDNIGHT, Random, World, assert_quiet, number_from_env, stderr, stdout, was_killed};

const RETRY: [&str; 2] = ["--retry", "5 min (x*)"];

/// A world in which sites of hosts of their own fail in turn, with a channel.
fn scene(sites: u32) -> World {
    let world = World::on_all_addresses();
    let behaviour = |number: u32| format!("fail-first-{}", number % 7 * 2).parse().unwrap();
    world.import(&(0..sites).map(|number| world.site_on_own_host(number, behaviour(number))).collect::<Vec<_>>());
    configure(&world, "5m", COMMAND);
    world
}

/// Returns how often each change of a site was delivered.
fn delivered(world: &World) -> BTreeMap<String, usize> {
    let mut delivered = BTreeMap::new();
    for message in messages(world) {
        for change in message["changes"].as_array().unwrap() {
            for site in change["sites"].as_array().unwrap() {
                *delivered.entry(format!("{} {} {}", change["kind"], site["cxnId"], site["at"])).or_default() += 1;
            }
        }
    }
    delivered
}

#[test]
fn a_run_that_is_killed_around_the_delivery_loses_nothing() {
    for (point, times) in [("HistoryWritten", 1), ("NotificationNoted", 1), ("NotificationSent", 2)] {
        let world = scene(3);
        let mut command = world.command(&[&["poll", APP, "--now", &MIDNIGHT.to_string()], &RETRY[..]].concat());
        let output = command.env("CXNPOLL_DIE_AT", point).output().unwrap();
        assert!(was_killed(&output), "{point}: {output:?}");
        for tick in 1..4 {
            poll(&world, MIDNIGHT + tick * 5 * MINUTE, &RETRY);
        }
        let delivered = delivered(&world);
        let failing: Vec<_> = delivered.iter().filter(|(change, _)| change.contains("failing")).collect();
        assert!(failing.len() == 2 && failing.iter().all(|(_, count)| **count == times), "{point}: {delivered:?}");
        assert!(delivered.iter().filter(|(change, _)| change.contains("recovered")).all(|(_, count)| *count == 1));
    }
}

/// Moves the files of notifications to where an earlier build had them. Returns the id of the message that waits.
fn as_of_an_earlier_build(world: &World) -> String {
    let (store, history) = (world.store(), world.store().join("history"));
    let mut state: Value = serde_json::from_slice(&fs::read(store.join("notify.json")).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("history").unwrap();
    fs::write(history.join("notify.json"), state.to_string()).unwrap();
    fs::remove_file(store.join("notify.json")).unwrap();
    fs::rename(store.join("notify.lock"), history.join("notify.lock")).unwrap();
    let _ = fs::rename(store.join("notify.sent"), history.join("notify.sent"));
    state["channels"]["command"]["pending"]["id"].as_str().unwrap().to_owned()
}

/// Makes a world with a message that waits, because its channel fails until the file `works` exists.
fn with_pending_message() -> World {
    let world = World::with(["status-500", "fail-first-2"]);
    configure(&world, "5m", "command = [\"sh\", \"-c\", \"[ -e works ] && cat >> messages\"]\n");
    let output = world.run(&[&["poll", APP, "--now", &MIDNIGHT.to_string()], &RETRY[..]].concat());
    assert!(stderr(&output).contains("was not delivered"), "{output:?}");
    world
}

fn killed_at(world: &World, point: &str, arguments: &[&str]) {
    let output = world.command(arguments).env("CXNPOLL_DIE_AT", point).output().unwrap();
    assert!(was_killed(&output), "{point}: {output:?}");
}

#[test]
fn the_files_of_an_earlier_build_are_taken_over_without_loss() {
    let now = (MIDNIGHT + 5 * MINUTE).to_string();
    let run = [&["poll", APP, "--now", &now], &RETRY[..]].concat();
    for point in [None, Some("NotificationsMoved:1"), Some("NotificationsMoved:2")] {
        for is_sent in [false, true] {
            let world = with_pending_message();
            let history = world.store().join("history");
            let id = as_of_an_earlier_build(&world);
            if is_sent {
                fs::write(history.join("notify.sent"), &id).unwrap();
            }
            let doctor = || stdout(&world.run(&["doctor", "--json"])).contains("is not delivered yet");
            assert_eq!(doctor(), !is_sent);
            fs::write(world.path("works"), "").unwrap();
            if let Some(point) = point {
                killed_at(&world, point, &run);
                assert_eq!(doctor(), !is_sent, "{point}");
            }
            (1..4).for_each(|tick| poll(&world, MIDNIGHT + tick * 5 * MINUTE, &RETRY));
            let delivered = delivered(&world);
            let of = |kind: &str| {
                let changes = delivered.iter().filter(|(change, _)| change.contains(kind));
                changes.map(|(_, count)| *count).collect::<Vec<_>>()
            };
            let failing = if is_sent { vec![] } else { vec![1, 1] };
            assert_eq!(of("failing"), failing, "{point:?} {is_sent}: {delivered:?}");
            assert_eq!(of("recovered"), [1], "{point:?} {is_sent}: {delivered:?}");
            assert!(messages(&world).iter().all(|message| (message["id"] == *id) == (message["at"] == MIDNIGHT)));
            assert!(!history.join("notify.json").exists() && !history.join("notify.sent").exists());
        }
    }
}

#[test]
fn a_message_that_waits_outlives_a_restore() {
    let points =
        [None, Some("HistoryStaged"), Some("CurrentSwapped"), Some("HistorySwapped"), Some("NotificationsMoved:2")];
    for point in points {
        let world = with_pending_message();
        assert_quiet(&world.run(&["store", "backup", "-q"]));
        let id = as_of_an_earlier_build(&world);
        let restore = ["store", "restore", "--yes", "-q"];
        match point {
            Some(point) => killed_at(&world, point, &restore),
            None => assert_quiet(&world.run(&restore)),
        }
        fs::write(world.path("works"), "").unwrap();
        (1..4).for_each(|tick| poll(&world, MIDNIGHT + tick * 5 * MINUTE, &RETRY));
        assert_eq!(messages(&world)[0]["id"], id, "{point:?}");
        let delivered = delivered(&world);
        assert!(delivered.len() == 3 && delivered.values().all(|count| *count == 1), "{point:?}: {delivered:?}");
    }
}

#[test]
fn a_restore_and_a_repair_neither_repeat_nor_hide_changes() {
    let world = World::with(["status-500", "fail-first-1"]);
    configure(&world, "5m", COMMAND);
    poll(&world, MIDNIGHT, &RETRY);
    assert_quiet(&world.run(&["store", "backup", "-q"]));
    // What comes now is longer than what follows the restore.
    for action in ["disable", "enable", "disable", "enable"] {
        assert_quiet(&world.run(&[action, "--all", "--yes", "-q"]));
    }
    poll(&world, MIDNIGHT + 5 * MINUTE, &RETRY);
    assert_quiet(&world.run(&["store", "restore", "--yes", "-q"]));
    poll(&world, MIDNIGHT + 10 * MINUTE, &RETRY);
    let times = |kind: &str| {
        let mut times: Vec<_> = delivered(&world)
            .into_iter()
            .filter(|(change, _)| change.contains(kind))
            .map(|(change, count)| {
                ((change.rsplit(' ').next().unwrap().parse::<i64>().unwrap() - MIDNIGHT) / MINUTE, count)
            })
            .collect();
        times.sort_unstable();
        times
    };
    assert_eq!(times("failing"), [(0, 1), (0, 1)]);
    assert_eq!(times("recovered"), [(5, 1), (10, 1)]);
    // The last entry that was read is damaged, and what comes now is not.
    let month = world.store().join("history/2026-01.log");
    let mut bytes = fs::read(&month).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&month, bytes).unwrap();
    world.import(&[world.site(7, "status-500")]);
    let repaired = world.text(&["store", "check", "--repair"]);
    assert!(repaired.contains("1 fault, 1 repaired."), "{repaired}");
    poll(&world, MIDNIGHT + 15 * MINUTE, &RETRY);
    assert_eq!(times("failing"), [(0, 1), (0, 1), (15, 1)]);
    assert_eq!(times("recovered").len(), 2);
}

/// `CXNPOLL_KILLS` is how many runs are killed; by default a few.
#[test]
fn runs_that_are_killed_at_any_time_lose_nothing() {
    let kills = number_from_env("CXNPOLL_KILLS").unwrap_or(12);
    let mut random = Random::from_env();
    let mut killed = 0;
    while killed < kills {
        let world = scene(14);
        // Each run that is killed may send a message again, so the next one is not killed.
        let (mut tick, mut usual, mut may_be_killed) = (0, Duration::from_millis(60), true);
        while tick < 20 {
            let now = (MIDNIGHT + tick * 5 * MINUTE).to_string();
            let mut child = world.start(&[&["poll", APP, "--per-host", "64", "--now", &now], &RETRY[..]].concat());
            let began = Instant::now();
            if may_be_killed && random.below(2) == 0 {
                thread::sleep(random.duration_below(usual));
                child.kill().unwrap();
            }
            let is_killed = was_killed(&child.wait_with_output().unwrap());
            may_be_killed = !is_killed;
            if is_killed {
                killed += 1;
            } else {
                usual = began.elapsed();
                tick += 1;
            }
        }
        (20..24).for_each(|tick| poll(&world, MIDNIGHT + tick * 5 * MINUTE, &RETRY));
        let delivered = delivered(&world);
        assert!(delivered.values().all(|count| *count <= 2), "{delivered:?}");
        // Each site of which a failure was recorded failed once, and recovered once.
        let failed = world.export().iter().filter(|line| line.contains("\"lastFailure\":{")).count();
        let of = |kind: &str| delivered.keys().filter(|change| change.contains(kind)).count();
        assert_eq!((of("failing"), of("recovered")), (failed, failed), "{delivered:?}");
        assert!(failed > 6, "{failed}");
    }
}
