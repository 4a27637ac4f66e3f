//! A host whose sites fail makes one message, and one when it is over.

use std::net::Ipv4Addr;

use civisite::Server;

use super::{COMMAND, MINUTE, changes, configure, messages};
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, number_from_env};

/// Polls at a time, with four connections per host.
fn poll(world: &World, now: i64, more: &[&str]) {
    let now = now.to_string();
    let retry = "20 min (x6); 1 hour (x24); 1 day (x30)";
    assert_quiet(&world.run(&[&["poll", APP, "--retry", retry, "--now", &now], more].concat()));
}

/// How many sites the host has; more with `CXNPOLL_NOTIFY_SITES`.
fn site_count() -> u32 {
    number_from_env("CXNPOLL_NOTIFY_SITES").map_or(40, |count| u32::try_from(count).unwrap())
}

/// Returns the changes of all messages.
fn all_changes(world: &World) -> Vec<(String, u64)> {
    let messages = messages(world);
    let all = messages.iter().flat_map(|message| changes(message));
    all.map(|(kind, count)| (kind.to_owned(), count)).collect()
}

#[test]
fn sites_that_answer_with_errors_in_four_runs_of_a_period_make_two_messages() {
    for every in ["1h", "5m"] {
        let world = World::new();
        world.import(&world.sites((0..site_count()).map(|_| "fail-first-5")));
        configure(&world, every, COMMAND);
        // Two hours, in a quarter of the batch codes every five minutes.
        for tick in 0..24 {
            poll(&world, MIDNIGHT + tick * 5 * MINUTE, &["--batch", &format!("{}/4", tick % 4), "--per-host", "64"]);
        }
        let all = all_changes(&world);
        assert_eq!(messages(&world).len(), 2, "{all:?}");
        assert_eq!((all[0].0.as_str(), &all[1]), ("failing", &("recovered".to_owned(), site_count().into())));
    }
}

#[test]
fn sites_that_are_skipped_make_two_messages() {
    let world = World::on_all_addresses();
    let bad = Server::bind((Ipv4Addr::new(127, 9, 9, 9), 0).into()).unwrap();
    let healthy = (0..8).map(|number| world.site_on_own_host(number, "ok".parse().unwrap()));
    let sites: Vec<_> = healthy.chain((100..100 + site_count()).map(|number| bad.site(number))).collect();
    world.import(&sites);
    configure(&world, "5m", COMMAND);
    poll(&world, MIDNIGHT, &["--per-host", "64"]);
    bad.stop_listening().unwrap();
    // Four of the sites are tried in each run, and the others are left to the next.
    (4..10).for_each(|tick| poll(&world, MIDNIGHT + tick * 5 * MINUTE, &[]));
    bad.resume_listening().unwrap();
    (10..18).for_each(|tick| poll(&world, MIDNIGHT + tick * 5 * MINUTE, &[]));
    let all = all_changes(&world);
    assert_eq!(messages(&world).len(), 2, "{all:?}");
    assert_eq!(all[0], ("host-down".to_owned(), site_count().into()));
    assert_eq!(all[1].0, "recovered");
}
