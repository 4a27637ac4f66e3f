//! Limits that several hosts share: `[[limits]]` of the configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::scene::Scene;
use super::server::{Answer, Then, WELL};
use crate::testkit::name_server::name;

/// The reply of a site that takes a while.
const SLOW: Answer = Answer::Reply(Duration::from_millis(80), Then::Keep);

/// Returns an address in 127.5.0.0/16 that no other site has.
fn own(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 5, 0, 1).to_bits() + (number << 8)).into()
}

/// Polls all sites well; returns how many messages were unanswered at most at the same time.
fn most(scene: &Scene, limits: &str) -> usize {
    scene.world.append_config(limits);
    let sites = scene.world.statuses().len();
    scene.poll(&[]).assert_counts(sites, 0, 0);
    let most = scene.server.take_counts().most_unanswered;
    println!("at most {most} messages at the same time");
    most
}

#[test]
fn addresses_of_a_network_share_its_limit() {
    let scene = Scene::new(|_| SLOW);
    scene.import((0..12).map(own));
    assert_eq!(most(&scene, "[[limits]]\nnet = \"127.5.0.0/16\"\nconcurrent = 3\n"), 3);
}

#[test]
fn all_limits_that_match_hold() {
    let scene = Scene::new(|_| SLOW);
    scene.import((0..8).map(own));
    let nets =
        "[[limits]]\nnet = \"127.5.0.0/16\"\nconcurrent = 6\n[[limits]]\nnet = \"127.0.0.0/8\"\nconcurrent = 2\n";
    assert_eq!(most(&scene, nets), 2);
}

/// They are polled through proxies at different addresses, and have the names of sites all the same.
#[test]
fn names_that_match_a_pattern_share_its_limit() {
    let scene = Scene::new(|_| SLOW);
    scene.import_proxied(12, |number| (name(number), Some(own(number))));
    assert_eq!(most(&scene, "[[limits]]\nhost = \"*.EXAMPLE\"\nconcurrent = 3\n"), 3);
}

#[test]
fn proxies_that_match_a_pattern_share_its_limit() {
    let scene = Scene::new(|_| SLOW);
    scene.import_proxied(12, |number| (name(number), Some(own(number))));
    assert_eq!(most(&scene, "[[limits]]\nproxy = \"127.5.*\"\nconcurrent = 3\n"), 3);
}

#[test]
fn sites_that_match_no_limit_are_not_limited() {
    let scene = Scene::new(|_| SLOW);
    scene.import((0..12).map(own));
    assert!(most(&scene, "[[limits]]\nnet = \"127.6.0.0/16\"\nconcurrent = 1\n") > 4);
}

#[test]
fn polls_per_minute_are_spread_evenly() {
    let scene = Scene::new(|_| WELL);
    // Others are not delayed.
    let others = (0..20).map(|number| Ipv4Addr::from_bits(Ipv4Addr::new(127, 6, 0, 1).to_bits() + number));
    scene.import((0..6).map(own).chain(others.map(IpAddr::from)));
    scene.world.append_config("[[limits]]\nnet = \"127.5.0.0/16\"\nper-minute = 600\n");
    let run = scene.poll(&["--threads", "2"]);
    run.assert_counts(26, 0, 0);
    // Five times 100 ms are between six polls.
    assert!(run.elapsed >= Duration::from_millis(500), "{:?}", run.elapsed);
    run.assert_within(2.0);
}
