//! Each change is delivered at least once and at most twice, whenever a run is killed.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::{COMMAND, MINUTE, configure, messages, poll};
use crate::testkit::{APP, MIDNIGHT, Random, World, number_from_env, was_killed};

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

/// `CXNPOLL_KILLS` is how many runs are killed; by default a few.
#[test]
fn runs_that_are_killed_at_any_time_lose_nothing() {
    let kills = number_from_env("CXNPOLL_KILLS").unwrap_or(12);
    let mut random = Random::from_env();
    let mut killed = 0;
    while killed < kills {
        let world = scene(14);
        let (mut tick, mut usual) = (0, Duration::from_millis(60));
        while tick < 20 {
            let now = (MIDNIGHT + tick * 5 * MINUTE).to_string();
            let mut child = world.start(&[&["poll", APP, "--per-host", "64", "--now", &now], &RETRY[..]].concat());
            let began = Instant::now();
            if random.below(2) == 0 {
                thread::sleep(random.duration_below(usual));
                child.kill().unwrap();
            }
            if was_killed(&child.wait_with_output().unwrap()) {
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
